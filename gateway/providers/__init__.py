"""Whoever answers: one file each. A provider turns a prepared body into a status, headers and chunks."""
