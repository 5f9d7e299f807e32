"""SQuAD's exact match and token F1: texts compared without case, ASCII punctuation, English articles and spacing."""

from __future__ import annotations

import re
import string
from collections import Counter

from scorer.metrics.protocol import EachPair, Metric

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def squad_em() -> Metric:
    """1 where both have the same words once case, ASCII punctuation, English articles and spacing are left out.

    Source: Rajpurkar et al. 2016, "SQuAD", section 6.1 (exact match), in its official evaluation script.
    """
    return EachPair(lambda response, reference: float(squad_words(response) == squad_words(reference)))


def token_f1() -> Metric:
    """F1 of shared words, counted as often as both have them, with the same things left out as in `squad_em`.

    Two texts without a word are equal: 1; where only one has none: 0.

    Source: Rajpurkar et al. 2016, section 6.1 (macro-averaged F1), in the official evaluation script of version 2.0.
    """
    return EachPair(_token_f1)


def squad_words(text: str) -> list[str]:
    """The words that SQuAD compares."""
    return _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION)).split()


def _token_f1(response: str, reference: str) -> float:
    given, wanted = squad_words(response), squad_words(reference)
    if not given or not wanted:
        return float(given == wanted)
    shared = (Counter(given) & Counter(wanted)).total()
    return 2 * shared / (len(given) + len(wanted))
