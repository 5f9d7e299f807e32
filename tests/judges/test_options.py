"""Promise: a judge's options are known by name, so that an unknown option is reported as a mistake."""

from __future__ import annotations

from typing import Any, Unpack

import pytest

from scorer.build.plan import check
from scorer.errors import SpecError
from scorer.judges.asking import Asking, Options
from scorer.judges.checklist import Checklist
from scorer.judges.likelihood import Likelihood
from scorer.judges.options import option_names
from scorer.judges.pairwise import Pairwise
from scorer.judges.rating import Rating
from scorer.judges.versus import VersusReference


def test_asking_options_are_accepted_by_every_judge_of_replies() -> None:
    asked = set(Options.__annotations__)
    assert asked == set(Asking.__dataclass_fields__)
    for judge in (Rating, Pairwise, VersusReference, Checklist):
        names = option_names(judge)
        assert names is not None
        assert asked < set(names)
        assert len(names) == len(set(names))


def test_option_names_is_none_for_judge_with_arbitrary_options() -> None:
    def own(*, a: int = 1, **rest: Any) -> None: ...

    def plain(*, a: int = 1) -> None: ...

    def asking(*, a: int = 1, **rest: Unpack[Options]) -> None: ...

    assert option_names(own) is None
    assert option_names(Likelihood) is None
    assert option_names(plain) == ("a",)
    assert option_names(asking) == ("a", *Options.__annotations__)


@pytest.mark.parametrize("kind", ["rating", "pairwise", "versus_reference", "checklist"])
def test_check_reports_unknown_judge_option_with_known_ones(kind: str) -> None:
    tree = {
        "input": {"shards": ["x.parquet"]},
        "judge": {"kind": kind, "sample": 3},
        "model": {"name": "m"},
        "output": {"path": "out"},
    }
    with pytest.raises(SpecError) as caught:
        check(tree)
    (problem,) = caught.value.problems
    assert problem.startswith(f"judge.sample = 3 is not an option of kind = '{kind}'. Known: ")
    assert problem.endswith("Did you mean samples?")
    assert "temperature" not in problem
