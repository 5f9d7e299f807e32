"""Writes the report page of output folders as one HTML file that opens offline."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict, Unpack

from scorer.errors import SpecError, StorageError
from scorer.files.credentials import SCHEMES
from scorer.files.files import replace
from scorer.files.router import AnyFiles
from scorer.html_tables import facts_html
from scorer.report.html import document
from scorer.report.page.build import page
from scorer.report.page.options import ReportOptions
from scorer.report.run_table import Runs

_BEGINNING = b"<!doctype html>"


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """A report page that was written: the path of its file, its bytes, and how many rows' texts are in it."""

    path: str
    bytes: int
    rows: int

    def _repr_html_(self) -> str:
        facts = [("bytes", f"{self.bytes:,}"), ("rows with texts", f"{self.rows:,}")]
        return facts_html(f"Report page {self.path}", facts)


class ReportColumns(TypedDict, total=False):
    """Keyword arguments of `write_report`: options of `scorer report` by their names."""

    score: str
    item: str
    system: str
    task: str
    own: tuple[str, ...]
    step: str
    mix: str
    margin: float
    acceptable: float
    rows: int


def write_report(
    out: Runs, file: str | Path | None = None, *, human: str | Sequence[str] = (), **options: Unpack[ReportColumns]
) -> WrittenReport:
    """Writes one HTML page of a run, or of several over the same input: `scorer report`. It opens offline.

    `out` is an output folder or its run file, or several of them as a list or a dict by name. `file` is
    `report-<name of the run>.html` in the current folder where it is None. `human` is a column of human values, or one
    for each person. `options` are those of the command by their names; `rows=0` leaves out all texts. Returns the
    `path` of the file, its size in `bytes`, and the number of `rows` whose texts are in it.

    Raises SpecError where there is no run, for columns that cannot serve and where the file cannot be written,
    OutputError where run.json is damaged.
    """
    people = (human,) if isinstance(human, str) else tuple(human)
    return write_report_file(out, file, ReportOptions(human=people, **options))


def write_report_file(tables: Runs, file: str | Path | None, options: ReportOptions) -> WrittenReport:
    """Computes the page of output folders and writes it, whole or not at all.

    The file is `report-<name of the run>.html` in the current folder where `file` is None. It replaces an earlier page,
    and no other file. A page with texts of rows is readable by its owner alone (mode 0600); in a bucket the bucket's
    rules decide. Raises SpecError as `page` does and where the file cannot be written there.
    """
    options.check()
    if file is not None:
        _check(str(file))
    made = page(tables, options)
    path = str(file) if file is not None else f"report-{_slug(made.title)}.html"
    if file is None:
        _check(path)
    data = document(made).encode("utf-8", "replace")
    if _remote(path):
        replace(AnyFiles(), path, data)
    else:
        _replace(Path(path), data, private=made.texts)
    return WrittenReport(path, len(data), len(made.rows.cards) if made.rows else 0)


def _remote(path: str) -> bool:
    return path.partition("://")[0] in SCHEMES


def _slug(title: str) -> str:
    return re.sub(r"[^\w.-]+", "-", title).strip("-.")[:80] or "run"


def _check(path: str) -> None:
    """Raises SpecError where a page cannot be written to this path."""
    if _remote(path):
        return
    place = Path(path)
    problem = None
    try:
        if place.is_dir():
            problem = "is a folder: give a file, such as report.html in it"
        elif not place.parent.is_dir():
            problem = f"cannot be written: there is no folder {place.parent}"
        elif place.exists() and not _is_page(place):
            problem = "is there already and is no report page, so it is not replaced: give another name"
        elif not path.lower().endswith((".html", ".htm")):
            problem = "does not end in .html: the page is HTML"
    except OSError as error:
        problem = f"cannot be written: {error.strerror}"
    if problem is not None:
        raise SpecError([f"-o {path} {problem}."])


def _is_page(place: Path) -> bool:
    with place.open("rb") as file:
        start = file.read(len(_BEGINNING))
    return start in (b"", _BEGINNING)


def _replace(place: Path, data: bytes, *, private: bool) -> None:
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=".partial-", dir=place.parent)  # mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            if not private:
                umask = os.umask(0)
                os.umask(umask)
                os.fchmod(file.fileno(), 0o666 & ~umask)
        os.replace(temporary, place)
        temporary = None
    except OSError as error:
        raise StorageError(
            f"{place} cannot be written: {error.strerror}. Free space there or give another -o."
        ) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
