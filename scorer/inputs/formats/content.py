"""What the first bytes of a file look like: a hint for the message that its name promises something else."""

from __future__ import annotations

FIRST_BYTES = 4096

_MAGIC = {
    b"PAR1": ((".parquet",), "Parquet: give it a name that ends in .parquet"),
    b"ARROW1": ((".arrow", ".feather", ".ipc"), "Arrow: give it a name that ends in .arrow"),
    b"FEA1": ((), "Feather of version 1: write it as version 2, which is Arrow"),
    b"\x1f\x8b": ((".gz",), "gzip: give it a name that ends in .jsonl.gz or .csv.gz"),
    b"\x28\xb5\x2f\xfd": ((".zst",), "zstd: give it a name that ends in .jsonl.zst or .csv.zst"),
    b"PK\x03\x04": ((), "a ZIP archive or a spreadsheet: unpack it, or save it as CSV"),
    b"[": ((), "one JSON array: write each element on a line of its own, as `jq -c '.[]' FILE > FILE.jsonl` does"),
    b"{": ((".jsonl", ".ndjson"), "JSON: write each object on a line of its own, in a file whose name ends in .jsonl"),
}
"""How formats begin, the ends of names that say so, and what to do."""
BINARY = tuple(magic for magic in _MAGIC if magic not in (b"[", b"{"))
"""How files begin that are no text: a text format that finds such a beginning has found another format for certain."""
_SEPARATORS = {"\t": "tabs", ";": "semicolons", "|": "vertical bars"}


def content_hint(path: str, begins: bytes) -> str | None:
    """What a file that begins so looks like and what to do, to follow "It looks like".

    None where the name says the same, or the bytes tell nothing.
    """
    text = begins.removeprefix(b"\xef\xbb\xbf").lstrip()
    first_line = text.partition(b"\n")[0].strip()
    if first_line == b"{":
        return "JSON objects over several lines: write each on a line of its own, as `jq -c . FILE > FILE.jsonl` does"
    for magic, (ends, hint) in _MAGIC.items():
        if text.startswith(magic):
            return None if path.lower().endswith(ends) else hint
    header = first_line.decode("utf-8", "replace")
    if not header.replace("\t", " ").replace("\r", " ").isprintable():
        return None
    if "\r" in header:
        return "text whose lines end in carriage returns alone: end them in line feeds, as `tr '\\r' '\\n'` does"
    if "," in header:
        return (
            None if path.lower().endswith((".csv", ".csv.gz", ".csv.zst")) else "CSV: give it a name that ends in .csv"
        )
    return other_separator(header)


def other_separator(header: str) -> str | None:
    """The hint for a table whose first line has tabs or the like between its fields, and no comma; else None."""
    found = next((name for separator, name in _SEPARATORS.items() if separator in header and "," not in header), None)
    return f"a table with {found} between its fields: write it with commas, as .csv" if found else None
