"""The views of a run: terminal or JSON log, and, where asked for, a Prometheus endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from scorer.cli.run_text import summary_text
from scorer.cli.stdio import to_stderr
from scorer.cli.terminal import TerminalView, line
from scorer.errors import ScorerError, StorageError, TooManyFailed
from scorer.escapes import printable_line

if TYPE_CHECKING:
    from scorer.cli.jsonlog import JsonLog
    from scorer.cli.prometheus import PrometheusExporter
    from scorer.output.progress import Snapshot


class View:
    """The outputs of one run's progress, as one object: a terminal or JSON lines, and perhaps Prometheus."""

    def __init__(
        self,
        screen: TerminalView | JsonLog,
        endpoint: PrometheusExporter | None,
        out: str,
        also: Callable[[Snapshot], None] | None = None,
    ) -> None:
        self._also = also
        self._screen = screen
        self._endpoint = endpoint
        self._out = out
        self._last: Snapshot | None = None

    def show(self, snapshot: Snapshot) -> None:
        """Shows a snapshot; called every second."""
        self._last = snapshot
        if self._also is not None:
            self._also(snapshot)
        if self._endpoint is not None:
            self._endpoint.show(snapshot)
        self._screen.show(snapshot)

    def say(self, text: str) -> None:
        """A sentence for people."""
        self._screen.say(text)

    def tell(self, name: str, fields: Mapping[str, Any]) -> None:
        """Shows an event: started, changed, sealed, published, publish_failed, finished."""
        self._screen.tell(name, fields)

    def ended(self, error: Exception) -> None:
        """Shows how the run stands where it ended with an error; nothing where it had not begun."""
        from scorer.files.router import AnyFiles
        from scorer.output.status import status

        if not isinstance(self._screen, TerminalView) or (self._last is None and not isinstance(error, TooManyFailed)):
            return
        try:
            if isinstance(error, StorageError):  # it would be asked for minutes again, or for a lock that is left
                raise error
            found = status(AnyFiles(), self._out)
            if found.why is not None and found.why == printable_line(str(error)):
                found = replace(found, why=None)  # the error itself is shown next
            to_stderr(summary_text(self._out, found))
        except (ScorerError, OSError):  # the error itself says what is wrong with the output
            if self._last is not None:
                to_stderr(line(self._last))

    @property
    def answered(self) -> Callable[[float], None] | None:
        """A function that gets the latency of each request in seconds; None where no output needs it."""
        return None if self._endpoint is None else self._endpoint.answered


@contextmanager
def view(
    *,
    out: str,
    fingerprint: str,
    quiet: bool = False,
    log_format: Literal["text", "json"] = "text",
    metrics_port: int | None = None,
    metrics_host: str = "127.0.0.1",
    also: Callable[[Snapshot], None] | None = None,
) -> Iterator[View]:
    """The view of a run for as long as the block lasts; `also` gets each snapshot, too.

    Raises SpecError where the metrics' port cannot be had.
    """
    with ExitStack() as stack:
        endpoint = None
        if metrics_port is not None:
            from scorer.cli.prometheus import PrometheusExporter

            endpoint = stack.enter_context(
                PrometheusExporter(metrics_host, metrics_port, out=out, fingerprint=fingerprint)
            )
        if log_format == "json":
            from scorer.cli.jsonlog import JsonLog

            screen: TerminalView | JsonLog = stack.enter_context(JsonLog(out, quiet=quiet))
        else:
            screen = stack.enter_context(TerminalView(quiet=quiet))
        seen = View(screen, endpoint, out, also)
        if endpoint is not None:
            seen.say(f"Metrics: {endpoint.url}")
        yield seen
