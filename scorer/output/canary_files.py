"""OUT/canary: the canaries of a run as they were answered, and what was concluded from them.

    canary/state.json                      stretches with one band each, and the alarms
    canary/<first>-<last>-<n>.parquet      answers by the number of the canary

Canaries are no rows of the run: nothing here is counted, scored or published.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.errors import OutputError
from scorer.files.files import Files, read
from scorer.files.files import replace as replace_file
from scorer.files.parquet_batches import read_whole
from scorer.output.layout import Layout

SHARD = "canary:"
"""How the shard of a canary begins; no path of an input shard does."""
MOST_FILES = 32
FULL = 256
"""Answers in a file that gets no further ones."""
SCHEMA = pa.schema(
    [
        pa.field("canary", pa.int64(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("known", pa.float64(), nullable=False),
        pa.field("score", pa.float64()),
        pa.field("loss", pa.float64()),
        pa.field("error", pa.string()),
        pa.field("error_detail", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("raw", pa.list_(pa.string())),
        pa.field("judge_model", pa.string()),
        pa.field("system_fingerprint", pa.string()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("cost_microusd", pa.int64()),
        pa.field("asked_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("finished_at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("draw", pa.string()),
    ]
)


class CanaryAnswer(msgspec.Struct, frozen=True):
    """The answer to a canary: a row of SCHEMA, without its number. Times are microseconds since 1970, UTC.

    `draw` names a canary of a provider batch, whose answer two starts may read; None for others.
    """

    shard: str
    row: int
    known: float
    asked_at: int
    finished_at: int
    score: float | None = None
    loss: float | None = None
    error: str | None = None
    error_detail: str | None = None
    reason: str | None = None
    raw: list[str | None] | None = None
    judge_model: str | None = None
    system_fingerprint: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost_microusd: int | None = None
    draw: str | None = None


class Stretch(msgspec.Struct, frozen=True):
    """Canaries that are watched with one band: from number `since` on, `n` of them expected.

    `band` is None until it is learned from the first of them; those before `watched` taught it. `given` is the run
    file's band then. `why` says what began the stretch.
    """

    since: int
    n: int
    band: float | None = None
    watched: int = 0
    why: str = "start"
    given: float | None = None


class Alarm(msgspec.Struct, frozen=True):
    """The judge left its band: its mean loss, or its mean signed error "up" or "down" (`kind`).

    Times are microseconds since 1970, UTC; rows finished in [`since`, `until`] are suspect.
    `ended` says what became of it: "" while it stands, "accepted", or "recovered" where a later round of canaries was
    within the band. `retried`: the suspect rows were scored again.
    """

    canary: int
    mean: float
    band: float
    since: int
    until: int
    kind: str = "loss"
    ended: str = ""
    retried: bool = False


class CanaryState(msgspec.Struct, frozen=True):
    """The stretches and the alarms of a run, in their order."""

    stretches: tuple[Stretch, ...] = ()
    alarms: tuple[Alarm, ...] = ()

    @property
    def standing(self) -> Alarm | None:
        """The alarm of which nothing became so far."""
        return next((alarm for alarm in self.alarms if not alarm.ended), None)

    def with_alarms(self, alarms: tuple[Alarm, ...]) -> CanaryState:
        """The same stretches with these alarms."""
        return CanaryState(self.stretches, alarms)

    @property
    def suspect(self) -> tuple[int, int] | None:
        """The span of time in which suspect rows were finished that were not scored again."""
        open_ = [alarm for alarm in self.alarms if not alarm.retried and alarm.ended != "accepted"]
        return (min(one.since for one in open_), max(one.until for one in open_)) if open_ else None


def load_state(files: Files, layout: Layout) -> CanaryState:
    """The state of an output folder; an empty one where it has no canaries. Raises OutputError for a damaged file."""
    try:
        return msgspec.json.decode(read(files, layout.canary_state), type=CanaryState)
    except (FileNotFoundError, NotADirectoryError):
        return CanaryState()
    except msgspec.MsgspecError as error:
        raise OutputError(
            f"{layout.canary_state} is damaged ({error}). Restore it, or delete the folder {layout.canary}: the run "
            "then begins with new canaries."
        ) from error


def save_state(files: Files, layout: Layout, state: CanaryState) -> None:
    """Writes state.json, whole or not at all."""
    replace_file(files, layout.canary_state, msgspec.json.format(msgspec.json.encode(state)))


def retried(files: Files, layout: Layout) -> None:
    """Notes that the suspect rows were scored again."""
    state = load_state(files, layout)
    alarms = tuple(msgspec.structs.replace(alarm, retried=True) for alarm in state.alarms)
    save_state(files, layout, state.with_alarms(alarms))


def load_answers(files: Files, layout: Layout) -> pa.Table:
    """All answers, by the number of the canary. Raises OutputError for a damaged file."""
    tables = []
    for path in _paths(files, layout):
        try:
            tables.append(read_whole(pa.BufferReader(read(files, path))))
        except (pa.ArrowInvalid, OSError) as error:
            raise OutputError(
                f"{path} cannot be read ({error}). Restore it, or delete it: its canaries then count no more."
            ) from error
    table = pa.concat_tables([SCHEMA.empty_table(), *tables], promote_options="default").sort_by("canary")
    numbers = table.column("canary").to_numpy()
    return table.filter(np.diff(numbers, prepend=-1) > 0)  # a crash while files are merged leaves answers twice


def _paths(files: Files, layout: Layout) -> list[str]:
    return [stat.path for stat in files.listing(layout.canary) if stat.path.endswith(".parquet")]


def merge_answers(files: Files, layout: Layout) -> None:
    """Makes one file of all answers, where there are more than `MOST_FILES`."""
    paths = _paths(files, layout)
    if len(paths) > MOST_FILES:
        merged = _write(files, layout, load_answers(files, layout), 0)
        for path in paths:
            if path != merged:
                files.delete(path)


class AnswerWriter:
    """Writes the answers of one start. Blocking. The latest file is written anew until it has `FULL` answers.

    So answers can be written often without as many files.
    """

    def __init__(self, files: Files, layout: Layout) -> None:
        self._files, self._layout = files, layout
        self._answers: list[tuple[int, CanaryAnswer]] = []
        self._path: str | None = None

    def write(self, answers: Sequence[tuple[int, CanaryAnswer]], number: int) -> None:
        """Makes answers durable with the numbers of their canaries, at least one, in file `number`."""
        answers = [*self._answers, *answers]
        rows = [{"canary": canary, **msgspec.structs.asdict(answer)} for canary, answer in answers]
        path = _write(self._files, self._layout, pa.Table.from_pylist(rows, schema=SCHEMA), number)
        before = self._path
        self._answers, self._path = ([], None) if len(answers) >= FULL else (answers, path)
        if before is not None and before != path:
            self._files.delete(before)


def _write(files: Files, layout: Layout, table: pa.Table, number: int) -> str:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    first, last = table.column("canary")[0].as_py(), table.column("canary")[-1].as_py()
    path = f"{layout.canary}/{first:09d}-{last:09d}-{number}.parquet"
    replace_file(files, path, buffer.getvalue())
    return path
