"""Classifiers byte by byte: what is sent, the values read of a reply, and the error raised by a reply without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import golden_exchange
import orjson
import pytest
from golden_exchange import FOLDER, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.client.providers.classifiers import Classifier, Classify, Pooling, Predict, Score
from scorer.errors import RowError, ServerFault, SetupError, TransientError
from scorer.types import Classify as Asked
from scorer.types import Completion, Message, Reply, Request

CLASSES: dict[str, type[Classifier]] = {"classify": Classify, "score": Score, "pooling": Pooling, "predict": Predict}
GOLDEN = sorted(path for name in CLASSES for path in FOLDER.glob(f"{name}_*.json"))
PAIR = (Message("user", "Greet."), Message("assistant", "Hello."))


def outcome(api: str, body: Any, *, activation: bool = False, provider: Classifier | None = None) -> Any:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    request = Request(messages=PAIR, classify=Asked("pair", activation))
    made = provider or CLASSES[api](name="m", base_url="http://h/v1")
    return talk(made, request, [Reply(200, {}, raw)])[1]


def one(entry: Any) -> dict[str, Any]:
    return {"data": [entry], "usage": {"prompt_tokens": 3, "total_tokens": 3}}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_classifier_matches_golden_bytes(path: Path) -> None:
    own = {"content-type": "application/json"}
    golden_exchange.check(path, CLASSES[path.stem.partition("_")[0]], own)


HOSTILE: list[tuple[str, Any]] = [
    ("classify", {"data": []}),
    ("classify", {"data": [{"probs": [1.0]}, {"probs": [2.0]}]}),  # of two inputs
    ("classify", one({"label": "a"})),
    ("classify", one({"probs": []})),
    ("classify", one({"probs": ["1.0"]})),
    ("classify", one({"probs": [True]})),
    ("classify", b'{"data": [{"probs": [NaN]}]}'),
    ("classify", b'{"data": [{"probs": [1e999]}]}'),
    ("classify", one({"probs": {"a": 1}})),
    ("classify", one({"probs": [1.0, 2.0], "num_classes": 3})),
    ("score", one({"index": 0})),
    ("score", one({"score": "high"})),
    ("score", one({"score": [1.0]})),
    ("pooling", one({"data": "AACAPw=="})),
    ("pooling", one({"data": []})),
    ("pooling", one({"data": [[1.0], []]})),
    ("pooling", one({"data": [[[1.0]]]})),
    ("predict", {"data": [{"probs": [1.0]}]}),
    ("predict", []),
    ("predict", [[{"score": 1.0, "label": "a"}]]),  # a batch
    ("predict", [{"score": 1.0}]),
    ("predict", [{"label": "a"}]),
    ("predict", [{"score": "1", "label": "a"}]),
    ("predict", [{"score": 1.0, "label": "a"}, {"score": 2.0, "label": "a"}]),
]


@pytest.mark.parametrize(("api", "body"), HOSTILE)
def test_classifier_asks_again_where_values_are_missing_or_of_another_shape(api: str, body: Any) -> None:
    found = outcome(api, body)
    assert isinstance(found, ServerFault)
    assert found.garbled


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("classify", one({"probs": [None, 1.0]})),
        ("score", one({"score": None})),
        ("pooling", one({"data": [None]})),
        ("predict", [{"score": None, "label": "a"}]),
    ],
)
def test_classifier_gives_null_for_a_value_that_is_no_finite_number(api: str, body: Any) -> None:
    """The judge makes the row Unreadable: to ask again would give the same."""
    found = outcome(api, body)
    assert isinstance(found, Completion)
    assert orjson.loads(found.text)["values"][0] is None


def test_classifier_stops_run_where_probabilities_come_instead_of_logits() -> None:
    found = outcome("classify", one({"probs": [0.25, 0.75]}))
    assert isinstance(found, SetupError)
    assert "gave probabilities, 0.25, 0.75, where logits were asked for" in str(found)
    assert isinstance(outcome("classify", one({"probs": [0.25, 0.75]}), activation=True), Completion)


def test_classifier_believes_logits_that_sum_to_one_once_it_has_seen_others() -> None:
    provider = Classify(name="m", base_url="http://h")
    for values in ([-2.0, 2.0], [0.25, 0.75]):
        assert isinstance(outcome("classify", one({"probs": values}), provider=provider), Completion)


def test_classifier_tells_once_where_all_values_look_like_probabilities() -> None:
    provider, messages = Score(name="m", base_url="http://h"), []
    provider.learned.tell = messages.append
    for _ in range(120):
        outcome("score", one({"score": 0.5}), provider=provider)
    assert len(messages) == 1
    assert "all lie between 0 and 1" in messages[0]


NAMES = st.sampled_from(["data", "probs", "score", "label", "usage", "error", "num_classes", "prompt_tokens"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from([*CLASSES]), st.binary(max_size=20) | VALUES)
def test_classifier_raises_nothing_but_typed_errors(api: str, body: Any) -> None:
    try:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
    except orjson.JSONEncodeError:
        return
    assert isinstance(outcome(api, raw), Completion | RowError | TransientError | SetupError)
