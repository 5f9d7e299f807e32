"""Promise: no key reaches disk, log or terminal; a rehearsal is marked; a new output folder is private."""

from __future__ import annotations

import base64
import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command import run_file, scorer, shard
from support.http_server import HttpHandler, HttpServer
from support.inprocess import Run
from support.transport import FakeTransport

from scorer.build.plan import check
from scorer.cli.app import _exit_code
from scorer.client.blanking import SecretBlankingTransport, Secrets
from scorer.errors import OutputError, SpecError, Unreachable
from scorer.files.local_files import LocalFiles
from scorer.job.rehearse import rehearsal
from scorer.output.layout import Layout
from scorer.output.manifest import load
from scorer.publish.publish import publish
from scorer.rehearsal.process import RehearsalProcess
from scorer.types import Call, Reply

KEY = "sk-test/4f1d0c9b+8a7e6d5c4b3a=="
SECRETS = Secrets([KEY])


# --- replies ----------------------------------------------------------------------------------------------------------


def forms(key: str) -> dict[str, str]:
    """What a server may make of a key that it echoes."""
    data = key.encode()
    return {
        "plain": key,
        "in a header": f"Bearer {key}",
        "quoted": quote(key, safe=""),
        "quoted, small": quote(key, safe="").lower(),
        "base64": base64.b64encode(data).decode(),
        "base64, for URLs": base64.urlsafe_b64encode(data).decode().rstrip("="),
        "base64 of a header": base64.b64encode(b"Bearer " + data + b"\n").decode(),
        "base64 of basic": base64.b64encode(b"me:" + data).decode(),
        "cut": key[: len(key) * 2 // 3],
        "its end": key[-(len(key) * 2 // 3) :],
    }


@pytest.mark.parametrize("form", forms(KEY))
def test_blanking_finds_a_key_in_any_encoding(form: str) -> None:
    echoed = forms(KEY)[form]
    blanked_text = SECRETS.blanked_text(f"The key {echoed} is wrong, {echoed}.")
    assert "***" in blanked_text
    assert blanked_text.startswith("The key ")
    assert blanked_text.endswith(".")
    for length in range(len(echoed) // 2 + 2, len(echoed) + 1):
        assert echoed[:length] not in blanked_text


def test_blanking_decodes_needless_json_escapes_first() -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in KEY)
    slashed = KEY.replace("/", "\\/")
    body = f'{{"content": "\\u00e9 {escaped}", "other": "{slashed}", "model": "a\\\\u0041"}}'
    value = json.loads(SECRETS.blanked(body.encode()))
    assert value == {"content": "é ***", "other": "***", "model": "a\\u0041"}


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_blanking_leaves_a_reply_without_a_key_unchanged(before: bytes, after: bytes) -> None:
    data = before + after
    assert SECRETS.blanked(data) is data
    blanked_text = SECRETS.blanked(before + KEY.encode() + after)
    assert KEY.encode() not in blanked_text
    assert blanked_text.startswith(before)
    assert blanked_text.endswith(after)


@given(st.text(st.characters(codec="utf-8"), min_size=8, max_size=60), st.text(max_size=40))
def test_blanking_removes_any_secret_and_keeps_json_valid(secret: str, around: str) -> None:
    secrets = Secrets([secret])
    if secret in "***" or json.dumps(secret)[1:-1] in json.dumps({"content": around, "model": "m"}):
        return
    body = json.dumps({"content": f"{around}{secret}{around}", "model": "m"}).encode()
    value = json.loads(secrets.blanked(body))
    assert secret not in value["content"]


async def test_blanking_removes_a_key_that_is_cut_off() -> None:
    class Breaks(FakeTransport):
        async def reply(self, call: Call, number: int) -> Reply:
            raise Unreachable(f"bad line: {KEY}", billed=True, hint="x")

    with pytest.raises(Unreachable) as raised:
        await SecretBlankingTransport(Breaks(), SECRETS).post(Call("http://127.0.0.1", b"", {}))
    assert (raised.value.detail, str(raised.value), raised.value.billed) == ("bad line: ***", "bad line: ***", True)


class _Echo(HttpHandler):
    """A judge that has nothing better to say than the key it was given, in every field."""

    def do_POST(self) -> None:
        key = self.headers["authorization"].removeprefix("Bearer ")
        asked = self.body().decode()
        kinds = list(forms(key).values())
        number = int(asked.partition("[row:r")[2].partition("]")[0])
        echoed = kinds[number % len(kinds)]
        if number < 2 * len(kinds):
            usage = {"prompt_tokens": 3, "completion_tokens": 2}
            choice = {"message": {"content": f"Score: 3\nReason {echoed}"}, "finish_reason": echoed}
            status, body = 200, json.dumps({"model": echoed, "choices": [choice], "usage": usage}).encode()
        else:
            status, body = 400, (b"x" * (490 - number % 13) + echoed.encode() + b" and more")
        self.reply(status, body)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_echoed_key_is_in_no_file_and_no_output(tmp_path: Path, workers: int) -> None:
    """Slow: a real run against a server of its own; every value of every result is looked at."""
    shard(tmp_path / "in/a.parquet", 40)
    with HttpServer(_Echo) as server:
        run = run_file(
            tmp_path,
            f"{server.url}/v1",
            model={"api_key_env": "ECHOED"},
            output={"keep_raw": "full"},
            limits={"concurrency": 4, "max_failed_share": 1.0},
        )
        done = scorer("run", run, "--workers", workers, ECHOED=KEY)
    assert done.code == 0, done.err
    (rows,) = [pq.read_table(path).to_pylist() for path in (tmp_path / "out/scores").glob("*.parquet")]
    scored = 2 * len(forms(KEY))
    assert sum(row["score"] == 3.0 for row in rows) == scored
    assert {row["judge_model"] for row in rows[:scored]} >= {"***"}
    printed = json.dumps(rows, default=str) + done.out + done.err
    printed += "".join(path.read_text() for path in (tmp_path / "out").rglob("*.json"))
    for name, form in forms(KEY).items():
        for text in (form, form[: len(form) * 2 // 3], form[-(len(form) * 2 // 3) :]):
            assert text not in printed, name


def test_secrets_of_excludes_a_title_in_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    from scorer.build.keys import secrets_of
    from scorer.config.spec import Model

    for name, value in {"TITLE": "coherence-judge", "HIDDEN": "abc-def-ghi", "MINE": "aB3dEfGh" * 5}.items():
        monkeypatch.setenv(name, value)
    headers = {"X-Title": "${TITLE}", "X-Api-Key": "${HIDDEN}", "X-Gate": "${MINE}"}
    model = Model(name="m", headers=headers, query={"code": "${ABSENT_TOKEN}"})
    assert secrets_of(model) == {"abc-def-ghi", "aB3dEfGh" * 5, ""}


# --- run files --------------------------------------------------------------------------------------------------------

LONG = "aB3" * 12


def problems(**model: Any) -> list[str]:
    tree = {
        "input": {"shards": ["in"]},
        "judge": {"prompt": "{response}"},
        "model": {"name": "m", **model},
        "output": {"path": "out"},
    }
    try:
        check(tree)
    except SpecError as error:
        return list(error.problems)
    return []


@pytest.mark.parametrize(
    ("key", "model"),
    [
        ("model.extra.api_key", {"extra": {"api_key": "hunter2"}}),
        ("model.extra.auth.value", {"extra": {"auth": {"value": "hunter2"}}}),
        ("model.extra.metadata[0].x", {"extra": {"metadata": [{"x": "sk-0123456789abcdef01"}]}}),
        ("model.extra.Authorization", {"extra": {"Authorization": "Bearer ${KEY}"}}),
        ("model.extra.access_token", {"extra": {"access_token": "hunter2"}}),
        ("model.base_url", {"base_url": "https://gate.example/sk-0123456789abcdef01/v1"}),
        ("model.base_url", {"base_url": "https://gate.example/key/hunter2hunter2/v1"}),
        ("model.base_url", {"base_url": "https://gate.example/api_key=hunter2hunter2/v1"}),
        ("model.base_url", {"base_url": f"https://gate.example/{LONG}/v1"}),
        ("model.base_url", {"base_url": "https://me:hunter2@gate.example/v1"}),
        ("model.base_url", {"base_url": "https://gate.example/v1?key=hunter2hunter2"}),
        ("model.endpoints[0].base_url", {"endpoints": [{"base_url": f"https://gate.example/{LONG}/v1"}]}),
        ("model.headers.Authorization", {"headers": {"Authorization": "Bearer hunter2"}}),
        ("model.headers.X-Gate", {"headers": {"X-Gate": LONG}}),
        ("model.headers.X-Both", {"headers": {"X-Both": "${A} sk-0123456789abcdef01"}}),
        ("model.query.code", {"query": {"code": LONG}}),
        ("model.query.sig", {"query": {"sig": "hunter2"}}),
        ("model.name", {"name": "sk-0123456789abcdef01"}),
    ],
)
def test_leaks_refuses_a_key_in_a_run_file_without_repeating_it(key: str, model: dict[str, Any]) -> None:
    (problem,) = problems(**model)
    assert problem.startswith(key)
    for secret in ("hunter2", "0123456789abcdef", LONG):
        assert secret not in problem


@pytest.mark.parametrize(
    "model",
    [
        {"extra": {"top_p": 0.9, "stop_token_ids": [1], "prompt_cache_key": "judge", "max_completion_tokens": 5}},
        {"extra": {"chat_template_kwargs": {"enable_thinking": False}, "user": "team", "reasoning": {"effort": "low"}}},
        {"base_url": "https://gateway.ai.cloudflare.com/v1/0123456789abcdef0123456789abcdef/gate/openai"},
        {"base_url": "https://x.example/projects/123e4567-e89b-12d3-a456-426614174000/v1"},
        {"base_url": "https://my-judge.openai.azure.com/openai/deployments/gpt-4o-mini-2024-07-18"},
        {"headers": {"Authorization": "Bearer ${KEY}", "OpenAI-Organization": f"org-{LONG}", "X-Title": "my judge"}},
        {"query": {"api-version": "2024-10-21"}},
    ],
)
def test_leaks_accepts_values_that_are_not_keys(model: dict[str, Any]) -> None:
    assert problems(**model) == []


def test_leaks_refuses_credentials_in_addresses_of_tables_and_buckets() -> None:
    tree = {
        "input": {"shards": ["s3://me:hunter2@bucket/in/*.parquet"]},
        "judge": {"prompt": "{response}"},
        "model": {"name": "m"},
        "output": {"path": "s3://bucket/out?secret=hunter2"},
    }
    with pytest.raises(SpecError) as raised:
        check(tree)
    assert {problem.split()[0] for problem in raised.value.problems} == {"input.shards", "output.path"}
    assert "hunter2" not in str(raised.value)
    tree["input"]["shards"] = ["s3://bucket/part-?.parquet", "az://container/in;v=1/*.parquet"]
    tree["output"]["path"] = "s3://bucket/out"
    assert check(tree)


# --- rehearsals -------------------------------------------------------------------------------------------------------


@pytest.fixture
def rehearsed(tmp_path: Path) -> Path:
    """A folder with a rehearsal in it."""
    shard(tmp_path / "in/a.parquet", 6)
    run = run_file(tmp_path, "http://127.0.0.1:9/v1")
    done = scorer("rehearse", run)
    assert done.code == 0, done.err
    assert "complete (a rehearsal: its scores are simulated)" in done.out
    return tmp_path


@pytest.mark.slow
def test_rehearsal_is_marked_and_never_published(rehearsed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Slow: a real rehearsal."""
    out = str(rehearsed / "out-rehearsal")
    with pytest.raises(SpecError, match=r"is a rehearsal: .* not published"):
        publish(LocalFiles(), out, f"delta://{rehearsed}/table")
    assert not (rehearsed / "table").exists()
    assert _exit_code(["status", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rehearsal"] is True
    asked = ["leaderboard", out, "--score", "score", "--system", "id"]
    assert _exit_code(asked) == 0
    assert capsys.readouterr().out.startswith("This is a rehearsal: the scores are simulated")
    assert _exit_code([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rehearsal"] is True
    (sealed,) = Path(out, "scores").glob("*.parquet")
    assert b'"rehearsal-' in pq.read_metadata(sealed).metadata[b"scorer.run"]


@pytest.mark.slow
def test_rehearsal_and_run_refuse_each_others_folder(rehearsed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Slow: a real rehearsal, and starts that refuse; also where run.json is lost."""
    out = rehearsed / "out-rehearsal"
    run = ["run", str(rehearsed / "run.toml"), "--set", f"output.path={out}"]
    for _ in range(2):
        assert _exit_code(run) == 5
        assert "holds the scores of a rehearsal" in capsys.readouterr().err
        (out / "run.json").unlink(missing_ok=True)
    assert scorer("rehearse", rehearsed / "run.toml").code == 0


def test_rehearsal_refuses_a_runs_folder(tmp_path: Path) -> None:
    """The folder `<output.path>-rehearsal` may be somebody's real output."""
    run = Run(tmp_path, 3)
    run.out = f"{tmp_path}/out-rehearsal"
    run.run()
    job = run.job()
    job.plan = replace(job.plan, rehearsal=True)
    from support.clock import run as in_virtual_time

    with pytest.raises(OutputError, match="holds the scores of a run"):
        in_virtual_time(job.run())
    manifest = load(LocalFiles(), Layout(run.out))
    assert manifest is not None
    assert not manifest.rehearsal


@pytest.mark.slow
def test_rehearsal_plan_has_the_flag_rehearsal(tmp_path: Path, judge: RehearsalProcess) -> None:
    """Slow: a process starts."""
    shard(tmp_path / "in/a.parquet", 1)
    tree = {
        "input": {"shards": [f"{tmp_path}/in"]},
        "judge": {"prompt": "{response}"},
        "model": {"name": "m", "base_url": judge.url},
        "output": {"path": f"{tmp_path}/out"},
    }
    assert not check(tree).rehearsal
    with rehearsal(tree) as (plan, _):
        assert plan.rehearsal


# --- who may read -----------------------------------------------------------------------------------------------------


def test_output_folder_is_private_when_new_and_keeps_its_mode_when_it_exists(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        (tmp_path / "one").mkdir()
        Run(tmp_path / "one", 2).run()
        shared = tmp_path / "two"
        (shared / "out").mkdir(parents=True)
        (shared / "out").chmod(0o755)
        Run(shared, 2).run()
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "one/out").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "one").stat().st_mode) == 0o755
    assert stat.S_IMODE((shared / "out").stat().st_mode) == 0o755
