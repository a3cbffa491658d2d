"""The ground of every process: errors, log, metrics, files, tracing, start and stop."""
