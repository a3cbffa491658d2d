"""Notifications to the owner: what waits for an answer, and the news of agents, by ntfy and signed
webhooks. A decision never waits for a notification.
"""
