"""Every command, program and run file that a page shows is run, in a folder of its own, with a simulated judge.

tests/support/doc_blocks.py says how blocks are read. The plug-ins have tests/test_plugin_examples.py.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.command import JUDGE
from support.doc_blocks import Page, blocks_of

from scorer.cli.app import _exit_code
from scorer.rehearsal.process import RehearsalProcess

ROOT = Path(__file__).resolve().parents[1]
BLOCKS = {
    name: list(blocks_of((ROOT / name).read_text()))
    for name in ["README.md", *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))]
}
ELSEWHERE = ("docs/how-to/plugins.md",)
"""tests/test_plugin_examples.py runs its programs."""
FROM_NOTHING = ("README.md", "docs/index.md", "docs/tutorial.md")
"""Pages that begin in an empty folder; the others have the folder that `finished` makes."""
PAIRS = ("docs/how-to/recipes.md",)
"""Pages whose `out` are the scores of two responses each."""
RUNS = [
    name for name, blocks in BLOCKS.items() if {"sh", "python"} & {b.kind for b in blocks} and name not in ELSEWHERE
]
RUN_FILE = """
[input]
shards = ["generations/*.parquet"]
id = "id"
keep = ["model"]

[judge]
%s

[model]
name = "judge"
base_url = "%s"
price = { input = 0.15, output = 0.6 }

[limits]
max_usd = 1.0

[output]
path = "%s"
"""
RATING = (
    'prompt = "[row:{id}] Rate it from 1 to 5. {response:fenced} Reply with one line: Score: <number>"\nscale = [1, 5]'
)
RATIO = """kind = "versus_reference"
prompt = "{first} {second}"
response = "response"
reference = "reference"
scale = [0, 1]
orders = "given"
"""


def generations() -> pa.Table:
    """24 rows: 12 questions, answered by two models, with the columns that the pages name."""
    rows = []
    for number in range(24):
        question, second = divmod(number, 2)
        human = float((question * 3 + second) % 5 + 1)
        rows.append(
            {
                "id": f"{question}-{second}",
                "question": f"What is {question} + {question}?",
                "question_id": f"q{question}",
                "item": f"q{question}",
                "task": ("sums", "chat", "code")[question % 3],
                "model": ("alder", "birch")[second],
                "mix": ("a", "b")[second],
                "step": 100 * (1 + question % 3),
                "model_a": ("alder", "birch")[second],
                "model_b": ("birch", "alder")[second],
                "left": ("alder", "birch")[second],
                "right": ("birch", "alder")[second],
                "response": f"It is {2 * question + second}, I believe. " * (1 + question % 4),
                "answer": f"It is {2 * question + second}. " * (1 + question % 3),
                "baseline": f"It is {2 * question}. " * (1 + second),
                "reference": f"It is {2 * question}.",
                "human": human,
                "coherence": human,
                "metric_rougeL": 1 / (1 + question % 4),
                "score_response": number % 7 / 2,
            }
        )
    return pa.Table.from_pylist(rows)


@pytest.fixture(scope="module")
def pages_judge(judge_process: RehearsalProcess) -> RehearsalProcess:
    judge_process.configure(**asdict(replace(JUDGE, scale=(1, 5))))
    return judge_process


def scored(judge: str, url: str, out: str) -> None:
    Path("made.toml").write_text(RUN_FILE % (judge, url, out))
    assert _exit_code(["run", "made.toml", "--quiet"]) == 0
    Path("made.toml").unlink()


@pytest.fixture(scope="module")
def finished(pages_judge: RehearsalProcess, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run file, `run.toml`, and finished outputs: `out`, two judges in `runs`, and `pairs/out`."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "generations").mkdir()
    table = generations()
    for shard in range(2):
        pq.write_table(table.slice(shard * 12, 12), folder / f"generations/{shard}.parquet")
    pq.write_table(table.select(["id", "human"]).rename_columns(["id", "gold"]), folder / "labels.parquet")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        pages_judge.configure(**asdict(replace(JUDGE, replies=("1 0.5", "0.5 1", "0.8 0.8", "0.9 0.4", "0.3 0.7"))))
        scored(RATIO, pages_judge.url, "pairs/out")
        pages_judge.configure(**asdict(replace(JUDGE, scale=(1, 5))))
        for out in ("out", "runs/gpt/out", "runs/haiku/out"):
            scored(RATING, pages_judge.url, out)
        Path("run.toml").write_text(RUN_FILE % (RATING, pages_judge.url, "out"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_blocks_of_page_run(
    name: str,
    finished: Path,
    pages_judge: RehearsalProcess,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Slow: some pages score a table."""
    folder = tmp_path / "folder"
    if name in FROM_NOTHING:
        folder.mkdir()
    else:
        shutil.copytree(finished, folder)
    if name in PAIRS:
        (folder / "out").rename(folder / "ratings")
        (folder / "pairs/out").rename(folder / "out")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PWD", str(folder))
    monkeypatch.setenv("OPENAI_API_KEY", "a key")
    monkeypatch.syspath_prepend(folder)
    capsys.readouterr()
    Page(name, pages_judge.url, capsys, monkeypatch.setenv, {"df": pl.from_arrow(generations())}).run(BLOCKS[name])


def test_every_block_names_a_language_that_the_tests_know() -> None:
    """A block of commands named otherwise, `bash` or nothing, would not run."""
    for name in BLOCKS:
        kinds = re.findall(r"^ *```(\S*).*$", (ROOT / name).read_text(), re.MULTILINE)[::2]
        assert set(kinds) <= {"sh", "python", "toml", "text", "json", "sql", "mermaid"}, (name, kinds)


def test_blocks_that_do_not_run_are_few_and_say_why() -> None:
    left_out = [
        (name, block.not_run) for name, blocks in BLOCKS.items() for block in blocks if block.not_run is not None
    ]
    assert len(left_out) == 9, left_out
