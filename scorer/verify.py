"""Proof of completeness: every input row exactly once, in order, intact, with a score or an error, and books that fit.

Reads every byte of the scores; changes nothing. Each finding is a sentence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scorer import ledger
from scorer.errors import ROW_ERRORS, InputError, SpecError
from scorer.files import Files, Stat
from scorer.schema import Shard, result_schema
from scorer.source import look
from scorer.store import segments as seg
from scorer.store.layout import Layout, shown
from scorer.store.manifest import Manifest, load


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `scorer verify` found: nothing where every row is there exactly once and intact."""

    rows: int
    shards: int
    findings: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return not self.findings


def verify(files: Files, out: str) -> Verdict:
    """Looks at every file of an output folder. Raises SpecError where it holds no run, OutputError for run.json."""
    layout = Layout(out)
    manifest = load(files, layout)
    if manifest is None:
        raise SpecError([f"{out} holds no run: there is no run.json in it. Give the output.path of a run."])
    return Verdict(manifest.rows, len(manifest.shards), tuple(_Look(files, layout, manifest).findings()))


class _Look:
    def __init__(self, files: Files, layout: Layout, manifest: Manifest) -> None:
        self._files = files
        self._layout = layout
        self._manifest = manifest
        self._counts = seg.Counts()
        self._kept = {*manifest.spec.get("input", {}).get("keep", ())}

    def findings(self) -> Iterator[str]:
        stats = {stat.path: stat for stat in self._files.find([shard.path for shard in self._manifest.shards])}
        sealed = {stat.path for stat in self._files.listing(self._layout.scores)}
        for shard in self._manifest.shards:
            stat = stats.get(shard.path)
            if stat is None:
                yield f"{shard.path}: the input shard is gone"
            elif (stat.size, stat.version) != (shard.size, shard.version) and not self._same(shard, stat):
                yield f"{shard.path}: the input shard changed since it was scored"
            path = self._layout.sealed(shard.stem)
            if path in sealed:
                sealed.remove(path)
                yield from self._sealed(shard, path)
            else:
                yield from self._open(shard)
        for path in sorted(sealed):
            yield f"{path}: belongs to no shard of this run"
        known = {shard.stem for shard in self._manifest.shards}
        for stem in self._files.folders(self._layout.segments):
            if stem not in known:
                yield f"{self._layout.segments}/{stem}: belongs to no shard of this run"
            for path in self._layout.foreign(self._files, stem):
                yield f"{path}: is no segment"
        if self._manifest.open_revision is not None:
            revision = self._manifest.open_revision
            ends = "`scorer reread` ends" if revision.kind == "reread" else "`scorer retry` or `scorer run` ends"
            yield f"generation {revision.generation} is not finished: {ends} it"
        yield from self._books()

    def _same(self, shard: Shard, stat: Stat) -> bool:
        try:
            return stat.size == shard.size and look(self._files, stat)[1] == shard.footer
        except InputError:
            return False

    def _sealed(self, shard: Shard, path: str) -> Iterator[str]:
        """One sealed file: rows 0 to n-1 once each and in order, and what its metadata claims."""
        upto, counts = 0, seg.Counts()
        try:
            with seg.broken(path):
                about, claimed = seg.read_about(self._files, path)
                if about.get("fingerprint") != self._manifest.fingerprint:
                    yield f"{path}: holds the scores of another run ({about.get('fingerprint')})"
                    return
                for batch in self._batches(path):
                    rows = batch.column("row").to_numpy()
                    if not np.array_equal(rows, np.arange(upto, upto + len(rows))):
                        yield f"{path}: after row {upto - 1} the rows are not in input order, or not each once"
                        return
                    upto += len(rows)
                    counts.add(seg.Counts.of(batch))
                    yield from self._rows(shard, path, batch)
        except seg.Broken as error:
            yield f"{path}: is damaged: {str(error).split(': ', 1)[-1].splitlines()[0]}"
            return
        if upto != shard.rows:
            yield f"{path}: has {upto} rows, the shard has {shard.rows}"
        if counts != claimed:
            yield f"{path}: its metadata claims {claimed}, its rows say {counts}"
        self._counts.add(counts)

    def _open(self, shard: Shard) -> Iterator[str]:
        """The segments of a shard that is not sealed: intact, and how many rows they lack."""
        done = np.zeros(shard.rows, dtype=bool)
        times: dict[int, np.ndarray] = {}
        for segment in shown(self._layout.segments_of(self._files, shard.stem))[0]:
            path = self._layout.segment(segment)
            seen = times.setdefault(segment.generation, np.zeros(shard.rows, dtype=np.int32))
            try:
                with seg.broken(path):
                    for batch in self._batches(path):
                        rows = batch.column("row").to_numpy()
                        if len(rows) and (rows.min() < segment.first or rows.max() > segment.last):
                            yield f"{path}: holds rows outside of what its name says"
                            break
                        done[rows] = True
                        np.add.at(seen, rows, 1)
                        self._counts.add(seg.Counts.of(batch))
                        yield from self._rows(shard, path, batch)
            except (seg.Broken, IndexError) as error:
                yield f"{path}: is damaged: {str(error).splitlines()[0]}"
        for generation, seen in times.items():
            if twice := int((seen > 1).sum()):
                yield f"{shard.path}: {twice} rows are in more than one segment of generation {generation}"
        if missing := int((~done).sum()):
            yield f"{shard.path}: {missing} of {shard.rows} rows have no result yet"
        else:
            yield f"{shard.path}: every row has a result, and the shard is not sealed yet: `scorer run` seals it"

    def _rows(self, shard: Shard, path: str, batch: pa.RecordBatch) -> Iterator[str]:
        """What must hold in each row of a result."""
        expected = [name for name in result_schema().names if name not in batch.schema.names]
        if expected:
            yield f"{path}: lacks the columns {', '.join(expected)}"
            return
        types = [(f.name, f.type, batch.schema.field(f.name).type) for f in result_schema() if f.name not in self._kept]
        if wrong := [f"{name} is {found}, not {right}" for name, right, found in types if found != right]:
            yield f"{path}: of the wrong type: {', '.join(wrong)}"
            return
        score, error = batch.column("score"), batch.column("error")
        first = batch.column("row")[0].as_py() if batch.num_rows else 0
        if pc.any(pc.equal(pc.is_valid(score), pc.is_valid(error))).as_py():
            yield f"{path}: from row {first} on, some row has a score and an error, or neither"
        if not all(math.isfinite(value) for value in score.drop_null().to_pylist()):
            yield f"{path}: from row {first} on, some score is not a finite number"
        if unknown := {name for name in pc.unique(error).to_pylist() if name is not None and name not in ROW_ERRORS}:
            yield f"{path}: unknown error names {', '.join(sorted(unknown))}"
        if pc.unique(batch.column("shard")).to_pylist() not in ([], [shard.path]):
            yield f"{path}: holds rows of another shard"
        if pc.unique(batch.column("judge")).to_pylist() not in ([], [self._manifest.fingerprint]):
            yield f"{path}: holds scores of another judge"

    def _books(self) -> Iterator[str]:
        """The rows cannot have used more than the ledger paid for."""
        if torn := ledger.damaged(self._files, self._layout.ledger):
            yield f"{torn}: a line of the ledger is damaged; what it said is counted nowhere"
        totals = ledger.totals(self._files, self._layout.ledger)
        told = self._counts.prompt_tokens + self._counts.completion_tokens
        if told > totals.tokens:
            yield (f"{self._layout.ledger}: the books hold {totals.tokens} tokens and the rows {told}: a part is gone")

    def _batches(self, path: str) -> Iterator[pa.RecordBatch]:
        with (
            self._files.open(path) as file,
            pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True) as parquet,
        ):
            yield from parquet.iter_batches(batch_size=seg.WINDOW, use_threads=False)
