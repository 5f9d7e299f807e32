"""Promise: any run file gives a plan or sentences, and no sentence shows a secret."""

from __future__ import annotations

import contextlib
import datetime as dt
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from scorer.build.plan import RunPlan, check
from scorer.config.loader import parse, read_toml, resolve_references, run_file_text, set_values
from scorer.config.spec import Input, JudgeOptions, Limits, Metrics, Model, Output, Spec
from scorer.errors import SpecError

GOOD: dict[str, Any] = {
    "input": {"shards": ["in/*.parquet"], "id": "id", "keep": ["task"]},
    "judge": {"kind": "rating", "prompt": "Rate {response} from 1 to 5.", "scale": [1, 5]},
    "model": {"name": "gpt-4o-mini", "base_url": "http://127.0.0.1:9/v1", "api_key_env": "JUDGE_KEY"},
    "limits": {"requests_per_minute": 600, "max_usd": 1.0},
    "output": {"path": "out"},
}


def problems_of(tree: dict[str, Any]) -> list[str]:
    """The sentences about a tree; none where it is a plan."""
    try:
        assert isinstance(check(tree), RunPlan)
    except SpecError as error:
        problems = list(error.problems)
    else:
        return []
    assert problems
    assert all(problem.strip() and len(problem) < 5000 for problem in problems)
    return problems


# --- any tree ---------------------------------------------------------------------------------------------------------

_SCALARS = st.one_of(
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["rating", "likelihood", "pairwise", "openai", "embedded", "recorded", "response", "{response}"]),
    st.dates(),
    st.datetimes(timezones=st.just(dt.UTC) | st.none()),
    st.times(),
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
_JUDGE_KEYS = [
    *JudgeOptions.model_fields, "prompt", "system", "scale", "criteria", "samples", "read", "reason", "examples",
    "reference", "response", "attempts", "a", "b", "baseline", "orders", "questions", "models", "aggregate", "rubric",
    "labels", "keys", "temperature",
]  # fmt: skip
_SECTIONS: dict[str, list[str]] = {
    "input": [*Input.model_fields],
    "judge": _JUDGE_KEYS,
    "model": [*Model.model_fields],
    "limits": [*Limits.model_fields],
    "metrics": [*Metrics.model_fields],
    "output": [*Output.model_fields],
    "rehearsal": ["seed", "latency_s", "fault_500"],
}


@st.composite
def _trees(draw: st.DrawFn) -> dict[str, Any]:
    """A good run file of which some keys are anything at all, or gone."""
    tree: dict[str, Any] = {name: dict(section) for name, section in GOOD.items()}
    for _ in range(draw(st.integers(0, 4))):
        section = draw(st.sampled_from([*_SECTIONS, "models", "nonsense"]))
        place = draw(st.sampled_from(["key", "key", "key", "junk", "section", "gone"]))
        if place == "gone":
            tree.pop(section, None)
        elif place == "section" or section not in _SECTIONS or not isinstance(tree.get(section, {}), dict):
            tree[section] = draw(_VALUES)
        else:
            keys = _SECTIONS[section]
            key = draw(st.sampled_from(keys) if place == "key" else st.text(max_size=8))
            tree.setdefault(section, {})[key] = draw(_VALUES)
    return tree


@pytest.mark.slow
@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(tree=_trees())
@example(tree={})
@example(tree={**GOOD, "judge": {**GOOD["judge"], "kind": ":"}})
@example(tree={**GOOD, "judge": {**GOOD["judge"], "kind": ".relative:Name"}})
@example(tree={**GOOD, "judge": {**GOOD["judge"], "kind": "json:dumps"}})
@example(tree={**GOOD, "judge": {**GOOD["judge"], "kind": "json:JSONDecoder"}})
@example(tree={**GOOD, "judge": {**GOOD["judge"], "kind": "json:__name__"}})
@example(tree={**GOOD, "judge": {**GOOD["judge"], "samples": 10**30}})
@example(tree={**GOOD, "judge": {**GOOD["judge"], "scale": [1, 10**30]}})
@example(tree={**GOOD, "model": {**GOOD["model"], "max_output_tokens": 10**30}})
@example(tree={**GOOD, "model": {**GOOD["model"], "extra": {"seed": 10**30}}})
@example(tree={**GOOD, "model": {**GOOD["model"], "extra": {"when": dt.date(2026, 1, 1), "x": float("nan")}}})
@example(tree={**GOOD, "limits": {"max_usd": 10**400}})
@example(tree={**GOOD, "model": {**GOOD["model"], "base_url": "http://[/v1"}})
def test_check_turns_any_tree_into_a_plan_or_sentences(tree: dict[str, Any]) -> None:
    """Slow: a hundred files, each checked whole."""
    problems_of(tree)


