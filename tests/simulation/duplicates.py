"""Simulated runs with duplicates: half of the plain rows and all bad ones have few topics."""

from __future__ import annotations

import io
from dataclasses import replace
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
from simulation.settings import Setting


def twinned(setting: Setting) -> Setting:
    """The same run with `judge.dedupe`: a row's request has its own topic or that of an earlier row."""
    draw = Random(f"twins of {setting.seed}")
    topics: dict[str, str] = {}
    owners: dict[str, list[str]] = {}
    for name, kind in setting.kinds.items():
        before = owners.setdefault(kind, [])
        topics[name] = draw.choice(before) if before and kind != "null" and draw.random() < 0.5 else name
        if topics[name] == name:
            before.append(name)
    shards = {}
    for path, data in setting.shards.items():
        file = pq.ParquetFile(io.BytesIO(data))
        ids = file.read(columns=["id"], use_threads=False).column("id").to_pylist()
        columns = {"id": ids, "topic": [topics[i] for i in ids], "response": [setting.texts[topics[i]] for i in ids]}
        out = io.BytesIO()
        size = file.metadata.row_group(0).num_rows if file.metadata.num_row_groups else 64
        schema = pa.schema([(name, pa.string()) for name in columns])
        pq.write_table(pa.table(columns, schema=schema), out, row_group_size=max(1, size))
        shards[path] = out.getvalue()
    asked = len({topic for topic in topics.values() if setting.kinds[topic] == "plain"})
    plain = sum(kind == "plain" for kind in setting.kinds.values())
    return replace(
        setting,
        shards=shards,
        texts={name: setting.texts[topic] for name, topic in topics.items()},
        topics=topics,
        events=tuple(replace(event, at=event.at * asked // plain) for event in setting.events),
    )
