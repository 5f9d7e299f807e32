"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from scorer.cli.progress_views import View, view
from scorer.errors import SpecError

if TYPE_CHECKING:
    from scorer.output.progress import Snapshot
    from scorer.workers.coordinator import Coordinator
    from scorer.workers.supervisor import Launcher

Sets = Annotated[
    tuple[str, ...],
    Parameter("--set", help="Override a key of the run file; may be repeated.", negative="", allow_repeating=True),
]
Json = Annotated[bool, Parameter("--json", help="One JSON object on stdout, nothing else there.", negative="")]
RunFile = Annotated[str, Parameter(help="The run file; - reads it from stdin.")]
Out = Annotated[str, Parameter(help="The output folder of a run (its output.path), or its run file.")]
_SHARDS = Parameter(negative="", allow_repeating=True, consume_multiple=True)
Forget = Annotated[
    tuple[str, ...],
    _SHARDS,
    Parameter(help="The path of a shard to leave out of the run. Its cost stays in the ledger."),
]
Remember = Annotated[tuple[str, ...], _SHARDS, Parameter(help="A forgotten shard to take back, with its rows.")]
SampleOption = Annotated[
    str | None,
    Parameter("--sample", help='Only a random sample of the rows: 100, or "1%". A run without it scores the rest.'),
]

NoWait = Annotated[
    bool,
    Parameter(
        negative="",
        help="Do not wait for provider batches: submit, collect what is ready, exit with 9 while some are out.",
    ),
]
Collect = Annotated[
    bool, Parameter(negative="", help="Only collect provider batches that are ready; exit with 9 while some are out.")
]


AcceptDrift = Annotated[
    bool,
    Parameter(
        negative="", help="Go on with a judge that has drifted (exit code 8), and learn a new band. It is recorded."
    ),
]


def waiting(*, no_wait: bool, collect: bool) -> Literal["wait", "no-wait", "collect"]:
    """Whether a start waits for its batches, from its two options."""
    return "collect" if collect else "no-wait" if no_wait else "wait"


def _at_least_one(type_: Any, value: int) -> None:
    """A validator of cyclopts; its own are not imported, since that takes 1 % of each start. Raises ValueError."""
    if value < 1:
        raise ValueError("Must be >= 1.")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """The options of commands that score: how many workers, and where they run."""

    workers: Annotated[
        int,
        Parameter(
            "--workers",
            help="Processes that share the work and the limits.",
            validator=_at_least_one,
            show_default=True,
        ),
    ] = 1
    engine: Annotated[
        Literal["local", "ray"],
        Parameter(help="Where the workers run: this machine, or a Ray cluster.", show_default=True),
    ] = "local"
    address: Annotated[
        str | None, Parameter(help="Address of the Ray cluster, HOST:PORT or auto; without it Ray is started here.")
    ] = None

    def here(self, why: str) -> WorkerOptions:
        """The same, on this machine alone. Raises SpecError where a cluster is asked for."""
        if self.address not in (None, "local"):
            raise SpecError([f"--address {self.address} is not allowed here: {why}. Leave it out."])
        return replace(self, address="local" if self.engine == "ray" else None)

    @contextmanager
    def launcher(self, out: str, say: Callable[[str], None]) -> Iterator[Callable[[Coordinator], Launcher] | None]:
        """A context with what starts the workers of a run into `out`; None for the job's own way. Raises SpecError."""
        if self.engine == "local":
            if self.address is not None:
                raise SpecError([f"--address {self.address} is for --engine ray alone. Add that, or leave it out."])
            yield None
            return
        from scorer.workers.ray import joined, ray_launcher

        with joined(self.address, workers=self.workers, say=say):
            yield ray_launcher(out, say)


ONE_PROCESS = WorkerOptions()
"""One worker: this process."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class ViewOptions:
    """The options of commands that score: what is shown while they run."""

    quiet: Annotated[bool, Parameter(help="No progress on stderr.", negative="")] = False
    log_format: Annotated[
        Literal["text", "json"],
        Parameter(help="What stderr gets: lines for people, or a JSON object a line.", show_default=True),
    ] = "text"
    metrics_port: Annotated[
        int | None, Parameter(help="Serve Prometheus metrics there while it runs; 0 takes a free port.")
    ] = None
    metrics_host: Annotated[str, Parameter(help="The address they are served at.", show_default=True)] = "127.0.0.1"

    def view(
        self, *, out: str, fingerprint: str, also: Callable[[Snapshot], None] | None = None
    ) -> AbstractContextManager[View]:
        """The view of a run that these options ask for. Raises SpecError where the metrics' port cannot be had."""
        return view(
            out=out, fingerprint=fingerprint, also=also, quiet=self.quiet, log_format=self.log_format,
            metrics_port=self.metrics_port, metrics_host=self.metrics_host,
        )  # fmt: skip


DEFAULT_VIEW = ViewOptions()
"""What is shown where nothing else is asked for."""


def metric_options(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The options of metrics by their names, from texts NAME.KEY=VALUE. Raises SpecError with every mistake."""
    from scorer.config.loader import assignments

    found: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for item, path, value in assignments(given):
        name, _, key = path.strip().rpartition(".")  # the name may be an import path
        if not name or not key:
            problems.append(f"--option {item!r} is not NAME.KEY=VALUE, for example --option rougeL.stemmer=true")
            continue
        found.setdefault(name, {})[key] = value
    if problems:
        raise SpecError(problems)
    return found
