"""The status of a run from its files alone: running or ended, from any machine that sees the folder."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import orjson

from scorer.errors import StorageError, TooManyFailed, advice_on
from scorer.files.files import Files, read
from scorer.html_tables import facts_html
from scorer.output import ledger
from scorer.output import segments as seg
from scorer.output.batches_out import batches_out
from scorer.output.canary_files import load_state
from scorer.output.counts import SealedCounts, count_results
from scorer.output.layout import Layout
from scorer.output.limit_history import Sample
from scorer.output.manifest import Manifest, load, no_run
from scorer.output.row_counts import Counts
from scorer.output.status_facts import status_facts, status_title


@dataclass(frozen=True, slots=True)
class Status:
    """What `scorer status` shows. Money and tokens are the ledger's.

    `maybe_billed_usd` and `maybe_billed_tokens` were possibly billed, at the worst case; no other field counts them.

    `rows_per_s` is that of the last minute in which the run worked. `held_back_by` is the share of the last minute in
    which each limit slowed the run, empty while it does not run. `unreadable` files of the output could not be read;
    their rows count as pending.
    `reasoning_tokens` are those of `completion_tokens` that finished rows' replies call reasoning.
    `copied` finished rows took over another row's answer. `unmeasured` counts finished rows without a metric, by its
    name. `why` is the last failure's message while the judge does not answer, or did not when the run stopped; null
    while it answers, and once all rows are finished.
    `answer` is that of `[stop]`, as far as it is known; it holds at any time. null where no question was asked.
    `selection` says which rows are selected: `where`, `sample`, their number (`rows`) and that of all rows (`of`); null
    where all are. The other counts are of selected rows. `suspect` is the span of time (`since`, `until`, ISO 8601) in
    which rows were finished while the judge had drifted; null where there is none, or they were scored again.
    `forgotten` counts shards that left the run. The scores of a
    `rehearsal` are meaningless. `batches` are the provider batches that are out: `out`, their `rows`, and `oldest_s`,
    the seconds since the oldest was sent; null where none is. `tiers` counts finished rows by the service tier that
    their replies name; rows whose replies name none are in none. Not `priced`, `cost_usd` lacks what a model costs
    whose price is unknown.
    """

    state: str
    rows: int
    scored: int
    failed: int
    pending: int
    errors: dict[str, int]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    requests: int
    cost_usd: float
    maybe_billed_usd: float
    rows_per_s: float
    held_back_by: dict[str, float]
    shards: int
    sealed: int
    unreadable: list[str] = field(default_factory=list)
    copied: int = 0
    reasoning_tokens: int = 0
    unmeasured: dict[str, int] = field(default_factory=dict)
    why: str | None = None
    forgotten: int = 0
    rehearsal: bool = False
    selection: dict[str, Any] | None = None
    suspect: dict[str, str] | None = None
    batches: dict[str, Any] | None = None
    answer: dict[str, Any] | None = None
    tiers: dict[str, int] = field(default_factory=dict)
    maybe_billed_tokens: int = 0
    priced: bool = True

    def _repr_html_(self) -> str:
        return facts_html(status_title("", self), status_facts(self))


def status(files: Files, out: str, counted: SealedCounts | None = None) -> Status:
    """The status of an output folder. The files of shards that are `counted` already are not read again.

    Raises SpecError where the folder holds no run, OutputError where run.json is damaged.
    """
    layout = Layout(out)
    manifest = load(files, layout)
    if manifest is None:
        raise no_run(files, layout)
    return _of(files, layout, manifest, counted or SealedCounts())


def within_share(found: Status, most: float, advice: str | None = None) -> Status:
    """The same status. Raises TooManyFailed where more than `most` of all rows failed; `advice` says what helps."""
    if found.rows and found.failed / found.rows > most:
        names = ", ".join(f"{name} {count}" for name, count in found.errors.items())
        raise TooManyFailed(
            f"{found.failed} of {found.rows} rows failed ({names}), more than limits.max_failed_share = {most:g} "
            "allows. Every row is stored; `scorer show OUT --failed` says why each failed, as do the columns error and "
            "error_detail of the scores. "
            f"{advice or advice_on(found.errors)} Or raise the share."
        )
    return found


def _of(files: Files, layout: Layout, manifest: Manifest, counted: SealedCounts) -> Status:
    results = layout.result_files(files)
    counts, unreadable = Counts(), []
    if not manifest.selection.counts_all or not counted.hold_for(results):
        counted = SealedCounts()
    counts.add(counted.counts)
    for shard in manifest.shards:
        if shard.stem in counted.stems:
            continue
        try:
            with seg.broken(layout.selection):
                within = manifest.selection.counted(files, layout, shard)
            counts.add(count_results(files, results, shard, within))
        except seg.Broken as error:
            unreadable.append(error.path)
    running = files.locked(layout.lock)
    last = last_progress(files, layout)
    live = last if running else {}
    spent = ledger.totals(files, layout.ledger)
    pending = manifest.rows - counts.rows
    answer = answer_of(files, layout) if manifest.questions else None
    canaries = load_state(files, layout)
    return Status(
        state="running" if running else _state(last, pending, manifest, answer, drifted=canaries.standing is not None),
        rows=manifest.rows,
        scored=counts.scored,
        failed=counts.failed,
        pending=pending,
        errors=dict(sorted(counts.errors.items())),
        prompt_tokens=spent.prompt_tokens,
        completion_tokens=spent.completion_tokens,
        cached_tokens=spent.cached_tokens,
        requests=spent.requests + spent.maybe_requests,
        cost_usd=spent.pico / 10**12,
        maybe_billed_usd=live.get("maybe_billed_usd", spent.maybe_pico / 10**12),
        rows_per_s=last.get("rows_per_s", 0.0),
        held_back_by=live.get("held_back_by", {}),
        shards=len(manifest.shards),
        sealed=sum(shard.stem in results.sealed for shard in manifest.shards),
        unreadable=unreadable,
        copied=counts.copied,
        reasoning_tokens=counts.reasoning_tokens,
        unmeasured=dict(sorted(counts.unmeasured.items())),
        why=last.get("why") if running or pending else None,
        forgotten=len(manifest.forgotten),
        rehearsal=manifest.rehearsal,
        selection=_selected(manifest),
        suspect=_span(canaries.suspect),
        batches=_batches(files, layout, unreadable),
        answer=answer,
        tiers=dict(sorted(counts.tiers.items())),
        maybe_billed_tokens=live.get("maybe_billed_tokens", spent.maybe_tokens),
        priced=bool(last.get("priced", True)),
    )


def _batches(files: Files, layout: Layout, unreadable: list[str]) -> dict[str, Any] | None:
    try:
        found = batches_out(files, layout)
    except (StorageError, OSError):
        unreadable.append(layout.batches)
        return None
    return found.json(time.time()) if found.out else None


def _span(span: tuple[int, int] | None) -> dict[str, str] | None:
    return None if span is None else {"since": _iso(span[0]), "until": _iso(span[1])}


def _iso(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).isoformat(timespec="milliseconds")


def _selected(manifest: Manifest) -> dict[str, Any] | None:
    selection = manifest.selection
    if selection.where is None and selection.sample is None and selection.stop is None:
        return None
    rows = sum(shard.rows for shard in manifest.shards)
    stop = {} if selection.stop is None else {"stop": selection.stop}
    return {"where": selection.where, "sample": selection.sample, **stop, "rows": manifest.rows, "of": rows}


def _state(
    last: dict[str, Any], pending: int, manifest: Manifest, answer: dict[str, Any] | None, *, drifted: bool
) -> str:
    """`complete`, `stopped` (by a budget, a set-up, storage or drift) or `interrupted` (by a signal or a kill).

    `answered` or `undecided` where the last start had a question.
    """
    if not pending and manifest.open_revision is None:
        if drifted:
            return "stopped"
        if manifest.spec.get("stop") and answer is not None and answer.get("state") in ("answered", "undecided"):
            return str(answer["state"])
        return "complete"
    return "stopped" if last.get("state") == "stopped" else "interrupted"


def history_of(files: Files, layout: Layout) -> list[Sample]:
    """What held the run back over its time, as progress.json has it; empty where there is none, or it is damaged."""
    try:
        return msgspec.convert(last_progress(files, layout).get("history", []), list[Sample])
    except msgspec.ValidationError:
        return []


def last_progress(files: Files, layout: Layout) -> dict[str, Any]:
    """The content of progress.json, by the latest start. Empty where it is gone or damaged."""
    return _json(files, layout.progress) or {}


def answer_of(files: Files, layout: Layout) -> dict[str, Any] | None:
    """The content of answer.json. None where it is gone or damaged."""
    return _json(files, layout.answer)


def _json(files: Files, path: str) -> dict[str, Any] | None:
    """The object in a file. None where it is gone or damaged."""
    try:
        found = orjson.loads(read(files, path))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
