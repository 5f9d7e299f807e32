"""A folder of data with modules that would steal the API key, and starts of a command in it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.command import PATIENCE_S, shard

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


def hostile(folder: Path) -> Path:
    """A folder of data with modules that write down what they can steal, and a judge of one's own."""
    for name in HOSTILE:
        (folder / f"{name}.py").write_text(THIEF.format(taken=str(folder / "taken")))
    (folder / "mine.py").write_text(MINE)
    shard(folder / "in/a.parquet", 12)
    return folder


def started_in(folder: Path, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KEY": "sk-stolen-0123456789", **variables}
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)


def nothing_taken(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert not (folder / "taken").exists(), (folder / "taken").read_text()
