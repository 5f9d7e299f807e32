"""Counts in words: a number with its noun, in the singular where it is one."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """ "1 row", "1,200 rows"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
