"""The `claude` processes: launch, pool, and the driver of one process."""
