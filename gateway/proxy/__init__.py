"""The way of one request to a provider and of the reply to its client."""
