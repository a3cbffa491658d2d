"""Anthropic's Messages service as its clients know it: admission, field shapes, rules, scenarios,
streams.
"""
