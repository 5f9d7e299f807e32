"""`pattern` behaves as `re.compile`, and compiles nothing before its first use."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from scorer import patterns
from scorer.patterns import pattern


def test_pattern_is_compiled_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    def compile(source: str, flags: int) -> re.Pattern[str]:
        compiled.append(source)
        return re.compile(source, flags)

    monkeypatch.setattr(patterns, "re", type("re", (), {"compile": staticmethod(compile)}))  # type: ignore[attr-defined]
    wrong, right = pattern("("), pattern("A(b+)", re.IGNORECASE)
    assert compiled == []
    assert [right.search("xABB")[1], right.sub("-", "ab"), right.pattern] == ["BB", "-", "A(b+)"]  # type: ignore[index]
    with pytest.raises(re.error):
        wrong.search("")


def test_pattern_is_copied_and_pickled() -> None:
    for one in (copy.deepcopy(pattern("a")), pickle.loads(pickle.dumps(pattern("a")))):
        assert one.fullmatch("a")
