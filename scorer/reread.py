"""The judge once more over the replies that a run stored, with another reading rule. Asks nothing, costs nothing.

Every row that has a result gets one of the next generation: what was read is new, what it took stays as it was. A shard
is replaced by one rename and tells its generation, so the same command ends what a crash cut short.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scorer.build import Plan, check, make_provider
from scorer.errors import ROW_ERRORS, NoReply, OutputError, RowError, ScorerError, SetupError, SpecError, Unreadable
from scorer.files import Files
from scorer.job import lock, same_rows, within_share
from scorer.runfile import set_values
from scorer.schema import Completion, Judge, Provider, Reply, Request, Result, Row, Score, Shard, Work
from scorer.source import Columns, Reader
from scorer.status import Status, status
from scorer.store import segments as seg
from scorer.store.layout import Layout, Segment, shown
from scorer.store.manifest import Manifest, Revision, check_shards, load, save

ASKED = frozenset(
    {"kind", "prompt", "rubric", "system", "examples", "reference", "response", "versus_reference"}
    | {"a", "b", "baseline", "questions", "models"}
)
"""Keys of [judge] that say what was asked. The stored replies answer that and nothing else."""

READ = ("shard", "row", "score", "reason", "error", "error_detail", "judge", "method", "samples", "finished_at")
"""Result columns that come from reading a reply, beside the judge's own and `generation`."""


def reread(files: Files, out: str, sets: Sequence[str] = (), *, wall_s: Callable[[], float] = time.time) -> Status:
    """Reads every stored reply of an output folder again and tells how it stands.

    `sets` are `judge.key=value` that change how replies are read; the run is from then on the one with these options,
    and its fingerprint theirs. Rows without a result stay without one. Cancelling leaves whole shards of either reading.

    Raises SpecError for other keys and where replies were not kept (or not whole, and the reading needs log-
    probabilities), OutputError for a folder that is in use, changed or not finished, TooManyFailed as a run does.
    """
    layout = Layout(out)
    _manifest(files, layout)
    held = lock(files, layout)
    try:
        manifest = _manifest(files, layout)
        plan = _planned(manifest, out, sets)
        check_shards(manifest.shards, files.find(plan.spec.input.shards), same_rows(files))
        _Reread(files, layout, plan, wall_s).run(manifest)
    finally:
        held.release()
    return within_share(status(files, layout.out), plan)


def _manifest(files: Files, layout: Layout) -> Manifest:
    manifest = load(files, layout)
    if manifest is None:
        raise SpecError([f"{layout.out} holds no run: there is no run.json in it. Give the output.path of a run."])
    return manifest


def _planned(manifest: Manifest, out: str, sets: Sequence[str]) -> Plan:
    """The run with another reading. Raises SpecError where that is no matter of reading."""
    tree = {**deepcopy(dict(manifest.spec)), "output": {**manifest.spec.get("output", {}), "path": out}}
    plan = check(set_values(tree, sets))
    problems = [
        f"--set {item}: reread changes how replies are read, so it takes keys of [judge] alone."
        for item in sets
        if not item.startswith("judge.")
    ]
    before, now = manifest.covered["judge"], plan.covers["judge"]
    problems += [
        f"--set judge.{key}: this says what is asked, and the stored replies answer what was asked then. Score anew "
        "into another output.path."
        for key in sorted(ASKED)
        if before.get(key) != now.get(key)
    ]
    if problems:
        raise SpecError(problems)
    return plan


