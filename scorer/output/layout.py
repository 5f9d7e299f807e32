"""File names in an output folder, and which segments a merged segment's name replaces.

    run.json  progress.json  lock  ledger/<owner>
    segments/<stem>/g<generation>-w<worker>-<first row>-<last row>-<n>.parquet
    scores/<stem>.parquet
    selection/<stem>-<digest>.parquet  which rows belong, with input.where
    batches/<nonce>...               provider batches that are out (chunk_files.py)
    partial/...                      answers to rows that a start did not finish (partial_rows.py)
    canary/...                       answers to known rows, with [canary]
    forgotten/...                    the files of shards that left the run
    damaged/...                      files that could not be read
    damaged.json                     damaged files that are not yet in damaged/

<n> counts the segments of one shard, generation and worker. A merged segment is named <n of the first>_<n of the last>
and hides every segment whose n lies in between.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from scorer.files.filenames import cut
from scorer.files.files import Files, Stat
from scorer.files.local_globs import MATCHED, MATCHED_ELSE
from scorer.frozen import dataclass

MANIFEST, PROGRESS, LOCK = "run.json", "progress.json", "lock"
REHEARSAL = "-rehearsal"
"""What `output.path` ends in for a rehearsal of the run."""
_NAME = re.compile(r"g(\d{1,9})-w(\d{1,9})-(\d{1,18})-(\d{1,18})-(\d{1,18})(?:_(\d{1,18}))?\.parquet")


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment by its name: its rows lie in `first` to `last`, its numbers in `low` to `high`."""

    stem: str
    generation: int
    worker: int
    first: int
    last: int
    low: int
    high: int
    size: int = 0

    @property
    def name(self) -> str:
        numbers = f"{self.low}" if self.low == self.high else f"{self.low}_{self.high}"
        return f"g{self.generation}-w{self.worker}-{self.first:09d}-{self.last:09d}-{numbers}.parquet"

    @property
    def merged(self) -> bool:
        return self.high > self.low

    def holds(self, other: Segment) -> bool:
        """True where it is the segment `other`, or was merged from it and its neighbours."""
        same_writer = (self.stem, self.generation, self.worker) == (other.stem, other.generation, other.worker)
        return same_writer and self.low <= other.low and other.high <= self.high

    def hides(self, other: Segment) -> bool:
        return self.merged and self.holds(other) and (self.low, self.high) != (other.low, other.high)


class Layout:
    """The paths of one output folder."""

    def __init__(self, out: str) -> None:
        self.out = out.rstrip("/") or "/"
        self.manifest = f"{self.out}/{MANIFEST}"
        self.progress = f"{self.out}/{PROGRESS}"
        self.lock = f"{self.out}/{LOCK}"
        self.ledger = f"{self.out}/ledger"
        self.scores = f"{self.out}/scores"
        self.segments = f"{self.out}/segments"
        self.selection = f"{self.out}/selection"
        self.batches = f"{self.out}/batches"
        self.partial = f"{self.out}/partial"
        self.canary = f"{self.out}/canary"
        self.canary_state = f"{self.canary}/state.json"
        self.damaged = f"{self.out}/damaged"
        self.forgotten = f"{self.out}/forgotten"
        self.noted = f"{self.out}/damaged.json"
        self.answer = f"{self.out}/answer.json"

    def sealed(self, stem: str) -> str:
        return f"{self.scores}/{stem}.parquet"

    def segment(self, segment: Segment) -> str:
        return f"{self.segment_folder(segment.stem)}/{segment.name}"

    def segment_folder(self, stem: str) -> str:
        return f"{self.segments}/{stem}"

    def sealed_stems(self, files: Files) -> set[str]:
        """The stems of all sealed shards, by one listing."""
        return {stat.path.rpartition("/")[2].removesuffix(".parquet") for stat in files.listing(self.scores)}

    def result_files(self, files: Files) -> ResultFiles:
        """The files with the results of each shard."""
        # Segments first: a shard that is sealed between the two listings is then seen twice, never not at all.
        segments = self.segments_to_read(files)
        return ResultFiles(self, self.sealed_stems(files), segments)

    def segments_of(self, files: Files, stem: str) -> list[Segment]:
        """Every segment of a shard in the order of their numbers, hidden ones included."""
        found = [parse(stem, stat) for stat in files.listing(self.segment_folder(stem))]
        return sorted((s for s in found if s is not None), key=lambda s: (s.generation, s.worker, s.low, s.high))

    def segments_to_read(self, files: Files) -> dict[str, list[Segment]]:
        """The segments of all unfinished shards without hidden ones, by the shard's stem."""
        return {stem: shown(self.segments_of(files, stem))[0] for stem in files.folders(self.segments)}

    def foreign(self, files: Files, stem: str) -> list[str]:
        """Files in a shard's folder of segments that are not segments."""
        return [stat.path for stat in files.listing(self.segment_folder(stem)) if parse(stem, stat) is None]


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """Where the results of the shards are: sealed ones by stem, and the segments of unfinished ones by stem.

    Segments of a sealed shard are of a retry or a reread that is not finished, or wait to be deleted.
    """

    layout: Layout
    sealed: set[str]
    segments: dict[str, list[Segment]]

    def paths(self, stem: str) -> list[str]:
        """The sealed file of a shard, else its segments."""
        if stem in self.sealed:
            return [self.layout.sealed(stem)]
        return [self.layout.segment(segment) for segment in self.segments.get(stem, ())]


