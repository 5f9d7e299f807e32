"""BLEU and chrF of single texts: sacrebleu with its default settings, divided by 100."""

from __future__ import annotations

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from scorer.metrics.protocol import EachPair, Metric


def bleu() -> Metric:
    """Sentence BLEU: 13a tokens, exponential smoothing, and only the n-gram orders that the response has.

    Source: Papineni et al. 2002; Post 2018, "A Call for Clarity in Reporting BLEU Scores".
    """
    return _sentence(BLEU(effective_order=True))


def chrf() -> Metric:
    """Sentence chrF: F2 of character n-grams up to 6, spaces left out.

    Source: Popovic 2015, "chrF: character n-gram F-score for automatic MT evaluation", equation 1.
    """
    return _sentence(CHRF())


def _sentence(metric: BLEU | CHRF) -> Metric:
    # The logarithms behind BLEU make a perfect match 100.00000000000004.
    return EachPair(lambda response, reference: min(1.0, metric.sentence_score(response, [reference]).score / 100))
