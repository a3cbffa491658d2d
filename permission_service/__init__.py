"""The permission service: the one place that decides what a tool may do. pending → allowed, denied,
expired or cancelled.
"""