class _Reread:
    def __init__(self, files: Files, layout: Layout, plan: Plan, wall_s: Callable[[], float]) -> None:
        self._files = files
        self._layout = layout
        self._plan = plan
        self._wall_s = wall_s
        self._providers: dict[str, Provider | None] = {}
        columns = Columns(read=plan.columns.read, judged=(), kept=())
        self._reader = Reader(files, columns, count=lambda texts: [0] * len(texts), constant_tokens=0)

    def run(self, manifest: Manifest) -> None:
        for folder in (self._layout.out, self._layout.scores):
            self._files.sweep(folder)
        revision = manifest.open_revision
        if revision is not None and revision.kind != "reread":
            raise OutputError(
                f"{self._layout.out}: generation {revision.generation} is not finished. End it first: `scorer retry "
                f"{self._layout.out}`."
            )
        stocks = [stock for shard in manifest.shards if (stock := self._stock(shard)).paths]
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
                self._write(stock, revision.generation)
        for stock in stocks:
            for segment in stock.segments:
                if segment.generation < revision.generation:
                    self._files.delete(self._layout.segment(segment))
        save(self._files, self._layout, manifest.finished(revision.generation))

    # --- what is there ------------------------------------------------------------------------------------------------

    def _stock(self, shard: Shard) -> _Stock:
        segments = shown(self._layout.segments_of(self._files, shard.stem))[0]
        sealed = self._layout.sealed(shard.stem)
        try:
            about, _ = seg.read_about(self._files, sealed)
        except FileNotFoundError:
            newest = max((segment.generation for segment in segments), default=0)
            paths = [(self._layout.segment(s), s.first, s.last) for s in segments]
            return _Stock(shard, False, paths, newest, segments)
        except seg.DAMAGE as error:
            raise self._damaged(sealed) from error
        return _Stock(shard, True, [(sealed, 0, shard.rows - 1)], about["generation"])

    def _check_kept(self, stocks: Sequence[_Stock]) -> None:
        """Raises SpecError where a row was answered and its reply is not there."""
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
                    "false, and there is nothing to read again. Score anew into another output.path with keep_raw = "
                    "true."
                ]
            )

    def _damaged(self, path: str) -> OutputError:
        return OutputError(f"{path} is damaged. `scorer verify {self._layout.out}` tells what else is.")

    # --- a shard ------------------------------------------------------------------------------------------------------

    def _try(self, stocks: Sequence[_Stock], generation: int) -> None:
        """Replays some rows and keeps nothing: what cannot work is told before anything is changed."""
        for stock in stocks:
            with closing(self._tables(stock, generation, self._schema(stock))) as tables:
                if next(tables, None) is not None:
                    return

    def _write(self, stock: _Stock, generation: int) -> None:
        shard = stock.shard
        path = self._layout.sealed(shard.stem)
        if not stock.sealed:
            rows = np.flatnonzero(self._done(stock))
            path = self._layout.segment(Segment(shard.stem, generation, 0, int(rows[0]), int(rows[-1]), 0, 0))
        schema = self._schema(stock)
        about = seg.about(shard, self._plan.fingerprint, generation)
        with self._files.create(path) as file:
            seg.write(file, self._tables(stock, generation, schema), schema, about)

    def _schema(self, stock: _Stock) -> pa.Schema:
        """The result schema with the judge's columns as they are now."""
        with self._files.open(stock.paths[0][0]) as file:
            fields = list(pq.read_schema(file).remove_metadata())
        names = [f.name for f in fields]
        return pa.schema(
            [*fields[: names.index("score") + 1], *self._plan.judge.fields, *fields[names.index("reason") :]]
        )

    def _done(self, stock: _Stock) -> np.ndarray[Any, np.dtype[np.bool_]]:
        done = np.full(stock.shard.rows, stock.sealed)
        for path, _, _ in () if stock.sealed else stock.paths:
            done[seg.read_columns(self._files, path, ["row"]).column("row").to_numpy()] = True
        return done

    def _tables(self, stock: _Stock, generation: int, schema: pa.Schema) -> Iterator[pa.Table]:
        """The rows of a shard read anew, window by window."""
        with self._files.open(stock.paths[0][0]) as file:
            stored_schema = pq.read_schema(file).remove_metadata()
        rows = chain.from_iterable(self._reader.read(Work(stock.shard, self._done(stock), generation)))
        anew = {*READ, "generation", *(f.name for f in self._plan.judge.fields)}
        reading = pa.schema([f for f in schema if f.name in anew])
        try:
            for _, _, stored in seg.merge(self._files, stock.paths, stored_schema):
                results = [
                    self._result(row, told) for row, told in zip(islice(rows, stored.num_rows), _told(stored), strict=True)
                ]
                fresh = seg.to_table(results, reading, self._plan.fingerprint)
                columns = [(fresh if name in anew else stored).column(name) for name in schema.names]
                yield pa.Table.from_arrays(columns, schema=schema)
        except seg.Broken as error:
            raise self._damaged(error.path) from error

    # --- a row --------------------------------------------------------------------------------------------------------

    def _result(self, row: Row, told: Mapping[str, Any]) -> Result:
        answers = _Answers(told, self._provider)
        found = replay(self._plan.judge, row, answers)
        score, error = (None, found) if isinstance(found, RowError) else (found, None)
        # The rest is not read from here: what the row took stays in the columns that hold it.
        return Result(row, score, error, None, None, None, None, None, 0, 0.0, 0.0, int(self._wall_s() * 1e6))

    def _provider(self, alias: str) -> Provider | None:
        """Who reads the whole replies of a model; None where there are only texts."""
        if alias not in self._providers:
            model = next((m for m in self._plan.spec.all_models if m.alias == alias), None)
            asks = model is not None and model.provider != "recorded"
            # Nothing is sent, so neither the address nor what the query may refer to is needed.
            self._providers[alias] = (
                make_provider(model.model_copy(update={"query": {}}), "http://stored.invalid/v1", {})
                if model is not None and asks
                else None
            )
        return self._providers[alias]


