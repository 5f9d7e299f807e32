"""Reads stored replies again with another reading rule or scale. Sends no request, costs nothing.

Each row that has a result gets a new one of the next generation: scores are read again, tokens and costs stay. Each
shard's file is replaced by one rename and records its generation, so the same command resumes after a crash.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import field, replace
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scorer.build.plan import RunPlan, schema_of
from scorer.build.reply_providers import ReplyProviders
from scorer.config.loader import Sets
from scorer.engine.replay import Answers, replay
from scorer.errors import Damaged, InputError, OutputError, RowError, ShardChanged, SpecError
from scorer.files.files import Files
from scorer.files.locking import take
from scorer.frozen import dataclass
from scorer.inputs.source import Columns, Reader
from scorer.job.recovery import repair
from scorer.job.reread_plan import plan_of_reread
from scorer.job.unfinished_retry import end_now, replaced_by
from scorer.output import segments as seg
from scorer.output.chunk_files import ChunkFiles
from scorer.output.layout import Layout, Segment, shown
from scorer.output.located import look_for
from scorer.output.manifest import FORMAT, Manifest, Revision, load, no_run, save
from scorer.output.merge import merge
from scorer.output.status import Status, status, within_share
from scorer.output.tables import to_table
from scorer.types import Mask, Result, Row, Shard, Work

READ = frozenset(
    {"shard", "row", "score", "reason", "error", "error_detail", "judge", "method", "samples", "finished_at"}
    | {"generation"}
)
"""Result columns that are computed from replies, beside the judge's own columns."""

REPLY_COLUMNS = ("raw", "error", "error_detail", "finish_reason")
"""Result columns that a replay reads."""

_ORDER = ("row", "generation")
"""Result columns by which files are merged."""


def reread(
    files: Files,
    out: str,
    sets: Sets = (),
    *,
    wall_s: Callable[[], float] = time.time,
    say: Callable[[str], None] = lambda _: None,
) -> Status:
    """Reads every stored reply of an output folder again and returns the status.

    `sets` are `judge.key=value` that change how replies are read; from then on the run has these options and their
    fingerprint. Rows without a result stay without one. After an interruption the same call resumes. `say` gets a
    sentence about each damaged file that was set aside.

    Raises SpecError for other keys and where replies were not kept, or not as completely as the reading rule needs,
    OutputError for a folder that is in use or has changed, TooManyFailed as a run does. Replaces an unfinished retry.
    """
    layout = Layout(out)
    _manifest(files, layout)
    lock = take(files, layout.lock, f"process {os.getpid()} on {platform.node()}, which runs `scorer reread`")
    try:
        manifest = _manifest(files, layout)
        if ChunkFiles(files, layout.batches).any():
            raise OutputError(
                f"{layout.out} has provider batches that are out: their replies answer the judge as it is. Collect "
                "them first: `scorer run` with the run file, or `scorer run --collect`."
            )
        if manifest.kept is None:
            raise OutputError(
                f"{layout.out}: the last start ended before all results had the columns of input.keep. Finish it: "
                "`scorer run`."
            )
        plan = plan_of_reread(manifest, out, sets)
        places = _places(files, manifest, out)
        repair(files, layout, manifest, say)
        reading = _Reread(files, layout, plan, wall_s, places)
        if (unfinished := manifest.open_revision) is not None and unfinished.kind != "reread":
            reading.check_kept()
            there = replace(manifest, shards=tuple(places[one.path] for one in manifest.shards))
            end_now(plan_of_reread(manifest, out, ()), there, files, say)
            manifest = manifest.finished(unfinished.generation)
            say(replaced_by(out, unfinished, "this reread"))
        reading.run(manifest)
        if plan.spec.stop is not None:
            from scorer.job.stopping.running import renew

            there = replace(_manifest(files, layout), shards=tuple(places[one.path] for one in manifest.shards))
            renew(plan, files, layout, there)
    finally:
        lock.release()
    advice = (
        f"The replies are still there: `scorer reread {out} --set judge.KEY=VALUE` reads them by another rule, or the "
        "one before, and costs nothing."
    )
    return within_share(status(files, layout.out), plan.spec.limits.max_failed_share, advice)


