"""An obstacle to joining a cluster is explained at once, before anything is touched."""

from __future__ import annotations

import socket
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.command import run_file, shard
from support.raw_server import held_port

from scorer.cli.app import _exit_code
from scorer.errors import SpecError
from scorer.workers.ray import cluster as joining
from scorer.workers.ray.cluster import _Spoken, joined


def refused(block: AbstractContextManager[None]) -> str:
    with pytest.raises(SpecError) as caught, block:
        raise AssertionError("joined")
    assert len(caught.value.problems) == 1
    return str(caught.value)


def join(address: str | None) -> AbstractContextManager[None]:
    return joined(address, workers=1, say=lambda _: None)


def test_join_names_extra_when_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "find_spec", lambda _: None)
    assert "pip install 'batch-scorer[cluster]'" in refused(join(None))


@pytest.mark.parametrize("address", ["here", "127.0.0.1", "127.0.0.1:70000", "ray://127.0.0.1:10001", ":6379", "a:b"])
def test_join_refuses_malformed_address_and_shows_form(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "find_spec", lambda _: True)
    said = refused(join(address))
    assert f"--address {address} is no address" in said
    assert "HOST:PORT" in said


def test_join_refuses_address_without_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "find_spec", lambda _: True)
    with held_port() as deaf:
        address = f"127.0.0.1:{deaf.getsockname()[1]}"
        assert f"Nobody answers at --address {address}" in refused(join(address))
        monkeypatch.setenv("RAY_ADDRESS", address)
        assert "Nobody answers" in refused(join(None))


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\0\0\0\4"])
def test_join_refuses_address_of_other_server(says: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "find_spec", lambda _: True)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            wire, _ = server.accept()
            with wire:
                wire.recv(1024)
                wire.sendall(says)

        answering = threading.Thread(target=answer)
        answering.start()
        said = refused(join(f"127.0.0.1:{server.getsockname()[1]}"))
        answering.join()
    assert "is no head of a Ray cluster" in said


def test_local_ray_that_does_not_start_in_time_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(joining, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(init=init))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    said = refused(join(None))
    assert said.startswith("Ray could not be started on this machine. Ray says: The current node timed out")


def test_address_option_is_refused_without_ray_cluster(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard(tmp_path / "in/a.parquet", 1)
    run = str(run_file(tmp_path, "http://127.0.0.1:9/v1"))
    assert _exit_code(["run", run, "--address", "127.0.0.1:6379"]) == 2
    assert "is for --engine ray alone" in capsys.readouterr().err
    assert _exit_code(["rehearse", run, "--engine", "ray", "--address", "127.0.0.1:6379"]) == 2
    assert "the simulated judge answers on this machine only" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_spoken_joins_and_prefixes_output_of_ray() -> None:
    said: list[str] = []
    print("\x1b[33m(raylet)\x1b[0m A worker died", "or was killed.\n\n[state-dump] x\nTwo", file=_Spoken(said.append))
    assert said == ["Ray says: (raylet) A worker died or was killed.", "Ray says: Two"]
