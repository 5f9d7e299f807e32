"""The plug-ins of docs/how-to/plugins.md keep the contracts of scorer.testing; real runs use them by import path."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from support.command import PROMPT, own_score, run_file, scorer, scores, shard
from support.http_server import HttpHandler, HttpServer

from scorer.build.plan import check
from scorer.config.loader import read_toml
from scorer.metrics.protocol import Metric
from scorer.publish.sealed import Publisher
from scorer.rehearsal.process import RehearsalProcess
from scorer.testing import JudgeContract, MetricContract, ProviderContract, PublisherContract
from scorer.types import Completion, Judge, Provider, Request
from scorer.usage import Usage

ROOT = Path(__file__).resolve().parents[1]
PLUGINS = ROOT / "docs/examples/plugins"
PAGE = (ROOT / "docs/how-to/plugins.md").read_text()


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PLUGINS)


# --- the page ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("*.py")), ids=lambda path: path.name)
def test_plugins_page_shows_the_example_files(path: Path) -> None:
    assert f"```python\n{path.read_text()}```" in PAGE


def test_plugins_page_run_file_is_valid() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert check(read_toml("plugins.md", text)).judge.columns == ("response",)


@pytest.mark.slow
def test_plugins_page_contract_runs_with_pytest_only(tmp_path: Path) -> None:
    """Slow: a pytest of its own. The second metric invents a score for a null."""
    snippet = re.search(r"```python\n(from shared_words.*?)```", PAGE, re.DOTALL)
    assert snippet is not None
    (tmp_path / "test_good.py").write_text(snippet[1])
    broken = "class Broken(SharedWords):\n    def _one(self, *pair):\n        return 0.0\n\n\n"
    bad = snippet[1].replace("class Test", f"{broken}class Test").replace("return SharedWords()", "return Broken()")
    (tmp_path / "test_bad.py").write_text(bad)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, **PYTHONPATH})
    failed = set(re.findall(r"^FAILED .*test_(good|bad).py::TestSharedWords::(\w+)", ended.stdout, re.MULTILINE))
    assert failed == {
        ("bad", "test_metric_of_a_null_response_is_none_and_changes_no_other_row"),
        ("bad", "test_metric_of_a_null_reference_is_none_only_where_needed"),
    }, ended.stdout


# --- the contracts ----------------------------------------------------------------------------------------------------


class TestLowerOfTwo(JudgeContract):
    rows = ({"response": "good"}, {"response": "bad {id} 日本"})

    def make(self) -> Judge:
        from lower_of_two import LowerOfTwo

        made: Judge = LowerOfTwo(prompt="Rate from 1 to 10: {response}")
        return made

    def answer(self, request: Request) -> Completion:
        return Completion(f"Score: {1 + len(request.messages[0].content) % 9 + request.index / 2}")


class TestOllamaChat(ProviderContract):
    body = (
        b'{"model": "m", "message": {"role": "assistant", "content": "Score: 4"}, "done_reason": "stop", '
        b'"done": true, "prompt_eval_count": 11, "eval_count": 3}'
    )
    text = "Score: 4"
    usage = Usage(11, 3)

    def make(self, **options: Any) -> Provider:
        from ollama_chat import OllamaChat

        made: Provider = OllamaChat(**options)
        return made


class TestSharedWords(MetricContract):
    def make(self) -> Metric:
        from shared_words import SharedWords

        made: Metric = SharedWords()
        return made


class TestSQLite(PublisherContract):
    def place(self, folder: Path) -> str:
        return f"{folder}/tables/scores.db"

    def make(self, place: str, partition_by: Sequence[str] = ()) -> Publisher:
        from sqlite_table import SQLite

        made: Publisher = SQLite(place, partition_by)
        return made

    def rows(self, place: str) -> list[dict[str, Any]]:
        return table(place)


def table(place: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(place)) as connection:
        connection.row_factory = sqlite3.Row
        found = connection.execute('SELECT run AS scorer_run, shard, "row", score, other FROM scores')
        return [dict(row) for row in found]


# --- real runs --------------------------------------------------------------------------------------------------------

PYTHONPATH = {"PYTHONPATH": str(PLUGINS)}


@pytest.mark.slow
def test_example_judge_metric_and_publisher_work_in_a_run(tmp_path: Path, judge: RehearsalProcess) -> None:
    """Slow: real processes."""
    shard(tmp_path / "in/a.parquet", 12, response="right, more or less")
    run = run_file(
        tmp_path,
        judge.url,
        judge={"kind": "lower_of_two:LowerOfTwo", "prompt": PROMPT, "scale": None},
        metrics={"names": ["shared_words:SharedWords"], "reference": "id"},
    )
    run.write_text(run.read_text().replace("scale = null\n", ""))
    ended = scorer("run", run, **PYTHONPATH)
    assert ended.code == 0, ended.err
    found = scores(tmp_path)
    assert [row["score"] for row in found] == [own_score(f"r{n}") for n in range(12)]
    assert {row["spread"] for row in found} == {0.0}
    assert {row["metric_shared_words:SharedWords"] for row in found} == {0.0}
    to = f"sqlite_table:SQLite://{tmp_path}/scores.db"
    for committed in (1, 0):
        done = scorer("publish", tmp_path / "out", "--to", to, "--json", **PYTHONPATH)
        assert done.code == 0, done.err
        assert done.json()["committed"] == committed
    published = table(f"{tmp_path}/scores.db")
    assert [row["score"] for row in published] == [row["score"] for row in found]
    assert [json.loads(row["other"])["id"] for row in published] == [f"r{n}" for n in range(12)]


class Ollama(HttpHandler):
    """A server of Ollama's /api/chat; every third request fails at first."""

    asked: list[dict[str, Any]]
    numbers: Iterator[int]

    def do_POST(self) -> None:
        sent = json.loads(self.body())
        self.asked.append(sent)
        number = next(self.numbers)
        status, answer = 200, {
            "message": {"role": "assistant", "content": "Score: 4"},
            "done_reason": "stop",
            "model": sent["model"],
            "prompt_eval_count": 9,
            "eval_count": 2,
        }  # fmt: skip
        if self.path != "/api/chat":
            status, answer = 404, {"error": "no such page"}
        elif number % 3 == 0:
            status, answer = 503, {"error": "busy"}
        self.reply(status, json.dumps(answer).encode())


@pytest.fixture
def ollama() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    asked: list[dict[str, Any]] = []
    handler = type("Handler", (Ollama,), {"asked": asked, "numbers": count(1)})
    with HttpServer(handler) as server:
        yield server.url, asked


@pytest.mark.slow
def test_example_provider_works_in_a_run(tmp_path: Path, ollama: tuple[str, list[dict[str, Any]]]) -> None:
    """Slow: a real process, and the pauses after its 503s."""
    url, asked = ollama
    shard(tmp_path / "in/a.parquet", 8)
    run = run_file(
        tmp_path, url, model={"provider": "ollama_chat:OllamaChat", "name": "llama3.2", "extra": {"keep_alive": "5m"}}
    )
    ended = scorer("run", run, **PYTHONPATH)
    assert ended.code == 0, ended.err
    found = scores(tmp_path)
    assert [(row["score"], row["judge_model"], row["prompt_tokens"]) for row in found] == [(4.0, "llama3.2", 9)] * 8
    assert len(asked) > 8, "a 503 is asked again"
    assert all(sent["keep_alive"] == "5m" and sent["options"]["temperature"] == 0.0 for sent in asked)
