"""Verifies that a run is complete: the whole folder, one shard's files, copied answers, kept columns."""
