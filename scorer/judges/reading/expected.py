"""The expected score: the labels' values weighted by their probabilities at the verdict's token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from scorer.judges.reading.phrases import plain, plain_case
from scorer.judges.reading.reply_body import Verdict
from scorer.types import TokenLogprob


def expected(logprobs: Sequence[TokenLogprob], labels: Mapping[str, float], verdict: Verdict) -> float | None:
    """The mean of the labels' values weighted by their probabilities at the verdict's own token, renormalised.

    `verdict` was found in the tokens joined. None where its label is not what one token there says, or where the
    tokeniser splits longer labels ("10" as "1", "0"), which leaves the mass of the shorter one unknown.

    Source: Liu et al. 2023, G-Eval, equation 1: score = sum over i of p(s_i) x s_i.
    """
    # Where two labels differ in case alone, case tells them apart.
    exact = len({_spelling(label, exact=False) for label in labels}) < len(labels)
    values = {_spelling(label, exact): value for label, value in labels.items()}
    at = 0
    for token in logprobs:
        if at + len(token.token) > verdict.start:
            break
        at += len(token.token)
    else:
        return None
    said = _label_of(_spelling(token.token, exact), values)
    if said is None or values[said] != verdict.value:
        return None
    # The reply's own token may be missing from the alternatives, where it was sampled from further down.
    spelled = dict(((token.token, token.logprob), *token.top))
    mass = dict.fromkeys(values, 0.0)
    for spelling, logprob in spelled.items():
        label = _label_of(_spelling(spelling, exact), values)
        if label is not None and not math.isnan(logprob):
            mass[label] += math.exp(min(logprob, 0.0))
    whole = any(len(said) > 1 and said.isdecimal() for said in (_spelling(spelling, exact) for spelling in spelled))
    for label in values:
        if label.isdecimal() and not whole and any(mass[shorter] for shorter in values if _begins(shorter, label)):
            return None
    total = math.fsum(mass.values())
    return math.fsum(mass[label] * value for label, value in values.items()) / total if total > 0 else None


def _spelling(token: str, exact: bool) -> str:
    said = token.strip(" \t\r\n\"'`*([{:Ġ▁")
    return (plain_case(said) if exact else plain(said)).strip()


def _label_of(said: str, labels: Mapping[str, float]) -> str | None:
    if said in labels:
        return said
    # A word may be cut into tokens and its beginning tells which; a number's beginning is another number.
    begun = [label for label in labels if said and _begins(said, label) and not label[:1].isdecimal()]
    return begun[0] if len(begun) == 1 else None


def _begins(shorter: str, longer: str) -> bool:
    return shorter != longer and longer.startswith(shorter)
