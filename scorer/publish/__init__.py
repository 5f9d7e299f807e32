"""Publishes sealed shards to Delta and Iceberg tables: one file for each table format, and one line here.

A publisher knows its table and what a sealed shard is; neither the engine, nor the store, nor one another.
"""

PUBLISHERS = {
    "delta": "scorer.publish.delta:Delta",
    "iceberg": "scorer.publish.iceberg:Iceberg",
}
