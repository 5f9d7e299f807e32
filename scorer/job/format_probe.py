"""Measures format bias: asks a finished run's judge again about some of its answers, in other formats.

It is an ordinary run with a folder of its own, `<OUT>-format`, and the run's own judge, model and limits. Makes its
input and its plan; who scores it is the engine, who compares is `scorer.analysis.format_bias`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.format_bias import ANSWER, FORM, FORMATS, reformatted
from scorer.build.plan import RunPlan, check
from scorer.config.loader import set_values
from scorer.errors import BudgetSpent, SpecError
from scorer.files.files import Files
from scorer.files.router import scan_options
from scorer.output import ledger
from scorer.output.layout import Layout
from scorer.output.manifest import Manifest, load
from scorer.output.scan import scan_scores

PICO = 10**12


@dataclass(frozen=True, slots=True)
class Reformat:
    """What to ask: the plan of the further run, and each answer's place in the first (`bias_answer`, shard, row)."""

    plan: RunPlan
    places: pl.DataFrame


def prepare(files: Files, out: str, text: str, *, share: float, sets: Sequence[str] = (), seed: int = 0) -> Reformat:
    """The plan of a run over a random sample of the scored rows of `out`, the column `text` in every form.

    The sample is as large as `share` of the run's rows allows, each answer being asked once in each form. It is drawn
    once: a second call finds it in `<out>-format` and goes on. What `out` has spent counts against its caps.
    Raises SpecError for a share, a column or a folder that cannot serve, OutputError where run.json is damaged,
    BudgetSpent where the caps leave nothing.
    """
    manifest = load(files, Layout(out))
    if manifest is None:
        raise SpecError([f"{out} holds no run: --format asks the judge of a run again. Give the output.path of a run."])
    if not 0 < share <= 1:
        raise SpecError([f"--share {share:g}: it is a share of the run's rows, above 0 and at most 1."])
    folder = f"{out.rstrip('/')}-format"
    path = f"{folder}/input/answers.parquet"
    asked = {"text": text, "share": f"{share:g}", "seed": str(seed)}
    tree = _tree(files, manifest, out, folder, path, sets)
    plan = check(tree)
    if plan.spec.all_models[0].provider == "recorded":
        raise SpecError(
            [f'{out} was scored from stored replies (provider = "recorded"): to answers in other forms it has none.']
        )
    if files.find([path]):
        _same_sample(files, path, folder, asked)
    else:
        sample = reformatted(_draw(out, manifest, text, share, seed), text)
        with files.create(path) as file:
            sample.write_parquet(file, metadata=asked)
    with files.open(path) as file:
        places = pl.read_parquet(file, columns=[ANSWER, "bias_shard", "bias_row"]).unique(ANSWER)
    return Reformat(plan, places.rename({"bias_shard": "shard", "bias_row": "row"}))


def stored_scores(files: Files, out: str, places: pl.DataFrame, score: str) -> pl.DataFrame | None:
    """The run's own values of a column for the sampled answers: `bias_answer`, `value`; None where it has no such."""
    scores = scan_scores(out, files=files)
    if score not in scores.collect_schema():
        return None
    kept = scores.select("shard", "row", value=pl.col(score)).join(places.lazy(), on=["shard", "row"])
    return kept.select(ANSWER, "value").collect()


def _tree(files: Files, manifest: Manifest, out: str, folder: str, path: str, sets: Sequence[str]) -> Mapping[str, Any]:
    """The run's tree over the sample, its caps lowered by what the run has spent."""
    tree = set_values({**manifest.spec, "output": {**manifest.spec.get("output", {}), "path": folder}}, sets)
    tree = {**tree, "input": {"shards": [path], "keep": [ANSWER, FORM]}}
    limits = dict(tree.get("limits", {}))
    spent = ledger.totals(files, Layout(out).ledger)
    for cap, used in (("max_tokens", spent.tokens), ("max_usd", spent.money_pico / PICO)):
        if isinstance(limits.get(cap), int | float):
            limits[cap] -= used
            if limits[cap] <= 0:
                raise BudgetSpent(
                    f"limits.{cap} of {out} is used up, and what --format asks counts against it too: raise it for "
                    f"both with --set limits.{cap}=..."
                )
    return {**tree, "limits": limits}


def _draw(out: str, manifest: Manifest, text: str, share: float, seed: int) -> pl.DataFrame:
    """The sampled rows with all their input columns, numbered by `bias_answer`."""
    wanted = int(share * manifest.rows + 1e-9) // len(FORMATS)
    if wanted < 2:
        least = 2 * len(FORMATS) / max(manifest.rows, 1)
        advice = f"give --share {least:.2g} or more" if least <= 1 else "there are too few rows"
        raise SpecError(
            [
                f"--share {share:g} of {manifest.rows} rows is no two answers in {len(FORMATS)} forms each, the least "
                f"that can be compared: {advice}."
            ]
        )
    scored = scan_scores(out).filter(pl.col("score").is_not_null()).select("shard", "row").collect()
    scored = scored.sort("shard", "row")
    chosen = np.random.default_rng(seed).choice(len(scored), min(wanted, len(scored)), replace=False)
    sample = scored[np.sort(chosen)]
    parts = [
        _rows(shard, text, sample.filter(pl.col("shard") == shard)["row"])
        for shard in sample["shard"].unique(maintain_order=True)
    ]
    answers = pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame({text: []}, {text: pl.String})
    answers = answers.filter(pl.col(text).str.strip_chars() != "").with_row_index(ANSWER)
    if len(answers) < 2:
        raise SpecError(
            [f"{len(answers)} of the {len(sample)} rows drawn have a text in {text}; two or more are needed."]
        )
    return answers.with_columns(pl.col(ANSWER).cast(pl.Int64))


def _rows(shard: str, text: str, rows: pl.Series) -> pl.DataFrame:
    scan = pl.scan_parquet(shard, glob=False, **scan_options(shard))
    schema = scan.collect_schema()
    problems = [
        f"Column {name} of {shard} has a name that --format needs for itself: rename it."
        for name in (ANSWER, FORM, "bias_shard", "bias_row")
        if name in schema
    ]
    if text not in schema:
        problems.append(f"Column {text} is not in {shard}; there are {', '.join(schema.names())}.")
    elif schema[text] not in (pl.String, pl.Categorical):
        problems.append(f"Column {text} of {shard} holds {schema[text]}, not texts.")
    if problems:
        raise SpecError(problems)
    numbered = scan.with_columns(pl.col(text).cast(pl.String)).with_row_index("bias_row")
    found = numbered.filter(pl.col("bias_row").is_in(rows.to_list())).collect()
    return found.with_columns(pl.col("bias_row").cast(pl.Int64), pl.lit(shard).alias("bias_shard"))


def _same_sample(files: Files, path: str, folder: str, asked: Mapping[str, str]) -> None:
    with files.open(path) as file:
        held = pl.read_parquet_metadata(file)
    other = [f"--{name} {held.get(name)}" for name in asked if held.get(name) != asked[name]]
    if other:
        raise SpecError([f"{folder} holds a sample drawn with {', '.join(other)}: ask so again, or delete the folder."])
