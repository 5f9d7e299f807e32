"""A server on loopback that speaks the paths of the Hugging Face Hub for one dataset: info, tree, paths, files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from support.http_server import HttpHandler, HttpServer

NAME = "org/name"
REVISION = r"(?:refs/(?:convert|pr)/[^/]+|[^/]+)"


class Hub:
    """The dataset `org/name`: its files by path. `asked` are the requests so far; `fails` answers the next with 503."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.fails = 0
        self.private = False
        self.url = ""

    def entry(self, path: str) -> dict[str, Any]:
        data = self.files[path]
        return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def tree(self, folder: str, recursive: bool) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.files):
            below = path.removeprefix(f"{folder}/") if folder else path
            if folder and below == path:
                continue
            parts = below.split("/")
            for depth in range(1, len(parts)):
                above = "/".join(filter(None, [folder, *parts[:depth]]))
                if recursive or depth == 1:
                    found[above] = {"type": "directory", "path": above, "size": 0, "oid": "0" * 40}
            if recursive or len(parts) == 1:
                found[path] = self.entry(path)
        return list(found.values())


@contextmanager
def serving() -> Iterator[Hub]:
    """The server while the block lasts."""
    hub = Hub()

    class Handler(HttpHandler):
        def do_GET(self) -> None:
            self._answer()

        def do_HEAD(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer(self.body())

        def _answer(self, body: bytes = b"") -> None:
            parts = urlsplit(self.path)
            path = unquote(parts.path)
            hub.asked.append(f"{self.command} {path}")
            if hub.fails:
                hub.fails -= 1
                return self.reply(503, b"busy")
            if hub.private:
                return self.reply(401, b"{}", {"X-Error-Code": "RepoNotFound"})
            if found := re.fullmatch(rf"/datasets/{NAME}/resolve/{REVISION}/(.*)", path):
                return self._file(found[1])
            api = path.removeprefix(f"/api/datasets/{NAME}")
            if api == path:
                return self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            if found := re.fullmatch(rf"/tree/{REVISION}/?(.*)", api):
                tree = hub.tree(
                    found[1].rstrip("/"), "true" in parse_qs(parts.query).get("recursive", ["false"])[0].lower()
                )
                if not tree:
                    return self.reply(404, b"{}", {"X-Error-Code": "EntryNotFound"})
                return self.reply(200, json.dumps(tree).encode())
            if re.fullmatch(rf"/paths-info/{REVISION}", api):
                return self.reply(200, json.dumps(self._infos(body)).encode())
            return self.reply(200, json.dumps({"id": NAME, "sha": "a" * 40, "siblings": [], "tags": []}).encode())

        def _infos(self, body: bytes) -> list[dict[str, Any]]:
            asked = json.loads(body) if body.startswith(b"{") else parse_qs(body.decode())
            infos = []
            for path in asked["paths"]:
                if path in hub.files:
                    infos.append(hub.entry(path))
                elif hub.tree(path, True):
                    infos.append({"type": "directory", "path": path, "size": 0, "oid": "0" * 40})
            return infos

        def _file(self, path: str) -> None:
            if path not in hub.files:
                return self.reply(404, b"", {"X-Error-Code": "EntryNotFound"})
            data = hub.files[path]
            if found := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
                return self.reply(206, data[int(found[1]) : int(found[2]) + 1])
            return self.reply(200, data)

    with HttpServer(Handler) as server:
        hub.url = server.url
        yield hub
