"""The stateless front: HTTP in; HTTP or bus out. Any number of gateways may run beside
each other.
"""
