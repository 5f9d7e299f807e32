"""The metrics of a run read several references and the options of [metrics.options]."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest

from scorer.build.plan import check
from scorer.build.row_metrics import make_measure, measured
from scorer.config.spec import Spec
from scorer.errors import SpecError
from scorer.types import Result, Row, Score

TREE: dict[str, Any] = {
    "input": {"shards": ["x.parquet"]},
    "judge": {"prompt": "{response}"},
    "model": {"name": "m"},
    "output": {"path": "out"},
}


def result(response: object, reference: object) -> Result:
    row = Row("x.parquet", 0, {"response": response, "reference": reference}, tokens=1)
    return Result(row, Score(1.0), None, None, None, None, None, None, 1, 0.0, 0.0, 0)


async def test_a_row_may_have_several_references() -> None:
    spec = Spec.model_validate({**TREE, "metrics": {"names": ["exact_match", "length"]}})
    rows = [result("a", ["b", "a"]), result("a", []), result("a", "a"), result("a", [None, "b"]), result(None, ["a"])]
    async with AsyncExitStack() as stack:
        measure = make_measure(spec, stack)
        assert measure is not None
        assert measure(rows) == {
            "metric_exact_match": [1.0, None, 1.0, 0.0, None],
            "metric_length": [1.0, 1.0, 1.0, 1.0, None],
        }


def test_well_formed_reads_no_reference() -> None:
    spec = Spec.model_validate({**TREE, "metrics": {"names": ["well_formed"]}})
    assert measured(spec) == ("response",)


def test_a_plan_tells_wrong_options_and_its_fingerprint_covers_right_ones() -> None:
    pytest.importorskip("jsonschema")

    def planned(**options: Any) -> str:
        return check({**TREE, "metrics": {"names": ["well_formed"], "options": {"well_formed": options}}}).fingerprint

    with pytest.raises(SpecError, match="schema is no JSON schema"):
        planned(schema={"type": "text"})
    assert len({planned(labels=["a"]), planned(labels=["b"]), planned(pattern="a")}) == 3
    assert check({**TREE, "metrics": {"options": {}}}).fingerprint == check(TREE).fingerprint
