"""The task of every contender: the prompt, the reading of its answer, and the start of the contender.

Only the standard library: contenders import this in environments of their own.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

PROMPT = """You compare answers of language models for a report. Read the instruction and the response, then judge how \
well the response does what was asked: whether it is correct, complete, and free of what nobody asked for. A long \
response is not a better one.

Instruction:
{instruction}

Response:
{response}

Reply with a line of the form "Score: <number>", from 1 for a response of no use to 5 for one that leaves nothing to \
improve. [row:{id}]"""
MODEL = "gpt-4o-mini"
MAX_OUTPUT_TOKENS = 16
COLUMNS = ("id", "instruction", "response")
KEY = "no-key-is-needed-here"

_SCORE = re.compile(r"Score:\s*([1-5])\b")


@dataclass(frozen=True, slots=True)
class Task:
    """One run of one contender: score every row of the Parquet file `rows`, at most `in_flight` at once.

    `url` is the judge's base URL, with /v1 at its end. `out` is an empty folder; `scores/*.parquet` in it must end up
    with one `id` and one `score` for each row. `variant` is the contender's own.
    """

    rows: str
    url: str
    out: str
    in_flight: int
    variant: str

    @property
    def scores(self) -> str:
        """Where a contender that writes one file puts it."""
        folder = Path(self.out) / "scores"
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder / "scores.parquet")

    @property
    def limits(self) -> dict[str, int]:
        """What a variant "KEY=NUMBER+..." declares, by its name in a run file of ours."""
        pairs = (limit.partition("=") for limit in self.variant.split("+") if "_per_minute=" in limit)
        return {name: int(value) for name, _, value in pairs}


def task() -> Task:
    """The task on the command line."""
    parser = argparse.ArgumentParser()
    for name in ("rows", "url", "out"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--in-flight", type=int, required=True)
    parser.add_argument("--variant", default="")
    return Task(**vars(parser.parse_args()))


def read_score(text: str) -> int:
    """The number in a reply. Raises ValueError where there is none."""
    found = _SCORE.search(text)
    if found is None:
        raise ValueError(f"no score in {text!r}")
    return int(found[1])
