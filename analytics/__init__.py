"""Sole owner of the DuckDB file: consumes access records, answers queries, runs the slow jobs."""
