"""OpenAI's Responses format twice: the ChatGPT backend that serves Codex, and the
public interface.
"""
