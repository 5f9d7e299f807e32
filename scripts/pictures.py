"""Draws docs/images/terminal.svg from a real run: python scripts/pictures.py

The run scores 6,000 generated rows against the local simulated judge, in a pseudo-terminal of 96 columns. The picture
shows the screen halfway and at the end. Nothing is sent to the network. It takes about 30 s and needs Linux or macOS.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from io import StringIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
COLUMNS, ROWS = 96, 6_000
JUDGE = {"capacity": 400, "tokens_per_minute": 1_500_000, "refuse": "row 1[0-9]99 "}
RUN_FILE = """
[input]
shards = ["generations/*.parquet"]
id = "id"

[judge]
prompt = "Rate this response from 1 to 5. {response:fenced} Reply with one line: Score: <number>"
scale = [1, 5]

[model]
name = "gpt-4o-mini"
base_url = "%s"

[limits]
tokens_per_minute = 1500000
max_usd = 1.0
concurrency = 400

[output]
path = "out"
"""


def screen(written: bytes) -> list[str]:
    """The lines that a terminal shows after these bytes. It knows the three sequences that scorer writes."""
    lines, at = [""], 0
    for part in re.split(r"(\x1b\[\d*[A-Z]|[\r\n])", written.decode(errors="ignore")):
        if part == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif up := re.fullmatch(r"\x1b\[(\d+)A", part):
            at = max(0, at - int(up[1]))
        elif part == "\x1b[J":
            lines = [*lines[:at], ""]
        elif part == "\x1b[K":
            lines[at] = ""
        elif part not in ("", "\r"):
            lines[at] += part
    return [line.rstrip() for line in lines if line.strip()]


def scored(folder: str) -> tuple[list[str], list[str]]:
    """Scores generated rows in `folder`. Returns the screen when half of the rows are finished, and at the end."""
    Path(folder, "generations").mkdir()
    for shard in range(3):
        numbers = range(shard * ROWS // 3, (shard + 1) * ROWS // 3)
        table = pa.table({"id": list(numbers), "response": [f"This is row {n} of the job. " * 8 for n in numbers]})
        pq.write_table(table, Path(folder, f"generations/{shard}.parquet"))
    judge = subprocess.Popen(
        [sys.executable, "-m", "scorer.rehearsal", "--config", json.dumps(JUDGE)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert judge.stdout is not None
    assert judge.stdin is not None
    Path(folder, "run.toml").write_text(RUN_FILE % json.loads(judge.stdout.readline())["url"])
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 30, COLUMNS, 0, 0))
    run = subprocess.Popen(
        [sys.executable, "-P", "-m", "scorer", "run", "run.toml"], stdin=theirs, stdout=theirs, stderr=theirs,
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(theirs)
    written, halfway = b"", []
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # Linux: the other end is closed
            read = b""
        if not read:
            break
        written += read
        now = screen(written)
        if not halfway and any(int(share) >= 50 for share in re.findall(r"\((\d+)%\)", " ".join(now))):
            halfway = now
    judge.stdin.close()
    judge.wait()
    if code := run.wait():
        raise SystemExit(f"scorer run ended with exit code {code}:\n" + "\n".join(screen(written)))
    return halfway, screen(written)


def drawn(halfway: list[str], end: list[str]) -> str:
    """Both screens as one SVG that needs no font from the network."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)

    def line(text: str, style: str = "") -> None:
        console.print(Text(text, style=style), soft_wrap=False, no_wrap=True, overflow="crop")

    line("# halfway: these three lines are redrawn in place", "cyan")
    line("$ scorer run run.toml", "bold green")
    for text in halfway:
        line(text)
    line("")
    line("# at the end", "cyan")
    line("$ scorer run run.toml", "bold green")
    for text in end:
        line(text)
    svg = console.export_svg(title="scorer", theme=MONOKAI, unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", "Menlo, Consolas, DejaVu Sans Mono, monospace")
    svg = svg.replace(' clip-path="url(#terminal-clip-terminal)"', "")  # it cuts what hangs below the last line
    return "\n".join(text.rstrip() for text in svg.splitlines()) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        halfway, end = scored(folder)
    target = ROOT / "docs/images/terminal.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text(drawn(halfway, end))
    print(f"{target.relative_to(ROOT)}: {len(halfway)} and {len(end)} lines")


if __name__ == "__main__":
    main()
