"""The answers to rows of several requests that were under way when a start ended, for the next start.

A line of a file in OUT/partial is a row: the fingerprint of its judge, its shard, generation and number, and its
answers; without answers it was finished. Of two lines about a row the later one counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from scorer.errors import StorageError
from scorer.files.checked_lines import entry, line
from scorer.files.files import Files, read
from scorer.output.answers_json import Answer, from_json, to_json
from scorer.types import Request, Row

Key = tuple[str, str, int, int]


class PartialRows:
    """The rows of one process. `judge` is the fingerprint of the judge that asks.

    A `worker` reads all files and writes one of its own; the owner of the folder (None) makes one file of all. `say`
    gets a sentence about each file that is damaged. `open` and `close` block.
    """

    def __init__(
        self,
        files: Files,
        folder: str,
        judge: str,
        *,
        worker: int | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._files = files
        self._folder = folder
        self._judge = judge
        self._worker = worker
        self._say = say
        self._rows: dict[Key, Sequence[Answer | None]] = {}
        self._changed: dict[Key, Sequence[Answer | None]] = {}

    def open(self) -> None:
        """Reads what earlier starts left. Raises StorageError."""
        if self._worker is None:
            self._files.sweep(self._folder)
            self._merge()
        else:
            self._rows = self._read(self._paths())

    def close(self) -> None:
        """Writes what this process left, durable on return. Raises StorageError."""
        if self._worker is None:
            self._merge()
        elif self._changed:
            self._write(f"{_next(self._paths()):06d}-w{self._worker:05d}", self._changed)

    def known_of(self, row: Row) -> Callable[[int, Request], Answer | int] | None:
        """The answer to a row's n-th request, 0 where there is none; None where nothing is known of the row."""
        if not self._rows:
            return None
        answers = self._rows.get(self._key(row))
        if answers is None:
            return None
        return partial(_nth, answers)

    def keep(self, row: Row, answers: Sequence[Answer | None]) -> None:
        """Keeps the answers of a row that is not finished, by the number of the request."""
        key = self._key(row)
        self._rows[key] = self._changed[key] = answers

    def finished(self, row: Row) -> None:
        """A row of which something was known has a result. Does nothing for others."""
        key = self._key(row)
        if self._rows.pop(key, None) is not None:
            self._changed[key] = ()

    def _key(self, row: Row) -> Key:
        return self._judge, row.shard, row.generation, row.number

    def _merge(self) -> None:
        """Makes one file of all, with what has changed since they were read; none where no row is left."""
        paths, changed = self._paths(), self._changed
        together = {**self._read(paths), **changed}
        self._rows = {key: answers for key, answers in together.items() if answers}
        self._changed = {}
        if len(paths) == bool(self._rows) and not changed:
            return
        if self._rows:
            self._write(f"{_next(paths):06d}", self._rows)
        for path in paths:
            self._files.delete(path)
        if not self._rows:
            self._files.drop_folder(self._folder)

    def _paths(self) -> list[str]:
        return [stat.path for stat in self._files.listing(self._folder)]

    def _read(self, paths: Sequence[str]) -> dict[Key, Sequence[Answer | None]]:
        rows: dict[Key, Sequence[Answer | None]] = {}
        for path in paths:
            try:
                lines = read(self._files, path).splitlines()
            except OSError as error:
                raise StorageError(f"{path} cannot be read: {error.strerror}. Check the disk.") from error
            for text in lines:
                found = entry(text) or {}
                try:
                    key = found["judge"], found["shard"], found["generation"], found["row"]
                    rows[key] = from_json(found["answers"])
                except (KeyError, TypeError, ValueError):
                    self._say(f"{path} has a damaged line: the answers of one row are asked for again.")
        return rows

    def _write(self, name: str, rows: Mapping[Key, Sequence[Answer | None]]) -> None:
        with self._files.create(f"{self._folder}/{name}") as file:
            for (judge, shard, generation, row), answers in rows.items():
                held = {"judge": judge, "shard": shard, "generation": generation, "row": row}
                file.write(line({**held, "answers": to_json(answers)}))


def _nth(answers: Sequence[Answer | None], number: int, _request: Request) -> Answer | int:
    return (answers[number] if number < len(answers) else None) or 0


def _next(paths: Sequence[str]) -> int:
    """The number after those of all files."""
    return 1 + max((int(path.rpartition("/")[2].partition("-")[0]) for path in paths), default=0)
