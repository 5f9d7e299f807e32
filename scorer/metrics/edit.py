"""Normalised edit similarity, by rapidfuzz."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from scorer.metrics.protocol import EachPair, Metric


def edit_similarity() -> Metric:
    """1 - (characters inserted, deleted or substituted) / (characters of the longer text); 1 for two empty texts."""
    return EachPair(Levenshtein.normalized_similarity)
