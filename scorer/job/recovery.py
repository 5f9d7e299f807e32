"""Repairs a run before scoring: rebuilds a lost or truncated run.json, sets files aside that are known to be damaged.

Uses the output folder and the input only, and invents nothing: where these do not suffice, an error says what to do.
Sends no request. Rows whose results are lost are scored again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.build.plan import RunPlan
from scorer.config.fingerprint import fingerprint_before_2
from scorer.errors import OutputError
from scorer.files.files import Files
from scorer.job.forget import forgotten_before
from scorer.output import segments as seg
from scorer.output.damage import note, noted, set_aside
from scorer.output.layout import Layout, Segment
from scorer.output.located import look_for
from scorer.output.manifest import Manifest, ManifestDamaged, Revision, load
from scorer.output.selection import UNKNOWN
from scorer.types import Shard

if TYPE_CHECKING:
    from scorer.output.verify.shard import Fault

Say = Callable[[str], None]


# --- damaged files ----------------------------------------------------------------------------------------------------


def repair(files: Files, layout: Layout, manifest: Manifest, say: Say) -> None:
    """Sets aside the files that `verify` noted as damaged and that still are; their intact rows are kept as a segment.

    Call it with the folder's lock held and before the store is opened. Segments that a damaged sealed file hid count
    again then, and their rows are not scored twice.
    """
    known = noted(files, layout)
    if not known:
        return
    from scorer.output.verify.shard import Inspector

    inspector = Inspector(files, layout, manifest)
    sealed = {stat.path for stat in files.listing(layout.scores)}
    for shard in manifest.shards:
        path, folder = layout.sealed(shard.stem), layout.segment_folder(shard.stem) + "/"
        if path not in known and not any(one.startswith(folder) for one in known):
            continue
        here = look_for(files, shard, manifest, layout.out)
        shard, same = here.shard, here.same
        if path in sealed:
            faults = inspector.shard(shard, sealed=True, same_input=same).faults
            _set_aside(files, layout, manifest, shard, faults, say)
            if not any(fault.damaged for fault in faults):
                continue
        faults = inspector.shard(shard, sealed=False, same_input=same).faults  # of the segments it was merged from
        _set_aside(files, layout, manifest, shard, faults, say)
    note(files, layout, ())


def _set_aside(
    files: Files, layout: Layout, manifest: Manifest, shard: Shard, faults: Iterable[Fault], say: Say
) -> None:
    done: set[str] = set()
    for fault in faults:
        if fault.damaged and fault.path not in done:  # several faults of one file are one damage
            done.add(fault.path)
            kept = _kept(files, layout, manifest, shard, fault)
            set_aside(files, layout, fault.path)
            whole = f", except for {kept} intact rows" if kept else ""
            say(f"{fault}. The file moved to {layout.damaged}, and its rows are scored again{whole}.")


def _kept(files: Files, layout: Layout, manifest: Manifest, shard: Shard, fault: Fault) -> int:
    """Writes the intact rows of a damaged file as a new segment and returns their number."""
    if not any(part.stop > part.first for part in fault.whole):
        return 0
    about, _ = seg.read_about(files, fault.path)
    generation = about["generation"]
    with (
        files.open(fault.path) as file,
        pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True) as parquet,
    ):
        tables = list(_intact(parquet, fault, ["row"]))
        rows: int = sum(table.num_rows for table in tables)
        first, last = tables[0].column("row")[0].as_py(), tables[-1].column("row")[-1].as_py()
        number = 1 + max(
            (s.high for s in layout.segments_of(files, shard.stem) if (s.generation, s.worker) == (generation, 0)),
            default=-1,
        )
        segment = Segment(shard.stem, generation, 0, first, last, number, number)
        schema = parquet.schema_arrow.remove_metadata()
        about = seg.about(
            shard, manifest.fingerprint, generation, manifest.id, about.get("edition", 0), manifest.judges
        )
        with files.create(layout.segment(segment)) as new:
            seg.write(new, _intact(parquet, fault, schema.names), schema, about)
    return rows


def _intact(parquet: pq.ParquetFile, fault: Fault, columns: list[str]) -> Iterator[pa.Table]:
    """The row groups of a file that lie in its intact parts."""
    start = 0
    for group in range(parquet.metadata.num_row_groups):
        stop = start + parquet.metadata.row_group(group).num_rows
        if any(part.first <= start and stop <= part.stop for part in fault.whole):
            for batch in seg.batches(parquet, columns=columns, groups=[group]):
                yield pa.Table.from_batches([batch]).replace_schema_metadata()
        start = stop


# --- run.json ---------------------------------------------------------------------------------------------------------


def load_or_rebuild(plan: RunPlan, files: Files, layout: Layout, say: Say) -> Manifest | None:
    """run.json, rebuilt where it is lost or truncated; None for a new folder.

    The fingerprint comes from the run file; shards, generations and the run's id come from the metadata of the result
    files. Raises OutputError where a result file belongs to another run.
    """
    manifest, broken = None, False
    try:
        manifest = load(files, layout)
    except ManifestDamaged:
        broken = True
    if manifest is not None:
        return manifest
    results, unreadable = _result_files(files, layout)
    if not broken and not results and not unreadable:
        return None
    newest = {stem: about["generation"] for stem, sealed, about in results if sealed}
    # A segment that a sealed file hides may be older than a reread: it no longer counts.
    results = [one for one in results if one[1] or one[2]["generation"] > newest.get(one[0], -1)]
    found = {about["fingerprint"] for _, _, about in results}
    before_2 = fingerprint_before_2(plan.spec, plan.covers)
    fingerprint = before_2 if found == {before_2} else plan.fingerprint
    others = sorted(found - {fingerprint})
    if others:
        raise OutputError(
            f"{layout.manifest} is {'damaged' if broken else 'gone'}, and {layout.out} holds scores of another run: "
            f"their fingerprint is {', '.join(others)}, that of this run file is {plan.fingerprint}. Restore run.json "
            "from a copy, use the run file of those scores, or give this run another output.path."
        )
    shards = {stem: Shard(**about["shard"]) for stem, _, about in results}
    ahead = max((about["generation"] for stem, sealed, about in results if stem in newest and not sealed), default=0)
    generations = max((about["generation"] for _, _, about in results), default=0)
    revisions: tuple[Revision, ...] = ()
    if generations:
        # An unfinished retry ends with the rows that it scored: its list of errors is lost with run.json.
        judges = {judge: at for _, _, about in results for judge, at in about.get("judges", {}).items()}
        known = {at: Revision(at, "retry", (), open=False, judge=judge) for judge, at in judges.items()}
        last = known.get(generations, Revision(generations, "retry", ()))
        revisions = tuple({**known, generations: replace(last, open=ahead == generations)}.values())
    note(files, layout, [*noted(files, layout), *unreadable])  # `repair` inspects them before they count
    if broken:
        set_aside(files, layout, layout.manifest)
    kept = f" The damaged file is in {layout.damaged}." if broken else ""
    say(
        f"{layout.manifest} was {'damaged' if broken else 'gone'}: rebuilt from this run file and the "
        f"{len(results)} result files of {len(shards)} shards.{kept}"
    )
    created = datetime.now(UTC).isoformat(timespec="seconds")
    in_order = sorted(shards.values(), key=lambda shard: shard.path)
    # The most frequent id: files may have been copied in from another run. Files of earlier versions have none.
    ids = Counter(sorted(about["run"] for _, _, about in results if about.get("run")))
    run = ids.most_common(1)[0][0] if ids else ""
    return Manifest(
        fingerprint,
        plan.covers,
        {},
        created,
        tuple(in_order),
        revisions,
        run,
        forgotten=forgotten_before(files, layout),
        selection=UNKNOWN,
        edition=max((about.get("edition", 0) for _, _, about in results), default=0),
    )


def _result_files(files: Files, layout: Layout) -> tuple[list[tuple[str, bool, dict[str, Any]]], list[str]]:
    """Each result file's stem, whether it is sealed, and its metadata; and the paths of those without readable ones."""
    results: list[tuple[str, bool, dict[str, Any]]] = []
    unreadable: list[str] = []
    stats = [(stat.path, True) for stat in files.listing(layout.scores)]
    for stem in files.folders(layout.segments):
        stats += [(layout.segment(segment), False) for segment in layout.segments_of(files, stem)]
    for path, sealed in stats:
        try:
            with seg.broken(path):
                about, _ = seg.read_about(files, path, checked=True)
                stem = about["shard"]["stem"]
        except seg.Broken:
            unreadable.append(path)
            continue
        if path.startswith((layout.sealed(stem), layout.segment_folder(stem) + "/")):
            results.append((stem, sealed, about))
        else:
            unreadable.append(path)
    return results, unreadable
