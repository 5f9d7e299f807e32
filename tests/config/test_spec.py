"""Promise: the fingerprint changes with every key that a score depends on, and with no other."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from scorer.build.plan import check
from scorer.config.fingerprint import covered, fingerprint
from scorer.config.spec import Limits, Model, Output, Spec

TREE: dict[str, Any] = {
    "input": {"shards": ["in/*.parquet"], "id": "id", "keep": ["task"]},
    "judge": {"kind": "rating", "prompt": "Rate {response}.", "scale": [1, 5]},
    "model": {"name": "gpt-4o-mini", "base_url": "http://127.0.0.1:9/v1"},
    "output": {"path": "out"},
}


def of(**changed: dict[str, Any]) -> str:
    """The fingerprint of the run file with some keys changed."""
    tree = copy.deepcopy(TREE)
    for section, keys in changed.items():
        tree.setdefault(section, {}).update(keys)
    return check(tree).fingerprint


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("judge", "prompt", "Rate {response}!"),
        ("judge", "scale", [1, 10]),
        ("judge", "samples", 2),
        ("judge", "attempts", 1),
        ("judge", "read", "json"),
        ("judge", "system", "Be fair."),
        ("model", "name", "gpt-4o"),
        ("model", "provider", "anthropic"),
        ("model", "dialect", "vllm"),
        ("model", "temperature", 0.5),
        ("model", "max_output_tokens", 65),
        ("model", "extra", {"top_p": 0.5}),
        ("metrics", "names", ["length_words"]),
        ("input", "id", "key"),
    ],
)
def test_fingerprint_changes_with_every_key_that_scores_or_columns_depend_on(
    section: str, key: str, value: object
) -> None:
    from scorer.metrics import METRICS

    if section == "metrics":
        value = [next(iter(METRICS))]
    assert of(**{section: {key: value}}) != of()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("input", "shards", ["elsewhere/*.parquet"]),
        ("model", "base_url", "https://judge.example.com/v1"),
        ("model", "api_key_env", "JUDGE_KEY"),
        ("model", "headers", {"X-Team": "scoring"}),
        ("model", "query", {"api-version": "2026-01-01"}),
        ("model", "timeout_s", 5),
        ("model", "retries", 1),
        ("model", "price", {"input": 1.0, "output": 2.0}),
        ("limits", "requests_per_minute", 60),
        ("limits", "max_usd", 5.0),
        ("limits", "concurrency", 7),
        ("output", "path", "other"),
        ("output", "flush_rows", 5),
        ("input", "keep", []),
        ("input", "keep", ["task", "model"]),
        ("input", "where", "n > 3"),
        ("output", "keep_raw", False),
        ("judge", "kind", "rating"),
    ],
)
def test_fingerprint_ignores_keys_that_may_change_on_resume(section: str, key: str, value: object) -> None:
    assert of(**{section: {key: value}}) == of()


def test_fingerprint_ignores_endpoints() -> None:
    tree = copy.deepcopy(TREE)
    del tree["model"]["base_url"]
    tree["model"]["endpoints"] = [
        {"base_url": "http://a/v1"},
        {"base_url": "http://b/v1", "limits": {"concurrency": 3}},
    ]
    assert check(tree).fingerprint == of()


def test_fingerprint_ignores_explicit_defaults() -> None:
    assert of(model={"max_output_tokens": 64, "provider": "openai", "dialect": "auto"}) == of()


def test_fingerprint_ignores_the_order_of_keys() -> None:
    turned = {name: dict(reversed(section.items())) for name, section in reversed(TREE.items())}
    assert check(turned).fingerprint == of()


def test_fingerprint_covers_the_text_of_a_prompt_file_not_its_name(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("Rate {response}.", "utf-8")
    tree = copy.deepcopy(TREE)
    del tree["judge"]["prompt"]
    tree["judge"]["prompt_file"] = str(path)
    assert check(tree).fingerprint == of()
    path.write_text("Rate {response} well.", "utf-8")
    assert check(tree).fingerprint == of(judge={"prompt": "Rate {response} well."})


def test_covered_lists_the_keys_of_the_fingerprint() -> None:
    covers = covered(Spec.model_validate(TREE), None)
    assert covers["judge"] == {"kind": "rating", "prompt": "Rate {response}.", "scale": [1, 5]}
    assert covers["models"] == [{"name": "gpt-4o-mini"}]
    assert covers["input"] == {"id": "id"}
    assert len(fingerprint(covers)) == 16
    assert int(fingerprint(covers), 16) >= 0


def test_spec_is_restored_from_run_json() -> None:
    spec = Spec.model_validate(TREE)
    again = Spec.model_validate(spec.model_dump(mode="json", exclude_defaults=True))
    assert again == spec
    assert fingerprint(covered(again, None)) == fingerprint(covered(spec, None))


def test_spec_is_built_from_python_with_the_same_names_and_is_frozen() -> None:
    spec = Spec(
        input={"shards": ["a.parquet"]},  # type: ignore[arg-type]
        model=Model(name="gpt-4o-mini"),
        output=Output(path="out"),
    )
    assert spec.all_models == (Model(name="gpt-4o-mini"),)
    assert (spec.limits, spec.output.flush_rows, spec.limits.burst_s) == (Limits(), 1000, 0.3)
    with pytest.raises(ValidationError, match="frozen"):
        spec.output.path = "elsewhere"


def test_plan_columns_are_those_of_judge_metrics_and_keys() -> None:
    columns = check(TREE).columns
    assert (columns.read, columns.judged, columns.kept) == (("response",), ("response",), ("id", "task"))
    recorded = {"provider": "recorded", "path": "r.parquet", "replies": "reply", "keys": ["id"]}
    tree = {**TREE, "model": recorded}
    columns = check(tree).columns
    assert set(columns.read) == {"response", "id"}
    assert columns.judged == ("response",)
