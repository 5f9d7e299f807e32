"""Reads the lines of a file of requests, and finds what makes a provider refuse the file as a whole."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

from scorer.frozen import dataclass

CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")

_Line = msgspec.defstruct(
    "_Line", [("custom_id", str), ("method", str, ""), ("url", str, ""), ("body", msgspec.Raw, msgspec.Raw(b""))]
)
_decode = msgspec.json.Decoder(_Line).decode


@dataclass(frozen=True, slots=True)
class Line:
    """One request."""

    custom_id: str
    body: bytes


class FileRefused(ValueError):
    """The file fails as a whole. `line` counts from 1; None where it is not about one line."""

    def __init__(self, code: str, message: str, line: int | None = None) -> None:
        self.code, self.message, self.line = code, message, line
        super().__init__(message)


class RequestsFile:
    """The requests in a file of JSON lines, by their number. Its lines stay in the file."""

    def __init__(self, file: BinaryIO, starts: array[int]) -> None:
        self._file, self._starts = file, starts

    def __len__(self) -> int:
        return len(self._starts)

    def __getitem__(self, number: int) -> Line:
        self._file.seek(self._starts[number])
        found: Any = _decode(self._file.readline())
        return Line(found.custom_id, bytes(found.body))


def opened(file: BinaryIO, endpoint: str, most: int, check: Callable[[Line, int], str]) -> tuple[RequestsFile, str]:
    """The requests of an OpenAI file, and their model. `check(line, number)` returns a line's model.

    Raises: FileRefused, as the providers' validation finds it: at the first line at fault.
    """
    starts, ids, models, at = array("Q"), set[str](), set[str](), 0
    for number, (text, line) in enumerate(_lines(file), 1):
        if number > most:
            raise FileRefused(
                "too_many_tasks", f"The batch input file contains too many requests. The limit is {most}."
            )
        if line is None:
            raise FileRefused("invalid_json_line", "This line is not parseable as valid JSON.", number)
        if line.method != "POST" or not bytes(line.body):
            raise FileRefused("invalid_request", "custom_id, method, url and body are required.", number)
        if line.url != endpoint:
            raise FileRefused("invalid_url", f"The URL does not match the batch endpoint {endpoint}.", number)
        if line.custom_id in ids:
            raise FileRefused("duplicate_custom_id", "The custom_id is a duplicate of another request.", number)
        ids.add(line.custom_id)
        models.add(check(Line(line.custom_id, bytes(line.body)), number))
        if len(models) > 1:
            raise FileRefused("mismatched_model", "The model does not match the rest of the batch.", number)
        starts.append(at)
        at += len(text)
    if not starts:
        raise FileRefused("empty_file", "The batch input file is empty.")
    return RequestsFile(file, starts), models.pop()


def _lines(file: BinaryIO) -> Iterator[tuple[bytes, Any]]:
    file.seek(0)
    for text in iter(file.readline, b""):
        try:
            yield text, _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            yield text, None
