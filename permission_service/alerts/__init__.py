"""Alerts to the owner: a subscription's window that is nearly used or used up, a provider whose
requests fail, a login that ends, a spending limit that is nearly reached, and an API key that pays.

This service decides every alert, because there is one of it: gateways share what they know, and
none of them decides.
"""
