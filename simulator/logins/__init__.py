"""Both providers' login servers: pages where an owner agrees, token endpoints that rotate and
notice reuse.
"""