@settings(max_examples=50)
@given(text=st.text(max_size=200) | st.sampled_from(["[a", "x = ", "a.b = 1\na = 2", "= 1", '"', "\x00"]))
def test_read_toml_parses_any_text_or_raises_a_sentence(text: str) -> None:
    try:
        assert isinstance(read_toml("run.toml", text), dict)
    except SpecError as error:
        (problem,) = error.problems
        assert problem.startswith("run.toml is not TOML")


@pytest.mark.parametrize("value", [None, "file", b"\xff\xfe = 1"])
def test_read_toml_names_a_file_that_cannot_be_read(tmp_path: Path, value: object) -> None:
    path = tmp_path / "run.toml"
    if isinstance(value, bytes):
        path.write_bytes(value)
    elif value == "file":
        path.mkdir()
    with pytest.raises(SpecError) as caught:
        read_toml(str(path))
    assert caught.value.problems[0].startswith(str(path))


# --- secrets ----------------------------------------------------------------------------------------------------------

SECRET = "sk-proj-Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5MA"
_PLACES = [
    ("model", "api_key_env", SECRET),
    ("model", "api_key", SECRET),
    ("model", "apikey", SECRET),
    ("model", "headers", {"Authorization": f"Bearer {SECRET}"}),
    ("model", "headers", {"x-api-key": SECRET}),
    ("model", "headers", {"x-api-key": [SECRET]}),
    ("model", "headers", f"Authorization: Bearer {SECRET}"),
    ("model", "query", {"key": SECRET}),
    ("model", "query", {"v": SECRET}),
    ("model", "base_url", f"https://{SECRET}@api.example.com/v1"),
    ("model", "base_url", f"https://api.example.com/v1?key={SECRET}"),
    ("model", "name", [SECRET]),
    ("model", "endpoints", [{"base_url": "https://x/v1", "api_key": SECRET}]),
    ("model", "endpoints", [{"base_url": "https://x/v1", "api_key_env": SECRET}]),
    ("model", "token", {"inner": SECRET}),
    ("limits", "api_key_env", SECRET),
    ("openai", "api_key", SECRET),
]


@pytest.mark.parametrize(("section", "key", "value"), _PLACES)
def test_check_refuses_a_literal_secret_and_never_repeats_it(section: str, key: str, value: object) -> None:
    problems = problems_of({**GOOD, section: {**GOOD.get(section, {}), key: value}})
    assert problems
    assert not any(SECRET in problem or SECRET[:12] in problem for problem in problems)


def test_check_accepts_a_secret_by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"Authorization": "Bearer ${MY_KEY}", "X-Team": "scoring"}
    assert problems_of({**GOOD, "model": {**GOOD["model"], "headers": headers}}) == []
    monkeypatch.setenv("MY_KEY", SECRET)
    monkeypatch.delenv("OTHER", raising=False)
    assert resolve_references(headers) == ({"Authorization": f"Bearer {SECRET}", "X-Team": "scoring"}, [])
    assert resolve_references({"a": "${OTHER}${MY_KEY}"})[1] == ["OTHER"]


# --- every mistake at once --------------------------------------------------------------------------------------------


