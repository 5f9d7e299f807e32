"""The rows of the benchmark: sentences of the bundled sample, recombined with a seed into one Parquet file.

    python -m benchmarks.rows 20000 FILE          make them
    python -m benchmarks.rows --check FILE OUT    exit 1 unless OUT holds one score from 1 to 5 for each row of FILE

With the prompt around it a row has about 300 tokens (o200k). Fewer rows are the beginning of more.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SAMPLE = Path(__file__).parents[1] / "scorer" / "cli" / "sample" / "generations.jsonl"
SEED = 20261124
GROUP = 10_000
CHARACTERS = (600, 850)
"""Of a response: drawn evenly between the two."""


def rows(count: int) -> Iterator[dict[str, str]]:
    """`count` rows with `id`, `instruction`, `response`."""
    sample = [json.loads(line) for line in SAMPLE.read_text("utf-8").splitlines()]
    instructions = sorted({row["instruction"] for row in sample})
    sentences = sorted({s for row in sample for s in re.split(r"(?<=[.!?])\s+", f"{row['source']} {row['response']}")})
    draw = random.Random(SEED)
    for number in range(count):
        length, response = draw.randint(*CHARACTERS), ""
        while len(response) < length:
            response += f" {draw.choice(sentences)}"
        yield {"id": f"r{number:07d}", "instruction": draw.choice(instructions), "response": response.lstrip()}


def make(count: int, path: str) -> None:
    """Writes them whole, or not at all."""
    schema = pa.schema([(name, pa.string()) for name in ("id", "instruction", "response")])
    partial = f"{path}.{os.getpid()}.partial"
    made = rows(count)
    with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for start in range(0, count, GROUP):
            group = [next(made) for _ in range(min(GROUP, count - start))]
            writer.write_table(pa.Table.from_pylist(group, schema))
    os.replace(partial, path)


def check(path: str, out: str) -> None:
    """Raises SystemExit with a sentence where `out` is not what was asked for."""
    wanted = pq.read_table(path, columns=["id"]).column("id").to_pylist()
    found = pq.read_table(f"{out}/scores", columns=["id", "score"])
    if sorted(found.column("id").to_pylist()) != sorted(wanted):
        raise SystemExit(f"{out}: {found.num_rows} rows of {len(wanted)}, or not the same ones")
    good = sum(score is not None and 1 <= score <= 5 for score in found.column("score").to_pylist())
    if good < len(wanted):
        raise SystemExit(f"{out}: {len(wanted) - good} rows of {len(wanted)} have no score")


if __name__ == "__main__":
    if sys.argv[1] == "--check":
        check(*sys.argv[2:])
    else:
        make(int(sys.argv[1]), sys.argv[2])