def _places(files: Files, manifest: Manifest, out: str) -> dict[str, Shard]:
    """Each shard at its current path, by its recorded path. Raises OutputError for shards that are gone or changed."""
    found = [look_for(files, shard, manifest, out) for shard in manifest.shards]
    if lost := [str(ShardChanged(one.shard.path)) for one in found if not one.same]:
        raise OutputError("\n".join(lost))
    return {one.shard.path: one.shard for one in found}


def _manifest(files: Files, layout: Layout) -> Manifest:
    manifest = load(files, layout)
    if manifest is None:
        raise no_run(files, layout)
    return manifest


class _Reread:
    def __init__(
        self, files: Files, layout: Layout, plan: RunPlan, wall_s: Callable[[], float], places: dict[str, Shard]
    ) -> None:
        self._places = places
        self._files = files
        self._layout = layout
        self._whole = True
        self._edition = 0
        self._plan = plan
        self._wall_s = wall_s
        self._provider = ReplyProviders(plan.spec)
        columns = Columns(read=plan.columns.read, judged=(), kept=())
        self._reader = Reader(files, columns, count=lambda texts: [0] * len(texts), constant_tokens=0)

    def run(self, manifest: Manifest) -> None:
        manifest = replace(manifest, format=FORMAT)
        self._whole, self._edition = manifest.selection.whole, manifest.edition
        self._files.sweep(self._layout.out, ".json")
        self._files.sweep(self._layout.scores)
        revision = manifest.open_revision
        begun = None if revision is None else revision.generation
        stocks = self._stocks(begun)
        self._check_kept(stocks)
        if revision is None or manifest.fingerprint != self._plan.fingerprint:
            revision = Revision(1 + max((r.generation for r in manifest.revisions), default=0), "reread", None)
            self._try(stocks, revision.generation)
            manifest = replace(
                manifest,
                fingerprint=self._plan.fingerprint,
                covered=self._plan.covers,
                spec={**manifest.spec, "judge": dict(self._plan.covers["judge"])},
                revisions=(*(replace(r, open=False) for r in manifest.revisions), revision),
            )
            save(self._files, self._layout, manifest)
        for stock in stocks:
            if stock.generation < revision.generation:
                self._write(stock, revision.generation, manifest.id)
        save(self._files, self._layout, manifest.finished(revision.generation))

    def check_kept(self) -> None:
        """Raises SpecError where a row was answered and its reply was not kept. Changes nothing."""
        self._check_kept(self._stocks(None))

    # --- what is there ------------------------------------------------------------------------------------------------

    def _stocks(self, begun: int | None) -> list[_ShardResults]:
        return [stock for shard in self._places.values() if (stock := self._stock(shard, begun)).paths]

    def _stock(self, shard: Shard, begun: int | None) -> _ShardResults:
        """The results of a shard. Deletes segments that an interrupted reread of generation `begun` has replaced."""
        segments = shown(self._layout.segments_of(self._files, shard.stem))[0]
        sealed = self._layout.sealed(shard.stem)
        try:
            about, _ = seg.read_about(self._files, sealed)
        except FileNotFoundError:
            if any(segment.generation == begun for segment in segments):
                self._delete(segment for segment in segments if segment.generation != begun)
                segments = [segment for segment in segments if segment.generation == begun]
            newest = max((segment.generation for segment in segments), default=0)
            paths = [(self._layout.segment(s), s.first, s.last) for s in segments]
            return _ShardResults(shard, False, paths, newest, segments)
        except seg.DAMAGE as error:
            raise self._damaged(sealed) from error
        return _ShardResults(shard, True, [(sealed, 0, shard.rows - 1)], about["generation"])

    def _check_kept(self, stocks: Sequence[_ShardResults]) -> None:
        lost = 0
        for path in (path for stock in stocks for path, _, _ in stock.paths):
            try:
                with self._files.open(path) as file, pq.ParquetFile(file, pre_buffer=False) as parquet:
                    for batch in parquet.iter_batches(seg.WINDOW, columns=["raw", "attempts"], use_threads=False):
                        unkept = pc.and_(pc.is_null(batch.column("raw")), pc.greater(batch.column("attempts"), 0))
                        lost += pc.sum(unkept).as_py() or 0
            except seg.DAMAGE as error:
                raise self._damaged(path) from error
        if lost:
            raise SpecError(
                [
                    f"{self._layout.out} lacks the replies of {lost} rows: they were scored with output.keep_raw = "
                    "false, so there is nothing to read again. Score again into another output.path with keep_raw = "
                    "true."
                ]
            )

    def _damaged(self, path: str) -> OutputError:
        return OutputError(f"{path} is damaged. `scorer verify {self._layout.out}` lists all damaged files.")

    # --- a shard ------------------------------------------------------------------------------------------------------

    def _try(self, stocks: Sequence[_ShardResults], generation: int) -> None:
        """Replays some rows and discards the results, so that errors are raised before anything is changed."""
        for stock in stocks:
            with closing(self._tables(stock, generation)) as tables:
                if next(tables, None) is not None:
                    return

    def _write(self, stock: _ShardResults, generation: int, run: str) -> None:
        shard = stock.shard
        path = self._layout.sealed(shard.stem)
        if not stock.sealed:
            rows = np.flatnonzero(self._done(stock))
            path = self._layout.segment(Segment(shard.stem, generation, 0, int(rows[0]), int(rows[-1]), 0, 0))
        about = seg.about(shard, self._plan.fingerprint, generation, run, self._edition)
        with self._files.create(path) as file:
            seg.write(file, self._tables(stock, generation), schema_of(self._plan, self._files, shard), about)
        self._delete(stock.segments)

    def _delete(self, segments: Iterable[Segment]) -> None:
        for segment in segments:
            self._files.delete(self._layout.segment(segment))

    def _done(self, stock: _ShardResults) -> Mask:
        whole = stock.sealed and self._whole
        done: Mask = np.full(stock.shard.rows, whole)
        for path, _, _ in () if whole else stock.paths:
            done[seg.read_columns(self._files, path, ["row"]).column("row").to_numpy()] = True
        return done

    def _tables(self, stock: _ShardResults, generation: int) -> Generator[pa.Table]:
        """The rows of a shard with their replies read again, one window at a time."""
        schema = schema_of(self._plan, self._files, stock.shard)
        computed = {*READ, *(f.name for f in self._plan.judge.fields)}
        reading = pa.schema([f for f in schema if f.name in computed])
        try:
            stays = pa.schema(
                [f for f in schema if f.name in REPLY_COLUMNS or f.name not in computed or f.name in _ORDER]
            )
            rows = chain.from_iterable(self._reader.read(Work(stock.shard, self._done(stock), generation)))
            for _, _, stored in merge(self._files, stock.paths, stays, some=True):
                replies = zip(*(stored.column(name).to_pylist() for name in REPLY_COLUMNS), strict=True)
                pairs = zip(islice(rows, stored.num_rows), replies, strict=True)
                results = [self._result(row, reply) for row, reply in pairs]
                fresh = to_table(results, reading, self._plan.fingerprint)
                columns = [(fresh if name in computed else stored).column(name) for name in schema.names]
                yield pa.Table.from_arrays(columns, schema=schema)
        except seg.Broken as error:
            raise self._damaged(error.path) from error

    # --- a row --------------------------------------------------------------------------------------------------------

    def _result(self, row: Row, reply: Sequence[Any]) -> Result:
        if isinstance(row.problem, Damaged) and reply[REPLY_COLUMNS.index("error")] != Damaged.__name__:
            raise InputError(f"Row {row.number} has a reply: {row.problem.detail} Nothing was changed.")
        found = row.problem or replay(self._plan.judge, row, Answers(*reply, provider=self._provider))
        score, error = (None, found) if isinstance(found, RowError) else (found, None)
        # The other columns (tokens, costs) are copied from the stored result.
        return Result(row, score, error, None, None, None, None, None, 0, 0.0, 0.0, int(self._wall_s() * 1e6))


@dataclass(frozen=True, slots=True)
class _ShardResults:
    """The results of a shard: its files with the first and last row of each, and the newest generation."""

    shard: Shard
    sealed: bool
    paths: list[tuple[str, int, int]]
    generation: int
    segments: list[Segment] = field(default_factory=list)
