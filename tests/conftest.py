"""Puts tests/ on the import path (for clock.py) and makes hypothesis draw the same examples in every run."""

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")
