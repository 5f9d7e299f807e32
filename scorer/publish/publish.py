"""Publishes all sealed shards of an output folder to a table. Idempotent."""

from __future__ import annotations

import os
import platform
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from scorer.errors import OutputError, ScorerError, SpecError, StorageError
from scorer.files.files import Files
from scorer.html_tables import facts_html
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest, load, new_id, no_run, save
from scorer.plugins import found, made
from scorer.publish import PUBLISHERS
from scorer.publish.sealed import GroupPublisher, Publisher, sealed
from scorer.types import Shard

GROUP_SHARDS = 100
GROUP_ROWS = 1_000_000
"""So much goes into one commit: a kill repeats no more, and the files of as many shards are open."""


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` did: the sealed shards, those committed now and their rows, and the unsealed shards."""

    target: str
    sealed: int
    committed: int
    rows: int
    unsealed: int

    def _repr_html_(self) -> str:
        facts = [
            ("shards published now", f"{self.committed:,} of {self.sealed:,} sealed, {self.rows:,} rows"),
            ("shards not sealed", f"{self.unsealed:,}"),
        ]
        return facts_html(f"Published to {self.target}", facts)


def publisher(to: str, partition_by: Sequence[str] = ()) -> Publisher:
    """The publisher of an address `scheme://place`; nothing is read or written yet.

    The scheme is one of PUBLISHERS, or an import path `package.module:Name`. A ~ that begins the place is the home
    folder. Raises SpecError for a wrong address.
    """
    scheme, separator, place = to.partition("://")
    path = PUBLISHERS.get(scheme, scheme)
    if not separator or ":" not in path:
        known = ", ".join(f"{name}://" for name in PUBLISHERS)
        raise SpecError(
            [f'"{to}" is no address of a table. It begins with one of {known}, or with package.module:Name://.']
        )
    if place.startswith("~"):
        place = os.path.expanduser(place)
        if place.startswith("~"):
            raise SpecError([f'"{to}" begins with a ~ that leads to no home folder of this machine; ~/ is your own.'])
    make = found(path, "publisher")
    built: Publisher = made(lambda: make(place, tuple(partition_by)), path, "publisher", ("publish",))
    return built


def publish(files: Files, out: str, to: str | None = None, partition_by: Sequence[str] = ()) -> Published:
    """Commits every sealed shard that is not yet in the table, several in one commit.

    Without `to` it is the run's own output.publish. Raises SpecError where there is no run, for a wrong address and for
    shards that the table cannot take (the others are published), StorageError where it cannot be reached, OutputError
    for damaged files.
    """
    layout = Layout(out)
    manifest = _identified(files, layout)
    if manifest.rehearsal:
        raise SpecError(
            [
                f"{out} is a rehearsal: its scores are simulated and mean nothing, so they are not "
                "published. Give the output folder of the run itself."
            ]
        )
    given = manifest.spec.get("output", {})
    if to is None and given.get("publish") is None:
        raise SpecError([f"{out} has no output.publish: say where to, with --to delta://... or --to iceberg://..."])
    place = publisher(given["publish"] if to is None else to, partition_by or given.get("partition_by", ()))
    shards = sealed_shards(files, layout, manifest)
    committed = rows = 0
    problems: list[ScorerError] = []
    left = deque(shards)
    while group := next_group(left, place):
        for outcome in publish_shards(files, layout, manifest.id, group, place):
            shard = left.popleft()
            if isinstance(outcome, ScorerError):
                problems.append(outcome)
            else:
                committed += outcome
                rows += outcome * shard.rows
    if problems:
        messages = list(dict.fromkeys(str(problem) for problem in problems))
        raise OutputError("\n".join(messages)) if isinstance(problems[0], OutputError) else SpecError(messages)
    return Published(to or given["publish"], len(shards), committed, rows, len(manifest.shards) - len(shards))


def next_group(shards: Iterable[Shard], place: Publisher) -> list[Shard]:
    """The first of these shards that go to the table in one commit; one where its publisher takes one at a time.

    A shard that was sealed again meanwhile, and so is there twice, is in a group once.
    """
    group: list[Shard] = []
    stems: set[str] = set()
    rows = 0
    for shard in shards:
        full = rows + shard.rows > GROUP_ROWS or len(group) == GROUP_SHARDS
        if group and (full or shard.stem in stems):
            break
        group.append(shard)
        stems.add(shard.stem)
        rows += shard.rows
        if not isinstance(place, GroupPublisher):
            break
    return group


def publish_shards(
    files: Files, layout: Layout, run: str, shards: Sequence[Shard], place: Publisher
) -> list[bool | ScorerError]:
    """For each sealed shard: True where it was committed now, False where the table had it, or why it was not.

    Shards of one call share a commit where the publisher can do that; where one of them fails, the others get commits
    of their own. Raises StorageError where the table cannot be reached now.
    """
    if len(shards) > 1 and isinstance(place, GroupPublisher):
        try:
            with ExitStack() as stack:
                opened = [stack.enter_context(sealed(files, layout, run, shard)) for shard in shards]
                return list(place.publish_all(opened))
        except StorageError:
            raise
        except (ScorerError, FileNotFoundError):  # one of them, and each by itself says which
            pass
    return [_published(files, layout, run, shard, place) for shard in shards]


def _published(files: Files, layout: Layout, run: str, shard: Shard, place: Publisher) -> bool | ScorerError:
    try:
        with sealed(files, layout, run, shard) as opened:
            return place.publish(opened)
    except StorageError:
        raise
    except ScorerError as error:
        return error


def sealed_shards(files: Files, layout: Layout, manifest: Manifest) -> list[Shard]:
    """The shards of a run that have a sealed file, by one listing."""
    names = layout.sealed_stems(files)
    return [shard for shard in manifest.shards if shard.stem in names]


def _identified(files: Files, layout: Layout) -> Manifest:
    """The manifest with an id; one of an earlier version gets its id here, under the folder's lock."""
    manifest = load(files, layout)
    if manifest is None:
        raise no_run(files, layout)
    if manifest.id:
        return manifest
    lock = files.lock(layout.lock, f"process {os.getpid()} on {platform.node()}, which publishes it")
    try:
        manifest = load(files, layout) or manifest
        if not manifest.id:
            manifest = replace(manifest, id=new_id())
            save(files, layout, manifest)
    finally:
        lock.release()
    return manifest