@dataclass(frozen=True, slots=True)
class _Stock:
    """The results of a shard: its files with the rows each may hold, and the generation of the newest."""

    shard: Shard
    sealed: bool
    paths: list[tuple[str, int, int]]
    generation: int
    segments: list[Segment] = field(default_factory=list)


def _told(stored: pa.Table) -> list[dict[str, Any]]:
    return stored.select(["raw", "error", "error_detail", "finish_reason"]).to_pylist()  # type: ignore[no-any-return]


def replay(judge: Judge, row: Row, answers: _Answers) -> Score | RowError:
    """What the judge makes of the answers, as `engine.score_row` would have it. Raises SpecError where they lack."""
    try:
        conversation = judge(row)
        requests = next(conversation)
        while True:
            requests = conversation.send([answers.next(request) for request in requests])
    except StopIteration as done:
        score: Score = done.value
        if math.isfinite(score.value):
            return score
        return Unreadable(f"the judge made the score {score.value}, which is no finite number")
    except RowError as error:
        return error
    except SetupError as error:
        raise SpecError(
            [f'The stored replies do not suffice for this reading. {error} (output.keep_raw = "full" keeps them whole.)']
        ) from error


class _Answers:
    """The stored replies of a row: the n-th request gets the n-th of them."""

    def __init__(self, told: Mapping[str, Any], provider: Callable[[str], Provider | None]) -> None:
        self._raw: list[str | None] = told["raw"] or []
        self._error, self._detail = told["error"], told["error_detail"]
        # It is that of the last reply that came.
        self._finish_reason = told["finish_reason"] or "stop"
        self._last = max((n for n, text in enumerate(self._raw) if text is not None), default=-1)
        self._provider = provider
        self._asked = 0

    def next(self, request: Request) -> Completion | RowError:
        if request.continuation is not None:
            raise SpecError(["judge.kind: it measures log-probabilities and reads no verdict; there is no other way."])
        n, self._asked = self._asked, self._asked + 1
        text = self._raw[n] if n < len(self._raw) else None
        if text is None:
            return self._missing(n)
        provider = self._provider(request.model) if text.startswith("{") else None
        whole = None if provider is None else _whole(provider, request, text)
        return whole or Completion(text, self._finish_reason if n == self._last else "stop")

    def _missing(self, n: int) -> RowError:
        """Why no reply came: as the row says, unless its error is about replies that did."""
        if self._last < 0 and self._error in ROW_ERRORS:
            return ROW_ERRORS[self._error](self._detail or "")
        return NoReply(f"Reply {n + 1} is not there; the row stored {len(self._raw)}.")


def _whole(provider: Provider, request: Request, text: str) -> Completion | None:
    """The completion in a whole reply (output.keep_raw = "full"); None where the text is no such reply."""
    conversation = provider.converse(request)
    with suppress(ScorerError), closing(conversation):
        try:
            next(conversation)
            conversation.send(Reply(200, {}, text.encode()))
        except StopIteration as done:
            completion: Completion = done.value
            return completion
    return None
