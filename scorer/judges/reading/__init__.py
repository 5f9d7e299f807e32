"""Reads verdicts from replies: patterns of statements, scales of numbers and labels, JSON, A or B or a tie."""
