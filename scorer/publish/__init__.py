"""Publishes sealed shards to Delta and Iceberg tables: one file for each table format, and one line here.

A publisher knows its table and sealed shards; not the engine, the store, or other publishers.
"""

PUBLISHERS = {
    "delta": "scorer.publish.delta:Delta",
    "iceberg": "scorer.publish.iceberg:Iceberg",
}