def result_folders(out: str) -> tuple[str, ...]:
    """The folders with Parquet files that a run writes below its output folder, and those of its rehearsal."""
    run = out.rstrip("/").removesuffix(REHEARSAL)
    layouts = Layout(run), Layout(run + REHEARSAL)
    return tuple(
        folder
        for one in layouts
        for folder in (one.scores, one.segments, one.selection, one.partial, one.canary, one.forgotten, one.damaged)
    )


def parse(stem: str, stat: Stat) -> Segment | None:
    """The segment of a file name; None where it is not the name of one."""
    match = _NAME.fullmatch(stat.path.rpartition("/")[2])
    if match is None:
        return None
    generation, worker, first, last, low = (int(match[i]) for i in range(1, 6))
    return Segment(stem, generation, worker, first, last, low, int(match[6] or low), stat.size)


def shown(segments: Iterable[Segment]) -> tuple[list[Segment], list[Segment]]:
    """Segments to read and segments that a merged one hides."""
    everything = list(segments)
    merged = [s for s in everything if s.merged]
    hidden = [s for s in everything if any(m.hides(s) for m in merged)]
    out_of_sight = set(hidden)
    return [s for s in everything if s not in out_of_sight], hidden


LONGEST_STEM = 200
"""The most bytes of a stem: with its prefix and suffix a name stays below the 255 that file systems allow."""


def stems(paths: Sequence[str], taken: dict[str, str]) -> dict[str, str]:
    """A name in the output for each new path: its stem, or `<stem>-<8 hex of the path>` where that is taken.

    A stem of more than 200 bytes is cut to 200 and has the 8 hex too. Dots that a name begins with are left out: they
    would make a file that no glob finds, or the name of a folder. `taken` maps stems already given to their paths.
    """
    plain = [_stem(path) for path in paths]
    counts = Counter(plain)
    single = {stem for stem in plain if counts[stem] == 1}
    used = {*taken, *single}
    names: dict[str, str] = {}
    for path, stem in zip(paths, plain, strict=True):
        short = cut(stem, LONGEST_STEM)
        if stem in taken or counts[stem] > 1 or short != stem:
            digest = hashlib.sha256(path.encode()).hexdigest()
            several = (f"{short}-{digest[:digits]}" for digits in (8, 16, 32))
            stem = next(name for name in several if name not in used)
            used.add(stem)
        names[path] = stem
    return names


def _stem(path: str) -> str:
    name = path.replace("\\", "/").rpartition("/")[2]
    end = max((end for end in (MATCHED, *MATCHED_ELSE) if name.endswith(end)), key=len, default="")
    return name.removesuffix(end).lstrip(".") or "shard"
