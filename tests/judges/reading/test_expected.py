"""Promise: an expected score weighs the labels where the verdict stands, and nowhere else."""

import math

import pytest

from scorer.judges.reading.expected import expected
from scorer.judges.reading.labels import Labels
from scorer.judges.reading.numbers import Numbers
from scorer.judges.reading.verdicts import find, find_json
from scorer.types import TokenLogprob

DIGITS = {str(n): float(n) for n in range(1, 6)}


def tokens(*said: str | tuple[str, dict[str, float]]) -> list[TokenLogprob]:
    """Tokens, the ones given as pairs with the probabilities of what may stand there."""
    pairs = [(one, {one: 1.0}) if isinstance(one, str) else one for one in said]
    return [TokenLogprob(t, math.log(p[t]), tuple((s, math.log(q)) for s, q in p.items())) for t, p in pairs]


def expect(logprobs: list[TokenLogprob], labels: dict[str, float] = DIGITS) -> float | None:
    text = "".join(token.token for token in logprobs)
    low, high = min(labels.values()), max(labels.values())
    verdict = find(text, Numbers(low, high) if next(iter(labels)).isdecimal() else Labels(labels))
    assert verdict is not None
    return expected(logprobs, labels, verdict)


def test_expected_weighs_labels_at_verdict() -> None:
    # G-Eval eq. 1, by hand: (3 x .2 + 4 x (.5 + .1)) / .8 = 3.75; the mass of "the" is no label's.
    said = tokens("Score", ":", (" 4", {" 4": 0.5, "4": 0.1, "3": 0.2, " the": 0.2}))
    assert expect(said) == pytest.approx(3.75)


def test_expected_ignores_digits_of_reasoning() -> None:
    said = tokens(("2", {"2": 0.5, "1": 0.5}), " names are wrong", ".\n", "Score: ", ("4", {"4": 0.9, "5": 0.1}))
    assert expect(said) == pytest.approx(4.1)


def test_expected_reads_label_split_into_tokens() -> None:
    said = tokens("Verdict: ", ("ex", {"ex": 0.75, "bad": 0.25}), "cellent")
    assert expect(said, {"excellent": 1.0, "bad": 0.0}) == pytest.approx(0.75)


def test_expected_requires_number_in_one_token() -> None:
    ten = {str(n): float(n) for n in range(1, 11)}
    assert expect(tokens("Score: ", ("1", {"1": 0.6, "2": 0.4}), "0"), ten) is None
    assert expect(tokens("Score: ", ("2", {"2": 0.6, "1": 0.4})), ten) is None
    assert expect(tokens("Score: ", ("2", {"2": 0.6, "1": 0.2, "10": 0.2})), ten) == pytest.approx(3.4)
    assert expect(tokens("Score: ", ("4", {"4": 1.0}), ".5")) is None


def test_expected_reads_score_in_json() -> None:
    said = tokens('{"', "score", '":', (" 4", {" 4": 0.5, " 2": 0.5}), ', "reason": "3 of 5"}')
    assert expect(said) == pytest.approx(3)


def test_expected_counts_sampled_token_missing_from_alternatives() -> None:
    said = [TokenLogprob("4", math.log(0.2), (("5", math.log(0.6)), ("the", math.log(0.2))))]
    assert expect(said) == pytest.approx(4.75)


def test_expected_is_none_where_no_label_has_probability() -> None:
    assert expect([TokenLogprob("4", -math.inf)]) is None
    assert expect([TokenLogprob("4", math.nan)]) is None


def test_expected_reads_each_criterion_at_its_own_verdict() -> None:
    said = tokens(
        *('{"wit": {"score": ', ("4", {"4": 0.5, "2": 0.5}), '}, "tact": {"reason": "\\"score\\": 5", "score": '),
        *(("4", {"4": 0.5, "5": 0.5}), "}}"),
    )
    found = find_json("".join(token.token for token in said), ("wit", "tact"), Numbers(1, 5))
    scores = {name: verdict and expected(said, DIGITS, verdict) for name, verdict in found.items()}
    assert scores == {"wit": pytest.approx(3.0), "tact": pytest.approx(4.5)}
