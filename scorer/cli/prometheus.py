"""Prometheus metrics of a run, served over HTTP while it runs. docs/how-to/schedulers.md has every name.

Knows snapshots only: a scrape gets the newest.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from prometheus_client import CollectorRegistry, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from scorer import __version__
from scorer.errors import SpecError
from scorer.escapes import printable_line
from scorer.output.progress import Snapshot

BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0)


class PrometheusExporter:
    """`http://HOST:PORT/metrics`; port 0 takes a free one, `url` says which. It ends with the block."""

    def __init__(self, host: str, port: int, *, out: str, fingerprint: str) -> None:
        registry = CollectorRegistry()
        self._answers = Histogram(
            "scorer_answer_seconds",
            "Seconds until a request was answered, its failed attempts included, waiting for limits not.",
            buckets=BUCKETS_S,
            registry=registry,
        )
        self._scraped = _Scraped({"out": printable_line(out), "fingerprint": fingerprint, "version": __version__})
        registry.register(self._scraped)
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except (OSError, OverflowError) as error:
            raise SpecError(
                [
                    f"--metrics-port {port} at {host} cannot be opened ({error}). Give another port (0 takes a free "
                    "one), or another --metrics-host."
                ]
            ) from error
        self.url = f"http://{host}:{self._server.server_port}/metrics"

    def __enter__(self) -> PrometheusExporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def show(self, snapshot: Snapshot) -> None:
        """The next scrape gets this snapshot."""
        self._scraped.last = snapshot

    def answered(self, seconds: float) -> None:
        """Adds the latency of one request."""
        self._answers.observe(seconds)


class _Scraped(Collector):
    def __init__(self, about: dict[str, str]) -> None:
        self.last: Snapshot | None = None
        self._about = about

    def collect(self) -> Iterator[Metric]:
        info = GaugeMetricFamily("scorer_run_info", "What the run is; always 1.", labels=[*self._about])
        info.add_metric([*self._about.values()], 1)
        yield info
        if self.last is not None:
            yield from _metrics(self.last)


def _metrics(s: Snapshot) -> Iterator[Metric]:
    failed = s.rows - s.scored
    yield _labelled(
        GaugeMetricFamily(
            "scorer_rows", "Rows by state; found are those finished before this start.", labels=["state"]
        ),
        {"found": s.rows_before, "scored": s.scored, "failed": failed, "pending": s.rows_total - s.finished},
    )
    yield _labelled(
        CounterMetricFamily("scorer_row_errors", "Rows that ended in an error since this start.", labels=["error"]),
        s.errors,
    )
    yield _labelled(
        CounterMetricFamily("scorer_tokens", "Tokens billed, in all starts of the run.", labels=["kind"]),
        {"prompt": s.prompt_tokens, "completion": s.completion_tokens},
    )
    billed = s.requests - s.maybe_billed_requests
    yield CounterMetricFamily("scorer_requests", "Requests billed, in all starts of the run.", value=billed)
    yield CounterMetricFamily("scorer_cost_usd", "Money spent, in all starts of the run.", value=s.cost_usd)
    yield GaugeMetricFamily("scorer_maybe_billed_usd", "Money that no reply confirmed.", value=s.maybe_billed_usd)
    yield GaugeMetricFamily(
        "scorer_maybe_billed_tokens", "Tokens that no reply confirmed.", value=s.maybe_billed_tokens
    )
    yield GaugeMetricFamily("scorer_requests_in_flight", "Requests under way.", value=s.in_flight)
    yield GaugeMetricFamily("scorer_rows_per_second", "Pace of the last minute.", value=s.rows_per_s)
    yield _labelled(
        GaugeMetricFamily("scorer_limit_used_ratio", "Share of a limit that is used.", labels=["limit"]), s.use
    )
    yield _labelled(
        GaugeMetricFamily(
            "scorer_limit_held_ratio", "Share of the last minute in which a limit held requests back.", labels=["limit"]
        ),
        s.held_back_by,
    )
    yield GaugeMetricFamily(
        "scorer_outage_seconds",
        "Seconds that the judge has not answered anybody; 0 while it does.",
        value=s.outage_s or 0,
    )
    yield GaugeMetricFamily("scorer_shards_to_publish", "Sealed shards not yet in the table.", value=s.to_publish)
    yield GaugeMetricFamily(
        "scorer_publish_failing", "1 while publishing fails.", value=0 if s.publish_problem is None else 1
    )
    batches = s.batches or {}
    yield GaugeMetricFamily("scorer_batches_out", "Provider batches that are out.", value=batches.get("out") or 0)
    yield GaugeMetricFamily("scorer_batch_rows_out", "Rows in provider batches.", value=batches.get("rows") or 0)
    yield GaugeMetricFamily(
        "scorer_batch_oldest_seconds",
        "Seconds since the oldest provider batch was sent; 0 without any.",
        value=batches.get("oldest_s") or 0,
    )
    yield GaugeMetricFamily("scorer_paused", "1 while a person has paused the run.", value=int(s.paused))
    yield GaugeMetricFamily("scorer_updated_timestamp_seconds", "When this was so.", value=s.updated_at)


def _labelled(family: GaugeMetricFamily | CounterMetricFamily, values: dict[str, int] | dict[str, float]) -> Metric:
    for label, value in values.items():
        family.add_metric([label], value)
    return family
