"""The addresses. A route decides nothing and parses nothing: it names a format and a provider."""
