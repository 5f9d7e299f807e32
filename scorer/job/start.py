"""Opens or resumes a run: `run.json` checked against the plan and the input, new shards added."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime

from scorer.build.plan import RunPlan
from scorer.config.moments import moment
from scorer.errors import OutputError
from scorer.files.files import Files
from scorer.files.router import is_remote
from scorer.frozen import replace
from scorer.inputs.one_table import check_one_table
from scorer.inputs.shards import empty_entries, find, first_look, linked, not_taken
from scorer.job.forget import ALL, Choice, forget, remember, set_aside_shard
from scorer.job.recovery import Say, load_or_rebuild
from scorer.output.chunk_files import ChunkFiles
from scorer.output.layout import Layout, result_folders, stems
from scorer.output.located import kept, matched, without
from scorer.output.manifest import Manifest, Revision, check_fingerprint, new_id, save
from scorer.output.selection import ALL_ROWS


def open_manifest(
    plan: RunPlan,
    files: Files,
    layout: Layout,
    revision: Revision | None = None,
    say: Say = lambda _: None,
    choice: Choice = ALL,
    now: datetime | None = None,
) -> Manifest:
    """Checks `run.json` against the plan and the input, adds new shards, and writes it where it changed.

    A lost `run.json` is rebuilt, which `say` reports. `revision` is opened, with the next generation, unless another
    one is still open. `choice` removes shards from the run or adds them again; other forgotten shards stay forgotten,
    also where their file changed. `now` is the local time, for `limits.deadline`. Raises InputError for shards that
    cannot be read as the run asks, OutputError where the folder holds another run or a shard changed. The
    fingerprint of a folder of before 0.2.0 stays as it was.
    """
    manifest = load_or_rebuild(plan, files, layout, say)
    if manifest is not None and _nothing_stored(files, layout, manifest):
        manifest = replace(
            manifest,
            fingerprint=plan.fingerprint,
            covered=plan.covers,
            shards=(),
            revisions=(),
            selection=ALL_ROWS,
            questions=(),
            kept=tuple(plan.spec.input.keep),
        )
    if manifest is not None:
        if manifest.rehearsal != plan.rehearsal:
            there, here = ("a rehearsal", "a run") if manifest.rehearsal else ("a run", "a rehearsal")
            raise OutputError(
                f"{layout.out} holds the scores of {there}, which cannot be mixed with those of {here}. Give another "
                "output.path, or delete the folder if nothing in it is needed."
            )
        check_fingerprint(manifest, plan.fingerprint, plan.covers, layout.out)
    found = find(files, plan.spec.input.shards, result_folders(layout.out))
    known = manifest.shards if manifest is not None else ()
    gone = manifest.forgotten if manifest is not None else ()
    fingerprint = manifest.fingerprint if manifest is not None else plan.fingerprint
    known, gone = remember(files, layout, choice.remember, known, gone, fingerprint)
    known, gone = forget(choice.forget, known, gone, found)
    began = (manifest.began if manifest is not None else "") or os.getcwd()
    found = without(files, gone, began, found)
    if message := linked(found):
        say(message)
    known, new = matched(files, known, began, found)
    empty = empty_entries(files, plan.spec.input.shards, found, {shard.path for shard in gone})
    names = stems([stat.path for stat in new], {shard.stem: shard.path for shard in (*known, *gone)})
    where, alone = plan.spec.input.where, not known
    fresh = first_look(files, new, names, plan.needed, plan.columns.kept, where=where, alone=alone, say=say)
    check_one_table(files, known, fresh.shards, plan.columns.kept)
    for message in (*empty, *not_taken(plan.spec.input.shards), *fresh.left_out):
        say(message)
    shards = (*known, *fresh.shards)
    now = now or datetime.now(UTC)
    created = manifest.created if manifest is not None else now.astimezone(UTC).isoformat(timespec="seconds")
    revisions = manifest.revisions if manifest is not None else ()
    run = (manifest.id if manifest is not None else "") or new_id(rehearsal=plan.rehearsal)
    home = "" if is_remote(layout.out) else os.path.abspath(layout.out)
    opened = Manifest(
        fingerprint,
        plan.covers,
        stored_spec(plan, _kept_until_changed(plan, manifest)),
        created,
        shards,
        revisions,
        run,
        forgotten=gone,
        began=began,
        home=home,
        selection=manifest.selection if manifest is not None else ALL_ROWS,
        kept=manifest.kept if manifest is not None else tuple(plan.spec.input.keep),
        edition=manifest.edition if manifest is not None else 0,
        deadline=_deadline(plan, manifest, now, say),
        questions=manifest.questions if manifest is not None else (),
    )
    if revision is not None and opened.open_revision is None:
        opened = opened.opening(revision)
    written = replace(opened, shards=kept(opened.shards, began))
    if written != manifest:
        save(files, layout, written)
    set_aside_shard(files, layout, gone)
    return opened


def _deadline(plan: RunPlan, manifest: Manifest | None, now: datetime, say: Say) -> tuple[str, str]:
    """`limits.deadline`, and the moment that it means: that of the first start with this text.

    A first start may have been killed before it wrote `run.json`, so a moment that is over is none to refuse.
    """
    given = plan.spec.limits.deadline or ""
    if not given or (manifest is not None and manifest.deadline[0] == given):
        return manifest.deadline if given and manifest is not None else ("", "")
    found = moment(given, now.astimezone(), "limits.deadline", may_be_over=True)
    if found <= now:
        say(f'limits.deadline = "{given}" is over: rows that are in no batch are asked online, at the online price.')
    return given, found.isoformat(timespec="seconds")


def _nothing_stored(files: Files, layout: Layout, manifest: Manifest) -> bool:
    """True where no row has a result yet and none is in a provider's batch, so that every key and the input may change.

    Deletes the sealed files of shards without rows in that case; they are written again.
    """
    sealed = {stat.path for stat in files.listing(layout.scores)}
    if ChunkFiles(files, layout.batches).any():
        return False
    empty = {layout.sealed(shard.stem) for shard in manifest.shards if not shard.rows}
    if sealed - empty or any(files.listing(layout.segment_folder(stem)) for stem in files.folders(layout.segments)):
        return False
    for path in sealed:
        files.delete(path)
    return True


def _kept_until_changed(plan: RunPlan, manifest: Manifest | None) -> Sequence[str]:
    """The `input.keep` of the stored results, which `keep_columns` changes later."""
    if manifest is None:
        return plan.spec.input.keep
    given: Sequence[str] = manifest.spec.get("input", {}).get("keep", ())
    return given if manifest.kept is None else manifest.kept


def stored_spec(plan: RunPlan, keep: Sequence[str] | None = None) -> dict[str, object]:
    """The spec that run.json stores for `scorer retry`; it needs neither the run file nor `judge.prompt_file`.

    `keep` stands for its `input.keep`.
    """
    spec = plan.spec.model_dump(mode="json", exclude_defaults=True, exclude={"rehearsal"})
    if keep is not None and list(keep) != list(plan.spec.input.keep):
        spec["input"]["keep"] = list(keep)
    if "prompt" in plan.covers["judge"]:
        spec["judge"] = {**spec.get("judge", {}), "prompt": plan.covers["judge"]["prompt"]}
        spec["judge"].pop("prompt_file", None)
    return spec
