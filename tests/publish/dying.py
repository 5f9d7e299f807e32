"""Publishes output folders and dies without a word at the n-th step: `python dying.py STEPS ADDRESS OUT...`.

The steps are those that a publisher tells: before a table is made, before it writes, at each batch it reads, before and
after the commit. For each n below STEPS a forked process dies, with a table of its own (`{n}` in the address); it is
the last OUT whose publishing dies. Prints each exit status: 9 where it died, 0 where it took no more than n steps.
"""

from __future__ import annotations

import os
import sys
import traceback

# Loaded before the fork, so that a death costs no start of an interpreter; none of them has a thread yet.
import deltalake
import pyiceberg.catalog.sql
import pyiceberg.io.pyarrow

from scorer.files.local_files import LocalFiles
from scorer.output.layout import Layout
from scorer.output.manifest import load
from scorer.publish.delta import Delta
from scorer.publish.iceberg import Iceberg
from scorer.publish.publish import publish_shards, sealed_shards

LOADED = (deltalake, pyiceberg.catalog.sql, pyiceberg.io.pyarrow)


def send(out: str, address: str, last: int) -> None:
    """Publishes a folder; dies at the step after the `last`-th."""
    steps = 0

    def step(name: str) -> None:
        nonlocal steps
        steps += 1
        if steps > last:
            os._exit(9)

    scheme, _, place = address.partition("://")
    files, layout = LocalFiles(), Layout(out)
    manifest = load(files, layout)
    assert manifest is not None
    publisher = {"delta": Delta, "iceberg": Iceberg}[scheme](place, step=step)
    publish_shards(files, layout, manifest.id, sealed_shards(files, layout, manifest), publisher)


def main(steps: int, address: str, before: list[str], out: str) -> None:
    for last in range(steps):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                for earlier in before:
                    send(earlier, address.format(n=last), 10**9)
                send(out, address.format(n=last), last)
                status = 0
            finally:
                if status:
                    traceback.print_exc()
                os._exit(status)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:-1], sys.argv[-1])
