"""The addresses. A route decides nothing and parses nothing: a route names a format and
a provider.
"""
