"""`[stop]`: judges in one random order of the items until a question is answered."""

IN_FLIGHT = 64
"""Rows asked at once where that is not known."""
