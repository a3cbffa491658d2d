"""The stateless front: HTTP in; HTTP or bus out. Any number may run beside each other."""
