"""Keyword match and entity F1 equal hand-computed scores."""

from __future__ import annotations

from typing import Any

import pytest

from scorer.metrics import load


@pytest.mark.parametrize(
    ("response", "reference", "options", "score"),
    [
        ("The Eiffel  tower in Paris.", "paris, Eiffel Tower", {}, 1.0),
        ("The tower.", "tow; tower", {}, 0.5),
        ("I like C++", ["C++", "Rust"], {}, 0.5),
        ("red", "red, red, blue", {}, 0.5),
        ("a b", "a b|c", {"separator": "|"}, 0.5),
        ("paris", "Paris", {"case": True}, 0.0),
        ("", "x", {}, 0.0),
        ("x", " , ", {}, None),
        ("x", [], {}, None),
        ("x", None, {}, None),
        (None, "x", {}, None),
    ],
)
def test_keyword_match_equals_hand_computed_scores(
    response: Any, reference: Any, options: dict[str, Any], score: float | None
) -> None:
    assert load("keyword_match", options)([response], [reference]) == [score]


@pytest.mark.parametrize(
    ("response", "reference", "options", "score"),
    [
        ("Paris, Rome", "rome;paris", {}, 1.0),
        ("- Paris\n- 'Oslo'.", ["Paris", "Oslo", "Bonn"], {}, 2 * 2 / (2 + 3)),
        ("1. Paris\n2. Paris", "Paris", {}, 2 * 1 / (2 + 1)),
        ("New York", "York", {}, 0.0),
        ("Paris|Rome", "Paris|Oslo", {"separator": "|"}, 0.5),
        ("Paris", "paris", {"case": True}, 0.0),
        ("", "", {}, 1.0),
        ("", [], {}, 1.0),
        ("Paris", [], {}, 0.0),
        ("", "Paris", {}, 0.0),
        (None, "Paris", {}, None),
    ],
)
def test_entity_f1_equals_hand_computed_scores(
    response: Any, reference: Any, options: dict[str, Any], score: float | None
) -> None:
    assert load("entity_f1", options)([response], [reference]) == [score]
