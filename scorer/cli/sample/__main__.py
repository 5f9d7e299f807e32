"""`python -m scorer.cli.sample` writes generations.parquet anew from generations.jsonl, which is the text to edit."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from scorer.cli.sample import sample_path

TEXTS = ("id", "task", "item", "model", "instruction", "source", "response", "reference")
SCHEMA = pa.schema([*((name, pa.string()) for name in TEXTS), ("human", pa.float64()), ("human_note", pa.string())])

if __name__ == "__main__":
    options = pj.ParseOptions(explicit_schema=SCHEMA, unexpected_field_behavior="error")
    table = pj.read_json(sample_path().with_suffix(".jsonl"), parse_options=options)
    pq.write_table(table, sample_path(), compression="zstd", store_schema=False)
