"""Rows in flight: the engine, duplicates, admission of rows, replay. Knows no wire, no limit and no file by name."""
