"""The pool gives the same scores as one process, in order, reports failures, and leaves no child behind."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from support.command import wait_until

from scorer.errors import SpecError
from scorer.metrics import METRICS, load, unknown
from scorer.metrics.pool import LIGHT, Pool
from scorer.metrics.worker import SLICE, Failures, score

pytest.importorskip("rapidfuzz", reason="Left out: metrics in child processes, for want of batch-scorer[metrics].")

OUTSIDE = """
import os

class Reward:
    needs_reference = False
    def __init__(self, factor=1.0):
        self.factor = factor
    def __call__(self, responses, references):
        print("chatter on stdout")
        if "boom" in responses:
            raise ValueError("no reward for boom")
        if "leave" in responses:
            os._exit(9)
        return [None if r is None else self.factor * float(r) for r in responses]
"""


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The import path of a metric that only this test's path finds."""
    (tmp_path / "rewards_of_a_user.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    return "rewards_of_a_user:Reward"


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except FileNotFoundError:
        return False


# --- one batch, in this process ---------------------------------------------------------------------------------------


class Echo:
    """Gives back what it was made with, cut to the rows it is asked for, and remembers how many those were."""

    needs_reference = False

    def __init__(self, scores: Sequence[float | None]) -> None:
        self.scores = list(scores)
        self.asked: list[int] = []

    def __call__(self, responses: Sequence[str | None], references: Sequence[str | None]) -> list[float | None]:
        self.asked.append(len(responses))
        given, self.scores = self.scores[: len(responses)], self.scores[len(responses) :]
        return given


def test_score_passes_rows_to_metrics_in_slices() -> None:
    rows = 2 * SLICE + 1
    echo = Echo([float(n) for n in range(rows)])
    assert score({"echo": echo}, ["x"] * rows, [None] * rows) == {"echo": [float(n) for n in range(rows)]}
    assert echo.asked == [SLICE, SLICE, 1]


def test_score_turns_non_finite_numbers_into_null() -> None:
    assert score({"echo": Echo([math.nan, math.inf, -math.inf, 0, None])}, ["x"] * 5, [None] * 5) == {
        "echo": [None, None, None, 0.0, None]
    }


def test_score_refuses_metric_returning_too_few_scores() -> None:
    with pytest.raises(ValueError, match="echo gave 1 scores for 2 rows"):
        score({"echo": Echo([1.0])}, ["x", "y"], [None, None])


# --- names ------------------------------------------------------------------------------------------------------------


def test_pool_lists_allowed_names_on_unknown_metric() -> None:
    assert unknown([*METRICS, "a.module:Name"]) == []
    with pytest.raises(SpecError, match=r'"rouge9" is unknown. Allowed: rouge1, .*, or an import path'):
        Pool(["length", "rouge9"]).__enter__()


def test_load_names_extra_when_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    monkeypatch.delitem(sys.modules, "scorer.metrics.edit", raising=False)
    with pytest.raises(SpecError, match=r"edit_similarity needs rapidfuzz.*: pip install 'batch-scorer\[metrics\]'\."):
        load("edit_similarity")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("no_such_module_here:Name", "cannot be imported: it needs no_such_module_here"),
        ("math:Name", "cannot be imported: .*Name"),
    ],
)
def test_load_refuses_wrong_import_path_with_reason(path: str, why: str) -> None:
    with pytest.raises(SpecError, match=f'metrics.names = "{path}" {why}'):
        load(path)


# --- children ---------------------------------------------------------------------------------------------------------


def test_pool_starts_no_process_for_light_metrics() -> None:
    with Pool(sorted(LIGHT)) as pool:
        assert repr(pool).endswith("in 0 processes>")
        assert pool.needs_reference == LIGHT - {"length", "words"}
        assert pool.columns(["a b"], ["a b"])["words"] == [2.0]


@pytest.mark.parametrize("rows", [0, 1, 2, 7])
def test_pool_returns_same_scores_as_one_process_in_order(two: Pool, rows: int) -> None:
    responses = [None if n == 3 else "x" * n for n in range(rows)]
    references = ["x" * 4] * rows
    columns = two.columns(responses, references)
    assert list(columns) == ["length", "edit_similarity"]
    assert columns == {name: load(name)(responses, references) for name in columns}


@pytest.fixture(scope="module")
def two() -> object:
    """A pool of two processes, started once for this file."""
    with Pool(["length", "edit_similarity"], workers=2) as pool:
        yield pool


@pytest.mark.slow
def test_pool_runs_metric_given_by_import_path(outside: str) -> None:
    """Slow: it starts a process."""
    with Pool([outside, "words"], workers=1) as pool:
        assert pool.needs_reference == frozenset()
        assert pool.columns(["1.5", None, "nan"], [None] * 3) == {
            outside: [1.5, None, None],
            "words": [1.0, None, 1.0],
        }


