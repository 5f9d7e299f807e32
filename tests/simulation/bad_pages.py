"""Simulated runs in which a tenth of the row groups cannot be read: only their rows end as Damaged."""

from __future__ import annotations

import io
from dataclasses import replace
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
from simulation.settings import Setting

GROUP = 10


def damaged(setting: Setting) -> Setting:
    """The same run over row groups of 10 rows with page checksums; in some of them a byte of a text is changed."""
    draw = Random(f"pages of {setting.seed}")
    kinds, shards = dict(setting.kinds), {}
    for path, data in setting.shards.items():
        table = pq.read_table(io.BytesIO(data), use_threads=False)
        out = io.BytesIO()
        pq.write_table(
            table.cast(pa.schema([("id", pa.string()), ("response", pa.string())])),
            out,
            row_group_size=GROUP,
            use_dictionary=False,
            compression="none",
            write_statistics=False,
            write_page_checksum=True,
        )
        whole = bytearray(out.getvalue())
        metadata = pq.read_metadata(io.BytesIO(bytes(whole)))
        ids = table.column("id").to_pylist()
        for group in range(metadata.num_row_groups):
            if draw.random() < 0.1:
                chunk = metadata.row_group(group).column(0)  # the last bytes are those of an id, and no header
                if not chunk.total_compressed_size:
                    continue  # an empty shard has no page: byte -1 would be the last of the file's footer
                whole[chunk.data_page_offset + chunk.total_compressed_size - 1] ^= 1
                kinds.update(dict.fromkeys(ids[group * GROUP : (group + 1) * GROUP], "damaged"))
        shards[path] = bytes(whole)
    plain = [sum(kind == "plain" for kind in some.values()) for some in (setting.kinds, kinds)]
    events = tuple(replace(event, at=event.at * plain[1] // plain[0]) for event in setting.events)
    return replace(setting, shards=shards, kinds=kinds, events=events)
