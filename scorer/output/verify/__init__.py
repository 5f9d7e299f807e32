"""Proof of completeness: the whole folder, one shard's files, copied answers, kept columns."""