@pytest.mark.slow
def test_pool_passes_options_and_several_references_to_process(outside: str) -> None:
    """Slow: it starts a process."""
    options = {outside: {"factor": 2.5}, "keyword_match": {"separator": "|"}}
    with Pool([outside, "keyword_match", "token_f1"], options=options, workers=1) as pool:
        assert pool.columns(["2", "1"], ["2|3", ["5", "1 1", "1"]]) == {
            outside: [5.0, 2.5],
            "keyword_match": [0.5, 1 / 3],
            "token_f1": [0.0, 1.0],
        }


def test_load_refuses_option_unknown_to_imported_metric(outside: str) -> None:
    with pytest.raises(SpecError, match=rf"{outside}.* cannot be constructed: .*unexpected keyword argument 'size'"):
        load(outside, {"size": 1})


@pytest.mark.slow
@pytest.mark.parametrize(("word", "why"), [("boom", "ValueError: no reward for boom"), ("leave", r"exit code 9\)")])
def test_pool_without_tell_raises_on_failing_metric_and_closes(outside: str, word: str, why: str) -> None:
    """Slow: it starts two processes."""
    with Pool([outside], workers=2) as pool:
        pids = [child._process.pid for child in pool._children]
        with pytest.raises(SpecError, match=rf"{outside} ended .*{why}"):
            pool.columns(["1", word], [None, None])
        assert not any(map(alive, pids))
        with pytest.raises(RuntimeError, match="closed"):
            pool.columns(["1"], [None])


@pytest.mark.slow
def test_pool_with_tell_gives_null_only_in_rows_where_metric_fails(outside: str) -> None:
    """Slow: it starts two processes, and one anew for each half of what held the row it died of."""
    messages: list[str] = []
    rows = ["1", "boom", "3", "4", "leave", "6", "boom", None]
    with Pool([outside, "words"], workers=2, tell=messages.append) as pool:
        columns = pool.columns(rows, [None] * len(rows))
        assert columns[outside] == [1.0, None, 3.0, 4.0, None, 6.0, None, None]
        assert columns["words"] == [1.0] * 7 + [None]
        os.kill(pool._children[1]._process.pid, signal.SIGKILL)  # by whoever frees memory, between two batches
        pool._children[1]._process.wait()
        assert pool.columns(["1", "2", "3"], [None] * 3)[outside] == [1.0, 2.0, 3.0]
    assert [text.partition(" so far")[0] for text in messages] == [
        f"metric_{outside} is null in 1 row", f"metric_{outside} is null in 2 rows"
    ]  # fmt: skip
    assert "ValueError: no reward for boom" in messages[0] + messages[1]


@pytest.mark.slow
def test_pool_gives_up_on_processes_that_keep_dying(outside: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow: it starts three processes."""
    monkeypatch.setattr("scorer.metrics.pool.MOST_DEATHS", 3)
    messages: list[str] = []
    with Pool([outside], workers=1, tell=messages.append) as pool:
        for _ in range(2):
            assert pool.columns(["leave"] * 8, [None] * 8) == {outside: [None] * 8}
    assert sum("died 3 times: from here on these metrics are null" in text for text in messages) == 1


def test_score_gives_null_only_in_rows_where_metric_fails() -> None:
    class Fails:
        needs_reference = False

        def __call__(self, responses: Sequence[str | None], references: Sequence[str | None]) -> list[float | None]:
            return [1.0 / len(response or "") for response in responses]

    failures: Failures = {}
    texts = ["x", "", "xx", None]
    assert score({"own": Fails(), "echo": Echo([1.0] * 4)}, texts, [None] * 4, failures) == {
        "own": [1.0, None, 0.5, None],
        "echo": [1.0] * 4,
    }
    assert failures == {"own": (2, "ZeroDivisionError: float division by zero")}


@pytest.mark.slow
def test_pool_refuses_unloadable_metric_before_any_row() -> None:
    """Slow: it starts two processes."""
    with (
        pytest.raises(SpecError, match='"no_such_module_here:Name" cannot be imported: it needs no_such_module_here'),
        Pool(["no_such_module_here:Name"], workers=2),
    ):
        pytest.fail("entered")


@pytest.mark.slow
def test_pool_works_without_main_guard_and_children_end_with_parent(tmp_path: Path) -> None:
    """Slow: it starts two interpreters."""
    script = tmp_path / "three_lines.py"
    script.write_text(
        "import time\n"
        "from scorer.metrics.pool import Pool\n"
        'with Pool(["edit_similarity"], workers=1) as pool:\n'
        '    scores = pool.columns(["ab"], ["abcd"])["edit_similarity"]\n'
        "    print(pool._children[0]._process.pid, scores, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, _, scores = parent.stdout.readline().strip().partition(" ")
        assert scores == "[0.5]"
        assert alive(int(pid))
        os.kill(parent.pid, signal.SIGKILL)
    wait_until(lambda: not alive(int(pid)))
