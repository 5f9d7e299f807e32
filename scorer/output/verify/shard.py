"""Verifies the result files of one shard: bytes, rows, order, and the id and kept columns of the input.

`verify` asks it of every shard, a start of those of which something is known to be damaged. Reads every byte; changes
nothing; holds a window of rows at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scorer.errors import ROW_ERRORS
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.output import checksums
from scorer.output import segments as seg
from scorer.output.layout import Layout, Segment, shown
from scorer.output.manifest import Manifest
from scorer.output.merge import merge
from scorer.output.row_counts import Counts
from scorer.output.schema import kept_names, lacking, modern, result_schema
from scorer.output.verify.kept_columns import Copied, kept_in, near
from scorer.types import Mask, Shard


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of the file `path`. Where `damaged`, its rows must be scored again or restored.

    `whole` are the rows of a damaged file, as they stand in it, whose bytes are provably what was written.
    """

    path: str
    what: str
    damaged: bool = False
    whole: tuple[checksums.Part, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(slots=True)
class Inspection:
    """The findings in one shard's files. `counts` are those of the rows that could be read.

    `unchecked` says what of the input could not be read, and so was not compared.
    """

    faults: list[Fault] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    unchecked: list[str] = field(default_factory=list)


class Inspector:
    """Checks the shards of one run."""

    def __init__(self, files: Files, layout: Layout, manifest: Manifest) -> None:
        self._files = files
        self._layout = layout
        self._fingerprint = manifest.fingerprint
        self._judges = {manifest.fingerprint, *manifest.judges}
        self._selection = manifest.selection
        revision = manifest.open_revision
        self._unread = revision.generation if revision is not None and revision.kind == "reread" else 0
        """Files of an earlier generation are not yet read again: they have the fingerprint from before the reread."""
        self._copies = bool(manifest.spec.get("judge", {}).get("dedupe"))
        self._right = result_schema(copies=self._copies)
        given = manifest.spec.get("input", {})
        self._id = {"id": given["id"]} if given.get("id") else {}
        self._kept = None if manifest.kept is None else given.get("keep", ())
        """None where `input.keep` is being changed: each file then has columns of its own."""

    def shard(self, shard: Shard, *, sealed: bool, same_input: bool) -> Inspection:
        """Checks one shard. The copied columns are compared where the input is still the same."""
        found = Inspection()
        try:
            with seg.broken(self._layout.selection):
                belongs = self._selection.belongs(self._files, self._layout, shard)
        except seg.Broken as error:
            what = f"does not say which rows of {shard.path} belong ({error}): `scorer run` writes it anew"
            found.faults.append(Fault(self._layout.selection, what))
            return found
        if sealed:
            path = self._layout.sealed(shard.stem)
            found.faults += self._sealed(shard, path, belongs, found, same_input=same_input)
        else:
            found.faults += self._open(shard, belongs, found, same_input=same_input)
        return found

    # --- sealed -------------------------------------------------------------------------------------------------------

    def _sealed(
        self, shard: Shard, path: str, belongs: Mask, found: Inspection, *, same_input: bool
    ) -> Iterator[Fault]:
        """Checks a sealed file: each row that belongs is present once and in order, and the metadata fits."""
        upto, counts, lacking = 0, found.counts, belongs.copy()
        try:
            with seg.broken(path):
                if fault := self._bytes(shard, path):
                    yield fault
                    return
                with Copied(self._files, shard, self._given([path]) if same_input else {}) as given:
                    for batch in self._batches(path):
                        rows = batch.column("row").to_numpy()
                        if not self._in_order(rows, upto, belongs):
                            what = f"after row {upto - 1} the rows are not in input order, or not each once"
                            yield Fault(path, what, damaged=True)
                            return
                        counts.add(Counts.of(batch))
                        yield from self._rows(shard, path, batch)
                        for part in near(batch):
                            first, last = part.column("row")[0].as_py(), part.column("row")[-1].as_py()
                            if (row := given.differs(first, part, last + 1)) is not None:
                                yield _another_row(path, row)
                                return
                        if len(rows):
                            upto = int(rows[-1]) + 1
                        lacking[rows] = False
                    found.unchecked += _not_compared(shard, given)
                claimed = seg.read_about(self._files, path)[1]
        except seg.Broken as error:
            yield _damaged(error)
            return
        if missing := int(lacking.sum()):
            right = int(belongs.sum())
            yield Fault(path, f"has {right - missing} rows, the shard has {right}", damaged=True)
        if counts != claimed:
            yield Fault(path, f"its metadata claims {claimed}, its rows say {counts}", damaged=True)

    def _in_order(self, rows: np.ndarray, upto: int, belongs: Mask) -> bool:
        """Whether some rows follow row number `upto` - 1, each once, and belong; others stay from before a change."""
        if not len(rows) or self._selection.whole:
            return np.array_equal(rows, np.arange(upto, upto + len(rows)))
        if rows[0] < upto or rows[-1] >= len(belongs) or (rows[1:] <= rows[:-1]).any():
            return False
        return self._selection.changed or bool(belongs[rows].all())

    # --- under way ----------------------------------------------------------------------------------------------------

    def _open(self, shard: Shard, belongs: Mask, found: Inspection, *, same_input: bool) -> Iterator[Fault]:
        """Checks the segments of an unsealed shard, and counts the rows that they lack."""
        counts = found.counts
        done = np.zeros(shard.rows, dtype=bool)
        times: dict[int, np.ndarray] = {}
        intact: list[Segment] = []
        for segment in shown(self._layout.segments_of(self._files, shard.stem))[0]:
            seen = times.setdefault(segment.generation, np.zeros(shard.rows, dtype=np.int32))
            faults = list(self._segment(shard, segment, done, seen, counts))
            yield from faults
            if not faults:
                intact.append(segment)
        if same_input:
            yield from self._values(shard, intact, found)
        for generation, seen in times.items():
            if twice := int((seen > 1).sum()):
                yield Fault(shard.path, f"{twice} rows are in more than one segment of generation {generation}")
        asked = self._selection.asked(shard, belongs)
        rows = int(asked.sum())
        missing = int((asked & ~done).sum())
        if self._selection.stop is not None:  # which rows were asked is known by their results alone
            rows = self._selection.rows_of(shard)
            missing = max(0, rows - int((belongs & done).sum()))
        if missing:
            yield Fault(shard.path, f"{missing} of {rows} rows have no result yet")
        elif not (belongs & ~done).any():
            what = "every row has a result, and the shard is not sealed yet: `scorer run` seals it"
            yield Fault(shard.path, what)

    def _segment(
        self, shard: Shard, segment: Segment, done: np.ndarray, seen: np.ndarray, counts: Counts
    ) -> Iterator[Fault]:
        path = self._layout.segment(segment)
        try:
            with seg.broken(path):
                if fault := self._bytes(shard, path):
                    yield fault
                    return
                for batch in self._batches(path):
                    rows = batch.column("row").to_numpy()
                    if len(rows) and (rows.min() < segment.first or rows.max() > segment.last):
                        yield Fault(path, "holds rows outside of what its name says", damaged=True)
                        return
                    done[rows] = True
                    np.add.at(seen, rows, 1)
                    counts.add(Counts.of(batch))
                    yield from self._rows(shard, path, batch)
        except (seg.Broken, IndexError) as error:
            yield _damaged(error, path)

    def _values(self, shard: Shard, segments: list[Segment], found: Inspection) -> Iterator[Fault]:
        """Checks the copied columns of all segments in row order, so that the input is read once."""
        inputs = [(self._layout.segment(s), s.first, s.last) for s in segments]
        try:
            copied = self._given([path for path, _, _ in inputs])
            if not copied or not inputs:
                return
            with self._files.open(inputs[0][0]) as file:
                stored = pq.read_schema(file)
            columns = pa.schema([f for f in stored if f.name in {"row", "generation", "error", *copied}])
            with Copied(self._files, shard, copied) as given:
                for start, stop, table in merge(self._files, inputs, columns, some=True):
                    if (row := given.differs(start, table.combine_chunks(), stop)) is not None:
                        for segment in segments:
                            path = self._layout.segment(segment)
                            if segment.first <= row <= segment.last and self._holds(path, row):
                                yield _another_row(path, row)
                        return
                found.unchecked += _not_compared(shard, given)
        except seg.Broken as error:
            yield _damaged(error)

    def _holds(self, path: str, row: int) -> bool:
        return bool((seg.read_columns(self._files, path, ["row"]).column("row").to_numpy() == row).any())

    def _given(self, paths: Sequence[str]) -> dict[str, str]:
        """The input's column of each copied column of these result files."""
        kept = self._kept if self._kept is not None else kept_in(self._files, paths)
        return {**self._id, **{name: name for name in kept}}

    # --- one file -----------------------------------------------------------------------------------------------------

    def _bytes(self, shard: Shard, path: str) -> Fault | None:
        """Checks that the file belongs to this run and this shard, and that its bytes match their checksums."""
        about, _ = seg.read_about(self._files, path)
        awaits = about.get("generation", 0) < self._unread
        if about.get("fingerprint", self._fingerprint) != self._fingerprint and not awaits:
            return Fault(path, f"holds the scores of another run ({about['fingerprint']})", damaged=True)
        if not seg.is_of(about, shard):
            return Fault(path, "holds rows of another shard", damaged=True)
        parts = checksums.check(self._files, path) or []
        whole = tuple(part for part in parts if part.whole)
        if len(whole) < len(parts):
            broken = sum(part.stop - part.first for part in parts if not part.whole)
            return Fault(path, f"is damaged: the bytes of {broken} of its rows are not what was written", True, whole)
        return None

    def _rows(self, shard: Shard, path: str, batch: pa.RecordBatch) -> Iterator[Fault]:
        """Checks what must hold in each result row."""
        stored = modern(batch.schema)
        if missing := lacking(batch.schema, copies=self._copies):
            yield Fault(path, f"lacks the columns {', '.join(missing)}", damaged=True)
            return
        kept = kept_names(stored.names)
        named = [field for field in self._right if field.name not in kept and field.name in stored.names]
        types = [(field.name, field.type, stored.field(field.name).type) for field in named]
        if wrong := [f"{name} is {found}, not {right}" for name, right, found in types if found != right]:
            yield Fault(path, f"of the wrong type: {', '.join(wrong)}", damaged=True)
            return
        score, error = batch.column("score"), batch.column("error")
        first = batch.column("row")[0].as_py() if batch.num_rows else 0
        if pc.any(pc.equal(pc.is_valid(score), pc.is_valid(error))).as_py():
            yield Fault(path, f"from row {first} on, some row has a score and an error, or neither", damaged=True)
        if not all(math.isfinite(value) for value in score.drop_null().to_pylist()):
            yield Fault(path, f"from row {first} on, some score is not a finite number", damaged=True)
        if unknown := {name for name in pc.unique(error).to_pylist() if name is not None and name not in ROW_ERRORS}:
            yield Fault(path, f"unknown error names {', '.join(sorted(unknown))}", damaged=True)
        if pc.unique(batch.column("shard")).to_pylist() not in ([], [shard.path]):
            yield Fault(path, "holds rows of another shard", damaged=True)
        judged = batch.column("judge").filter(pc.greater_equal(batch.column("generation"), self._unread))
        if not {*pc.unique(judged).to_pylist()} <= self._judges:
            yield Fault(path, "holds scores of another judge", damaged=True)

    def _batches(self, path: str) -> Iterator[pa.RecordBatch]:
        with (
            self._files.open(path) as file,
            pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True) as parquet,
        ):
            yield from seg.batches(parquet)


def _not_compared(shard: Shard, given: Copied) -> list[str]:
    """Says which id and kept columns were not compared."""
    if given.problem is not None:
        return [f"{shard.path}: the input cannot be read to compare its id and kept columns ({given.problem})"]
    if given.unread:
        return [f"{shard.path}: {given.unread} rows are damaged by now; their id and kept columns are not compared"]
    return []


def _another_row(path: str, row: int) -> Fault:
    return Fault(path, f"row {row} has an id or kept columns that are not the input's", damaged=True)


def _damaged(error: Exception, path: str = "") -> Fault:
    detail = str(error).removeprefix(f"{getattr(error, 'path', path)}: ") or type(error).__name__
    return Fault(getattr(error, "path", path), f"is damaged: {detail.splitlines()[0]}", damaged=True)
