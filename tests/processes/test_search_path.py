"""A module beside the data never shadows an installed one, in any process; a plug-in there is still found."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from support.command import run_file
from support.hostile_modules import HOSTILE, MODULE, SCRIPT, THIEF, hostile, nothing_taken, started_in

from scorer.rehearsal.process import RehearsalProcess


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return hostile(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("program", "workers"), [(MODULE, 1), (SCRIPT, 2)], ids=["module", "script"])
def test_search_path_of_run_never_shadows_installed_modules(
    folder: Path, judge: RehearsalProcess, program: tuple[str, ...], workers: int
) -> None:
    """Slow: real processes; with two workers three of them, and one for the metrics of each. rouge1 loads slowly."""
    metric = "rouge1" if workers == 1 else "token_f1"
    tables = {"judge": {"kind": "mine:Mine"}, "metrics": {"names": [metric], "reference": "response"}}
    run = run_file(folder, judge.url, **tables)  # type: ignore[arg-type]
    nothing_taken(folder, started_in(folder, *program, "run", run, "--workers", workers))


@pytest.mark.slow
def test_search_path_of_rehearsal_never_shadows_installed_modules(folder: Path) -> None:
    """Slow: two real processes."""
    run = run_file(folder, "http://127.0.0.1:9/v1")
    nothing_taken(folder, started_in(folder, *MODULE, "rehearse", run))


@pytest.mark.slow
def test_search_path_ignores_empty_name_in_pythonpath(folder: Path, judge: RehearsalProcess) -> None:
    """Slow: real processes. `PYTHONPATH=$UNSET:/lib` names the current folder by accident."""
    for name in ("re", "enum"):  # the installed script imports them before scorer
        (folder / f"{name}.py").unlink()
    run = run_file(folder, judge.url)
    done = started_in(folder, *SCRIPT, "run", run, "--workers", 2, PYTHONPATH=f":{folder / 'elsewhere'}")
    nothing_taken(folder, done)


@pytest.mark.slow
def test_search_path_of_program_importing_scorer_is_unchanged(folder: Path, judge: RehearsalProcess) -> None:
    """Slow: three real processes. The program's own folder comes first in it, and last in its workers."""
    run = run_file(folder, judge.url, judge={"kind": "mine:Mine"})
    for name in HOSTILE:
        (folder / f"{name}.py").unlink()
    program = folder / "program.py"
    program.write_text(
        "import os, sys\n"
        "before = list(sys.path)\n"
        "import scorer\n"
        "assert sys.path == before, sys.path\n"
        "import random, json, numpy, pyarrow\n"
        f"open('random.py', 'w').write({THIEF.format(taken=str(folder / 'taken'))!r})\n"
        f"print(scorer.run({str(run)!r}, workers=2).scored)\n"
    )
    done = started_in(folder, sys.executable, program)
    nothing_taken(folder, done)
    assert done.stdout == "12\n"
