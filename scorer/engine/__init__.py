"""Scores rows concurrently: engine, deduplication, row slots, replay. Knows no wire, no limit, no file by name."""
