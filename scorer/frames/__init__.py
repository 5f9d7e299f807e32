"""Scores a table in memory: the same rows with the result columns added."""
