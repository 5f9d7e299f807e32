"""Where replicas are: the lines of a file, and all addresses of a DNS name; what is wrong with them, all at once."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from scorer.client.discovery import discovery
from scorer.errors import SpecError


def read(source: str) -> list[str]:
    return asyncio.run(discovery(source).addresses())


def test_a_file_has_one_address_a_line(tmp_path: Path) -> None:
    path = tmp_path / "judges.txt"
    path.write_text("# ours\nhttp://10.0.0.2:8000/v1  # rack 2\n\n  http://10.0.0.1:8000/v1\nhttp://10.0.0.2:8000/v1\n")
    assert read(f"file:{path}") == ["http://10.0.0.2:8000/v1", "http://10.0.0.1:8000/v1"]


@pytest.mark.parametrize("text", ["", "# none\n\n"])
def test_a_file_without_an_address_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "judges.txt"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"judges\.txt has no address. It takes one base URL a line"):
        read(f"file:{path}")


def test_all_wrong_lines_of_a_file_are_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "judges.txt"
    path.write_text("10.0.0.1:8000\nhttp://10.0.0.1:8000/v1\nhttp://user@10.0.0.2/v1\n")
    with pytest.raises(SpecError) as raised:
        read(f"file:{path}")
    assert [problem.partition(":")[0].rpartition("/")[2] for problem in raised.value.problems] == [
        "judges.txt, line 1",
        "judges.txt, line 3",
    ]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"judges\.txt cannot be read: .*No such file"):
        read(f"file:{tmp_path}/judges.txt")


def test_all_addresses_of_a_name_are_replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def resolver(host: str, port: int, *_: Any, **__: Any) -> list[Any]:
        asked.append((host, port))
        records = [("10.0.0.2", port), ("10.0.0.1", port), ("10.0.0.2", port), ("fd00::1", port, 0, 0)]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", place) for place in records]

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    assert read("dns://judges.svc:8000/v1") == [
        "http://10.0.0.1:8000/v1",
        "http://10.0.0.2:8000/v1",
        "http://[fd00::1]:8000/v1",
    ]
    assert asked == [("judges.svc", 8000)]


def test_a_name_that_cannot_be_resolved_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolver(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    with pytest.raises(SpecError, match=r"judges\.svc cannot be resolved: Name or service not known"):
        read("dns://judges.svc:8000/v1")
