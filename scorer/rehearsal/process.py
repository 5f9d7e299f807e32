"""Starts the simulated judge in a child process, so that it shares no event loop with the caller."""

from __future__ import annotations

from typing import Any, Self
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import orjson

from scorer.errors import SetupError, SpecError
from scorer.processes.child_process import ChildProcess
from scorer.processes.search_path import child_environment
from scorer.rehearsal.config import RehearsalConfig

_START_S = 30.0
_ANSWER_S = 30.0


class RehearsalProcess:
    """A simulated judge while its context is open; `url` is its base_url, with /v1 at its end.

    It runs in a session of its own, so that Ctrl-C reaches only its parent. It ends with its parent, even by kill -9.
    Raises: SetupError where it does not start.
    """

    def __init__(self, config: RehearsalConfig | None = None, *, port: int = 0) -> None:
        self.config = config or RehearsalConfig()
        self.url = ""
        self._port = port
        self._child: ChildProcess | None = None
        # Loopback is never behind a proxy, whatever the environment says.
        self._opener = build_opener(ProxyHandler({}))

    def __enter__(self) -> Self:
        child = self._child = ChildProcess(
            "scorer.rehearsal",
            "--config",
            self.config.to_json(),
            "--port",
            str(self._port),
            environment=child_environment(),
            keep_stderr=False,
            own_session=True,
        )
        line = child.first_line(_START_S)
        if not line:
            self.stop()
            raise SetupError(f"The simulated judge did not start: exit code {child.poll()}, its reason above.")
        self.url = orjson.loads(line)["url"]
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    def stop(self) -> None:
        """Ends the judge and whatever it is answering; nothing where it has ended."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()

    def stats(self) -> dict[str, Any]:
        """The totals of `RequestLog.stats`, and in `batches` those of `BatchLog.stats`."""
        answer: dict[str, Any] = self._ask("/stats")
        return answer

    def rows(self) -> dict[str, dict[str, int]]:
        """For each row seen: recv, paid, delivered, lost."""
        answer: dict[str, dict[str, int]] = self._ask("/rows")
        return answer

    def payments(self) -> dict[str, dict[str, Any]]:
        """What was paid in batches, by `custom_id`: row, paid, fetched, prompt_tokens, completion_tokens."""
        answer: dict[str, dict[str, Any]] = self._ask("/payments")
        return answer

    def configure(self, **changes: Any) -> None:
        """Changes the judge while it runs. Raises: SpecError."""
        self._ask("/config", orjson.dumps(changes))
        self.config = self.config.changed(changes)

    def reset(self) -> None:
        """An empty request log, full buckets, the draws from their beginning."""
        self._ask("/reset", b"")

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        try:
            with self._opener.open(Request(self.url.removesuffix("/v1") + path, body), timeout=_ANSWER_S) as reply:
                return orjson.loads(reply.read())
        except HTTPError as wrong:
            with wrong:
                raise SpecError([orjson.loads(wrong.read())["error"]["message"]]) from None
