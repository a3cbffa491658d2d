"""The launcher of the stack: supervisord, Redis, the run directory and the system's services."""