def test_check_reports_twenty_mistakes_at_once_each_by_its_key() -> None:
    tree: dict[str, Any] = {
        "input": {"shards": [], "id": 3, "keeep": ["x"]},
        "judge": {"prompt": "Rate {response}.", "scale": [5, 1], "samples": 0, "reed": "number"},
        "model": {
            "provider": "openai",
            "base_url": "ftp://x",
            "temperature": 9,
            "retries": 0,
            "timeout_s": -1,
            "dialect": "latin",
            "max_output_tokens": "many",
            "api_key_env": SECRET,
            "headers": {"Authorization": "abc"},
            "price": {"input": -1},
        },
        "limits": {"requests_per_minute": 0, "tokens_per_minute": 1, "input_tokens_per_minute": 1, "max_tokens": 1.5},
        "metrics": {"names": "rouge1"},
        "output": {"flush_rows": 0, "keep_raw": "some"},
        "outptu": {},
    }
    said = "\n".join(problems_of(tree))
    keys = [
        "input.shards", "input.id", "input.keeep", "judge.scale", "judge.samples", "judge.reed", "model.base_url",
        "model.temperature", "model.retries", "model.timeout_s", "model.dialect", "model.max_output_tokens",
        "model.api_key_env", "model.headers.Authorization", "model.price.input", "model.price.output", "model.name",
        "limits.requests_per_minute", "limits.tokens_per_minute", "limits.max_tokens", "metrics.names",
        "output.flush_rows", "output.keep_raw", "output.path", "outptu",
    ]  # fmt: skip
    missing = [key for key in keys if key not in said]
    # Options that a judge does not know hide what else is wrong with it: it cannot be made without them.
    assert set(missing) <= {"judge.scale", "judge.samples"}


def test_check_accepts_a_valid_tree_and_does_not_change_it() -> None:
    tree = tomllib.loads("x = 1") | {name: dict(section) for name, section in GOOD.items()}
    del tree["x"]
    assert problems_of(tree) == []
    assert tree == GOOD
    spec, problems = parse(tree)
    assert isinstance(spec, Spec)
    assert problems == []


# --- --set ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "section", "key", "value"),
    [
        ("limits.max_usd=20", "limits", "max_usd", 20),
        ("limits.max_usd=2e1", "limits", "max_usd", 20.0),
        ("output.keep_raw=false", "output", "keep_raw", False),
        ("output.keep_raw=full", "output", "keep_raw", "full"),
        ('input.shards=["a", "b"]', "input", "shards", ["a", "b"]),
        ("judge.prompt=a = b", "judge", "prompt", "a = b"),
        ("model.name=", "model", "name", ""),
        ("new.key=x", "new", "key", "x"),
        ("model.price.input=1", "model", "price", {"input": 1}),
    ],
)
def test_set_values_parses_toml_else_takes_text(item: str, section: str, key: str, value: object) -> None:
    tree = set_values({"limits": {"max_usd": 1}}, [item])
    assert tree[section][key] == value
    assert type(tree[section][key]) is type(value)


def test_set_values_reaches_into_lists_and_the_last_one_wins() -> None:
    tree: dict[str, Any] = {"models": [{"name": "a"}, {"name": "b"}], "input": {"shards": ["x", "y"]}}
    set_values(tree, ["models.1.name=c", "models.1.name=d", "input.shards.0=z"])
    assert tree == {"models": [{"name": "a"}, {"name": "d"}], "input": {"shards": ["z", "y"]}}


def test_set_values_reports_all_invalid_settings_at_once() -> None:
    tree = {"limits": {"max_usd": 1}, "models": [{}]}
    with pytest.raises(SpecError) as caught:
        set_values(tree, ["limits", "=3", "limits..x=1", "limits.max_usd.deep=1", "models.7.name=x", "models.x=1"])
    assert len(caught.value.problems) == 6
    assert all(problem.startswith("--set '") for problem in caught.value.problems)


@settings(max_examples=100)
@given(item=st.text(max_size=30) | st.from_regex(r"[a-z0-9.]{0,12}=[\[\]{}\"'a-z0-9., ]{0,12}", fullmatch=True))
def test_set_values_takes_any_text_or_raises_a_sentence(item: str) -> None:
    with contextlib.suppress(SpecError):
        assert isinstance(set_values({"limits": {"a": 1}, "b": [{"c": 1}], "d": 2}, [item]), dict)


def test_a_byte_order_mark_before_a_run_file_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('[output]\npath = "out"\n', encoding="utf-8-sig")
    assert read_toml(str(path)) == {"output": {"path": "out"}}
    assert run_file_text(str(path)).startswith("[output]")
