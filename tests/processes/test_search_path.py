"""A module beside the data never shadows an installed one, in any process; a plug-in there is still found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import PATIENCE_S, run_file, shard

from scorer.rehearsal.process import RehearsalProcess

HOSTILE = (
    "random", "json", "typing", "re", "enum", "dataclasses", "logging", "socket", "struct", "tempfile", "signal",
    "asyncio", "pickle", "orjson", "numpy", "pyarrow", "pydantic", "aiohttp", "uvloop", "msgspec", "cyclopts", "rich",
    "rouge_score", "tiktoken",
)  # fmt: skip
"""Modules that scorer imports, but for those that Python itself imports before any module of ours."""
THIEF = (
    "import os\nwith open({taken!r}, 'a') as file:\n    file.write(f'{{__name__}} {{os.environ.get(\"KEY\")}}\\n')\n"
)
MINE = "from scorer.judges.rating import Rating\nclass Mine(Rating): pass\n"
MODULE = (sys.executable, "-m", "scorer")
SCRIPT = (str(Path(sys.executable).parent / "scorer"),)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of data with modules that write down what they can steal, and a judge of one's own."""
    for name in HOSTILE:
        (tmp_path / f"{name}.py").write_text(THIEF.format(taken=str(tmp_path / "taken")))
    (tmp_path / "mine.py").write_text(MINE)
    shard(tmp_path / "in/a.parquet", 12)
    return tmp_path


def started_in(folder: Path, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KEY": "sk-stolen-0123456789", **variables}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


def nothing_taken(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert not (folder / "taken").exists(), (folder / "taken").read_text()


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
def test_search_path_of_ray_worker_never_shadows_installed_modules(folder: Path, judge: RehearsalProcess) -> None:
    """Slow: Ray starts. Of itself it puts the driver's folder before everything else of its workers."""
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    run = run_file(folder, judge.url, judge={"kind": "mine:Mine"})
    done = started_in(folder, *SCRIPT, "run", run, "--engine", "ray", "--workers", 1, RAY_USAGE_STATS_ENABLED="0")
    nothing_taken(folder, done)


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
