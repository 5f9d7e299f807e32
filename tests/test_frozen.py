"""The `dataclass` of scorer.frozen behaves like a frozen dataclass, and mypy refuses an assignment."""

from __future__ import annotations

import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from scorer import frozen, usage
from scorer.types import Call, Line, Message, Reply, Request
from scorer.usage import Usage


def test_frozen_equal_values_have_equal_hashes() -> None:
    assert {Usage(1, 2): "a"}[Usage(1, 2)] == "a"
    assert Usage(1, 2) != Usage(1, 3)


def test_frozen_replace_leaves_the_original_unchanged() -> None:
    first = Request(messages=(Message("user", "hello"),))
    second = dataclasses.replace(first, seed=7)
    assert (first.seed, second.seed, second.messages) == (None, 7, first.messages)


def test_frozen_repr_and_equality_leave_out_the_fields_that_say_so() -> None:
    call = Call("https://judge", b"{}", {"authorization": "Bearer secret"})
    assert repr(call) == "Call(url='https://judge', body=b'{}', timeout_s=None, fresh=False, output=None)"
    assert Reply(200, {}, b"", line=cast(Line, object())) == Reply(200, {}, b"")
    assert Request().key is not Request().key
    assert dataclasses.asdict(Usage(1, 2))["prompt_tokens"] == 1


def test_frozen_refuses_assignments_and_survives_pickle() -> None:
    with pytest.raises(AttributeError):
        Usage(1, 2).extra = 3  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        Usage(1, 2).prompt_tokens = 3  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(Usage(1, 2))) == Usage(1, 2)


@pytest.mark.slow
def test_frozen_assignment_is_a_type_error(tmp_path: Path) -> None:
    """Slow: mypy reads scorer.usage from its sources, and nothing that it imports (10 s of CPU)."""
    program = tmp_path / "program.py"
    program.write_text("from scorer.usage import Usage\nUsage(1, 2).prompt_tokens = 3\n")
    options = ["--config-file=", "--strict", "--follow-imports=skip", "--cache-dir", str(tmp_path)]
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", *options, usage.__file__, frozen.__file__, str(program)],
        capture_output=True,
        text=True,
    )
    assert 'Property "prompt_tokens" defined in "Usage" is read-only' in ran.stdout, ran.stdout + ran.stderr


def test_dataclass_compiles_its_methods_at_their_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []

    def compiling(**options: bool) -> Callable[[type], type]:
        def compiled_now(cls: type) -> type:
            compiled.append(cls.__name__)
            return dataclasses.dataclass(**options)(cls)

        return compiled_now

    spy = SimpleNamespace(**{**vars(dataclasses), "dataclass": compiling})
    monkeypatch.setattr(frozen, "dataclasses", spy)

    @frozen.dataclass(slots=True)
    class Counter:
        count: int = 0
        names: list[str] = dataclasses.field(default_factory=list, compare=False)

    first, second = Counter(1), Counter(count=1, names=["a"])
    second.count += 1
    assert compiled == []
    assert first != second
    second.count -= 1
    assert (first == second, repr(first)) == (True, f"{Counter.__qualname__}(count=1, names=[])")
    assert dataclasses.replace(first, count=5) == Counter(5)
    assert Counter.__hash__ is None
    assert compiled == ["Counter"]


def test_equality_hash_and_replace_of_all_fields_compile_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    @frozen.dataclass(frozen=True, slots=True)
    class Place:
        name: str
        rows: tuple[int, ...] = ()

    monkeypatch.setattr(frozen, "dataclasses", None)
    place = Place("a", (1, 2))
    assert frozen.replace(place, name="b") == Place("b", (1, 2)) != place
    assert {place: 1}[Place("a", (1, 2))] == 1
    with pytest.raises(TypeError):
        frozen.replace(place, nowhere=1)


def test_values_are_those_of_asdict_uncopied() -> None:
    request = Request(messages=(Message("user", "hello"),))
    assert frozen.values(Usage(1, 2)) == dataclasses.asdict(Usage(1, 2))
    assert frozen.values(request)["messages"] is request.messages
