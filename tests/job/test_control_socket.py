"""Promise: a run's socket takes changes from its owner alone, survives nonsense, and may be left by a killed run."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from scorer.config.spec import Limits
from scorer.job import control_socket
from scorer.job.control import CONCURRENCY, MAX_USD, PAUSED, Control
from scorer.job.control_socket import MOST_BYTES, Answer, ControlClient, control_path, served
from scorer.job.scoring import Range
from scorer.limits.live_settings import LiveSettings
from scorer.processes import local_socket


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the sockets are: a short path, as a socket's has to be."""
    with tempfile.TemporaryDirectory(prefix="s") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield Path(folder, "scorer")


def control(applied: list[LiveSettings]) -> Control:
    return Control(
        Limits(max_usd=5.0),
        apply=applied.append,
        concurrency=lambda: Range(8, 1, 32),
        tell=lambda _: None,
        wall_s=lambda: 1.8e9,
    )


def while_served(out: str, client: Callable[[], Any]) -> tuple[Any, list[LiveSettings], list[str]]:
    """What `client` returns, on a thread, while a control is served; the settings that it made; what was said."""
    applied: list[LiveSettings] = []
    said: list[str] = []

    async def serve() -> Any:
        async with served(control(applied), "id", out, said.append):
            return await asyncio.to_thread(client)

    return asyncio.run(serve()), applied, said


def test_client_changes_the_run_and_learns_how_it_stands(tmp_path: Path, own_folder: Path) -> None:
    out = str(tmp_path / "out")

    def client() -> list[Answer]:
        path = Path(str(control_path(out)))
        assert path.parent == own_folder
        assert [stat.S_IMODE(one.stat().st_mode) for one in (path, own_folder)] == [0o600, 0o700]
        run = ControlClient("id", out)
        try:
            return [
                run.ask(),
                run.ask(PAUSED, True),
                run.ask(CONCURRENCY, 99),
                run.ask(MAX_USD, 7.5),
                run.ask(MAX_USD, 7.5),
            ]
        finally:
            run.close()

    (first, paused, refused, raised, again), applied, said = while_served(out, client)
    assert (first.run, first.paused, first.concurrency, first.caps) == ("id", False, (8, 1, 32), {MAX_USD: 5.0})
    assert paused.paused
    assert f"process {os.getpid()}" in str(paused.said)
    assert "from 1 to 32" in str(refused.refused)
    assert (raised.caps[MAX_USD], again.said) == (7.5, "Nothing changed: it is so already.")
    assert applied == [LiveSettings(paused=True), LiveSettings(paused=True, max_usd=7.5)]
    assert said == []
    assert list(own_folder.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        ControlClient("id", out)


@pytest.mark.parametrize(
    "sent", [b"\n", b"{}{}\n", b'{"key": 5}\n', b"\xff\x00\n", b'{"key": "paused", "value": "yes"}\n', b"[1]\n"]
)
def test_nonsense_is_refused_and_changes_nothing(tmp_path: Path, sent: bytes) -> None:
    out = str(tmp_path / "out")

    def client() -> tuple[bytes, Answer]:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(control_path(out)))
            raw.sendall(sent)
            answered = raw.makefile("rb").readline()
        run = ControlClient("id", out)
        try:
            return answered, run.ask()
        finally:
            run.close()

    (answered, standing), applied, _ = while_served(out, client)
    assert b"refused" in answered
    assert (standing.paused, applied) == (False, [])


def test_line_without_an_end_closes_its_connection_alone(tmp_path: Path) -> None:
    out = str(tmp_path / "out")

    def client() -> Answer:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(control_path(out)))
            raw.sendall(b"x" * (4 * MOST_BYTES))
            assert raw.recv(1) == b""
        run = ControlClient("id", out)
        try:
            return run.ask()
        finally:
            run.close()

    assert while_served(out, client)[0].run == "id"


def test_another_user_is_not_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = str(tmp_path / "out")
    monkeypatch.setattr(control_socket, "peer", lambda _: (os.getuid() + 1, 1))

    def client() -> bytes:
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(str(control_path(out)))
            with suppress(BrokenPipeError, ConnectionResetError):
                raw.sendall(b'{"key": "paused", "value": true}\n')
                return raw.recv(1)
        return b""

    answered, applied, _ = while_served(out, client)
    assert (answered, applied) == (b"", [])

    def impostor() -> None:
        with pytest.raises(PermissionError, match="another user"):
            ControlClient("id", out)

    while_served(out, impostor)


def test_socket_of_a_killed_run_is_refused_and_the_next_start_replaces_it(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    local_socket.listener(str(control_path(out))).close()  # its file stays, as after kill -9
    with pytest.raises(ConnectionRefusedError):
        ControlClient("id", out)

    def client() -> str:
        run = ControlClient("id", out)
        try:
            return run.ask().run
        finally:
            run.close()

    assert while_served(out, client)[0] == "id"


def test_next_start_removes_sockets_of_other_killed_runs_and_leaves_those_of_live_ones(
    tmp_path: Path, own_folder: Path
) -> None:
    dead, alive = (str(control_path(str(tmp_path / name))) for name in ("dead", "alive"))
    local_socket.listener(dead).close()
    with socket.socket(socket.AF_UNIX) as half:
        half.bind(f"{alive}.98")
    (own_folder / "other").write_text("somebody else's")
    with local_socket.listener(alive):
        while_served(str(tmp_path / "out"), lambda: None)
        assert {path.name for path in own_folder.iterdir()} == {Path(alive).name, "other"}


def test_paths_of_one_folder_have_one_socket_and_buckets_have_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    assert control_path("out") == control_path("link") == control_path(str(tmp_path / "out")) != control_path("other")
    assert control_path("s3://bucket/out") != control_path("s3://bucket/other")


def test_folder_that_others_can_use_is_not_taken_and_the_run_goes_on_without(
    tmp_path: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_folder.mkdir(mode=0o777)
    own_folder.chmod(0o777)
    path = control_path("out")
    assert path is not None
    assert path.startswith("/tmp/scorer-")
    monkeypatch.setattr(local_socket, "_own", lambda _: False)
    result, _, said = while_served("out", lambda: 7)
    assert result == 7
    assert "can only look at this run" in said[0]


def test_runtime_folder_with_a_long_name_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 90)))
    assert str(control_path("out")).startswith("/tmp/scorer-")


@pytest.mark.parametrize("turns", range(6))
def test_connection_accepted_as_the_run_ends_is_closed(tmp_path: Path, turns: int) -> None:
    out = str(tmp_path / "out")

    async def ends_at_once() -> None:
        with socket.socket(socket.AF_UNIX) as raw:
            async with served(control([]), "id", out, lambda _: None):
                raw.connect(str(control_path(out)))
                for _ in range(turns):
                    await asyncio.sleep(0)
            raw.setblocking(False)
            with suppress(ConnectionResetError):
                await asyncio.wait_for(asyncio.get_running_loop().sock_recv(raw, 1), 60)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(ends_at_once())
        gc.collect()
    assert [str(one.message) for one in warned] == []


def test_run_of_another_container_with_the_same_path_is_not_taken_for_this_one(tmp_path: Path) -> None:
    out = str(tmp_path / "out")

    def client() -> None:
        with pytest.raises(ConnectionRefusedError, match="another run"):
            ControlClient("other id", out)

    while_served(out, client)
