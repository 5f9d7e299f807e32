"""Verifies an output folder: every input row once and in order, intact, with a score or an error; a ledger that fits.

Reads every byte of the scores and changes none of them. Each finding is a sentence. Files that are damaged are noted in
the folder, so that the next start sets them aside and scores their rows again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scorer.errors import StorageError
from scorer.files.files import Files
from scorer.output import damage, ledger
from scorer.output.layout import Layout
from scorer.output.located import look_for
from scorer.output.manifest import Manifest, load, no_run
from scorer.output.row_counts import Counts
from scorer.output.verify.batches import batch_faults
from scorer.output.verify.copies import Provenance
from scorer.output.verify.shard import Fault, Inspector


@dataclass(frozen=True, slots=True)
class Verdict:
    """The findings of `scorer verify`: none where every row is present exactly once and intact.

    `damaged` are the files among the findings whose rows the next `scorer run` scores again. `unchecked`
    says what could not be looked at, because the input is not to be read; it is no finding.
    """

    rows: int
    shards: int
    findings: tuple[str, ...]
    damaged: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        return not self.findings


def verify(files: Files, out: str) -> Verdict:
    """Checks every file of an output folder. Raises SpecError where it holds no run, OutputError for run.json."""
    layout = Layout(out)
    manifest = load(files, layout)
    if manifest is None:
        raise no_run(files, layout)
    unchecked: list[str] = []
    faults = list(_faults(files, layout, manifest, unchecked))
    if manifest.spec.get("judge", {}).get("dedupe") and not any(fault.damaged for fault in faults):
        faults += Provenance(files, layout, manifest).faults()
    damaged = tuple(dict.fromkeys(fault.path for fault in faults if fault.damaged))
    findings = [str(fault) for fault in faults]
    try:
        damage.note(files, layout, damaged)
    except StorageError as error:  # a disk that cannot be written, or somebody else's folder: it can still be read
        findings.append(
            f"{layout.noted}: what is damaged cannot be noted for `scorer run` ({error.__cause__ or error}). Move "
            "those files away yourself, or restore them from a copy; `scorer run` scores again what is gone."
        )
    return Verdict(manifest.rows, len(manifest.shards), tuple(findings), damaged, tuple(unchecked))


def _faults(files: Files, layout: Layout, manifest: Manifest, unchecked: list[str]) -> Iterator[Fault]:
    counts, inspector = Counts(), Inspector(files, layout, manifest)
    sealed = {stat.path for stat in files.listing(layout.scores)}
    for shard in manifest.shards:
        here = look_for(files, shard, manifest, layout.out)
        if not here.there:
            unchecked.append(
                f"{shard.path}: the input is not where it was; id and kept columns are not compared with it"
            )
        elif not here.same:
            yield Fault(shard.path, "the input shard changed since it was scored")
        path = layout.sealed(shard.stem)
        found = inspector.shard(here.shard, sealed=path in sealed, same_input=here.same)
        unchecked += found.unchecked
        sealed.discard(path)
        counts.add(found.counts)
        yield from found.faults
    for path in sorted(sealed):
        yield Fault(path, "belongs to no shard of this run")
    known = {shard.stem for shard in manifest.shards}
    left = {shard.stem for shard in manifest.forgotten}  # the local disk keeps their empty folders
    for stem in files.folders(layout.segments):
        if stem not in known and not (stem in left and not files.listing(layout.segment_folder(stem))):
            yield Fault(layout.segment_folder(stem), "belongs to no shard of this run")
        for path in layout.foreign(files, stem):
            yield Fault(path, "is no segment")
    if (revision := manifest.open_revision) is not None:
        ends = "`scorer reread` ends" if revision.kind == "reread" else "`scorer retry` or `scorer run` ends"
        yield Fault(f"generation {revision.generation} is not finished", f"{ends} it")
    if manifest.kept is None:
        yield Fault("a change of input.keep is not finished", "`scorer run` ends it")
    yield from batch_faults(files, layout, manifest)
    yield from _ledger(files, layout, counts)


def _ledger(files: Files, layout: Layout, counts: Counts) -> Iterator[Fault]:
    """Finds a ledger that holds fewer tokens than the rows used."""
    if torn := ledger.damaged(files, layout.ledger):
        yield Fault(torn, "a line of the ledger is damaged; what it said is counted nowhere")
    totals = ledger.totals(files, layout.ledger)
    in_rows = counts.prompt_tokens + counts.completion_tokens
    if in_rows > totals.tokens:
        yield Fault(layout.ledger, f"the ledger holds {totals.tokens} tokens and the rows {in_rows}: a part is missing")
