"""Semantic similarity: two metrics on the token vectors of all-MiniLM-L6-v2, clipped to [0, 1].

The model reads the first 254 word pieces of a text, about 190 English words; what follows has no part in the score.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from scorer.metrics.minilm import Floats, encoder
from scorer.metrics.protocol import EachPair, Metric


def embedding_similarity() -> Metric:
    """Cosine of the two texts' mean token vectors, as sentence-transformers pools them; a negative one is 0."""
    encoder()
    return EachPair(_similarity)


def bert_score() -> Metric:
    """F of greedy token matching: each token goes with its likest in the other text; a negative F is 0.

    [CLS] and [SEP] are not matched. Two texts without a token are equal: 1; where only one has none: 0. Without idf
    weights and without baseline rescaling.

    Source: Zhang et al. 2020, "BERTScore", section 3: R, P and F; on the last layer of another model than theirs.
    """
    encoder()
    return EachPair(_bert_score)


@lru_cache(maxsize=128)  # both metrics see the same texts, and many responses share one reference; 50 MB at most
def _vectors(text: str) -> Floats:
    vectors = encoder().vectors(text)
    vectors.flags.writeable = False
    return vectors


def _similarity(response: str, reference: str) -> float:
    given, wanted = (_vectors(text).mean(axis=0, dtype=np.float64) for text in (response, reference))
    return _clipped(given @ wanted / np.sqrt((given @ given) * (wanted @ wanted)))


def _bert_score(response: str, reference: str) -> float:
    given, wanted = (_unit(_vectors(text)[1:-1]) for text in (response, reference))
    if not len(given) or not len(wanted):
        return float(len(given) == len(wanted))
    likeness = wanted @ given.T
    recall = float(likeness.max(axis=1).mean(dtype=np.float64))
    precision = float(likeness.max(axis=0).mean(dtype=np.float64))
    if recall + precision <= 0:
        return 0.0
    return _clipped(2 * precision * recall / (precision + recall))


def _unit(vectors: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / lengths


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, float(value)))
