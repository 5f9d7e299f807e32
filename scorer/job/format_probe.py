"""Measures format bias: has the judge of a finished run score a sample of its answers again, in other formats.

The probe is an ordinary run in the folder `<OUT>-format`, with the judge, model and limits of the finished run. This
module makes its input and its plan; `job` scores it, `scorer.analysis.format_bias` compares the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from scorer.analysis.format_bias import ANSWER, FORM, FORMATS, reformatted
from scorer.build.plan import RunPlan, check
from scorer.config.loader import set_values
from scorer.errors import BudgetSpent, SpecError
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.output import ledger
from scorer.output.layout import Layout
from scorer.output.located import look_for
from scorer.output.manifest import Manifest, load
from scorer.output.scan import scan_scores
from scorer.output.scan_input import scan_input
from scorer.types import Shard

PICO = 10**12


@dataclass(frozen=True, slots=True)
class Reformat:
    """The plan of the probe, and the shard and row of each sampled answer (columns `bias_answer`, `shard`, `row`)."""

    plan: RunPlan
    places: pl.DataFrame


def prepare(files: Files, out: str, text: str, *, share: float, sets: Sequence[str] = (), seed: int = 0) -> Reformat:
    """Plans a run over a random sample of the scored rows of `out`, with the column `text` in every format.

    The number of requests is at most `share` of the run's rows; each answer is scored once in each format. The sample
    is drawn once: a second call reads it from `<out>-format`. The costs of `out` count against the caps.
    Raises SpecError for an unsuitable share, column or folder, OutputError where run.json is damaged, BudgetSpent where
    the caps leave nothing.
    """
    manifest = load(files, Layout(out))
    if manifest is None:
        raise SpecError([f"{out} holds no run. --format needs the judge of a run: give the output.path of a run."])
    if not 0 < share <= 1:
        raise SpecError([f"--share {share:g} must be a share of the run's rows: above 0 and at most 1."])
    folder = f"{out.rstrip('/')}-format"
    path = f"{folder}/input/answers.parquet"
    asked = {"text": text, "share": f"{share:g}", "seed": str(seed)}
    tree = _tree(files, manifest, out, folder, path, sets)
    plan = check(tree)
    if plan.spec.all_models[0].provider == "recorded":
        raise SpecError(
            [f'{out} was scored from stored replies (provider = "recorded"), which has none for other formats.']
        )
    if files.find([path]):
        _same_sample(files, path, folder, asked)
    else:
        sample = reformatted(_draw(files, out, manifest, text, share, seed), text)
        with files.create(path) as file:
            sample.write_parquet(file, metadata=asked)
    with files.open(path) as file:
        places = pl.read_parquet(file, columns=[ANSWER, "bias_shard", "bias_row"]).unique(ANSWER)
    return Reformat(plan, places.rename({"bias_shard": "shard", "bias_row": "row"}))


def stored_scores(files: Files, out: str, places: pl.DataFrame, score: str) -> pl.DataFrame | None:
    """The run's values of a column for the sampled answers: `bias_answer`, `value`. None without such a column."""
    scores = scan_scores(out, files=files)
    if score not in scores.collect_schema():
        return None
    kept = scores.select("shard", "row", value=pl.col(score)).join(places.lazy(), on=["shard", "row"])
    return kept.select(ANSWER, "value").collect()


def _tree(files: Files, manifest: Manifest, out: str, folder: str, path: str, sets: Sequence[str]) -> Mapping[str, Any]:
    """The run's tree with the sample as input and its caps reduced by what the run has spent."""
    tree = set_values({**manifest.spec, "output": {**manifest.spec.get("output", {}), "path": folder}}, sets)
    tree = {**tree, "input": {"shards": [path], "keep": [ANSWER, FORM]}}
    limits = dict(tree.get("limits", {}))
    spent = ledger.totals(files, Layout(out).ledger)
    for cap, used in (("max_tokens", spent.tokens), ("max_usd", spent.money_pico / PICO)):
        if isinstance(limits.get(cap), int | float):
            limits[cap] -= used
            if limits[cap] <= 0:
                raise BudgetSpent(
                    f"limits.{cap} of {out} is used up, and the requests of --format count against it too. Raise it "
                    f"for both with --set limits.{cap}=..."
                )
    return {**tree, "limits": limits}


def _draw(files: Files, out: str, manifest: Manifest, text: str, share: float, seed: int) -> pl.DataFrame:
    """The sampled rows with all input columns, numbered from 0 in `bias_answer`."""
    wanted = int(share * manifest.rows + 1e-9) // len(FORMATS)
    if wanted < 2:
        least = 2 * len(FORMATS) / max(manifest.rows, 1)
        advice = f"give --share {least:.2g} or more" if least <= 1 else "there are too few rows"
        raise SpecError(
            [
                f"--share {share:g} of {manifest.rows} rows is too small for two answers in {len(FORMATS)} formats "
                f"each, the least that can be compared: {advice}."
            ]
        )
    scored = scan_scores(out).filter(pl.col("score").is_not_null()).select("shard", "row").collect()
    scored = scored.sort("shard", "row")
    chosen = np.random.default_rng(seed).choice(len(scored), min(wanted, len(scored)), replace=False)
    sample = scored[np.sort(chosen)]
    known = {shard.path: shard for shard in manifest.shards}
    parts = [
        _rows(look_for(files, known[shard], manifest, out).shard, text, sample.filter(pl.col("shard") == shard)["row"])
        for shard in sample["shard"].unique(maintain_order=True)
    ]
    answers = pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame({text: []}, {text: pl.String})
    answers = answers.filter(pl.col(text).str.strip_chars() != "").with_row_index(ANSWER)
    if len(answers) < 2:
        raise SpecError(
            [f"{len(answers)} of the {len(sample)} rows drawn have a text in {text}; two or more are needed."]
        )
    return answers.with_columns(pl.col(ANSWER).cast(pl.Int64))


def _rows(shard: Shard, text: str, rows: pl.Series) -> pl.DataFrame:
    scan = scan_input(shard)
    schema = scan.collect_schema()
    problems = [
        f"Column {name} of {shard.path} has a name that --format reserves: rename it."
        for name in (ANSWER, FORM, "bias_shard", "bias_row")
        if name in schema
    ]
    if text not in schema:
        problems.append(f"Column {text} is not in {shard.path}; there are {', '.join(schema.names())}.")
    elif schema[text] not in (pl.String, pl.Categorical):
        problems.append(f"Column {text} of {shard.path} holds {schema[text]}, not texts.")
    if problems:
        raise SpecError(problems)
    numbered = scan.with_columns(pl.col(text).cast(pl.String)).with_row_index("bias_row")
    found = numbered.filter(pl.col("bias_row").is_in(rows.to_list())).collect()
    return found.with_columns(pl.col("bias_row").cast(pl.Int64), pl.lit(shard.path).alias("bias_shard"))


def _same_sample(files: Files, path: str, folder: str, asked: Mapping[str, str]) -> None:
    with files.open(path) as file:
        stored = pl.read_parquet_metadata(file)
    other = [f"--{name} {stored.get(name)}" for name in asked if stored.get(name) != asked[name]]
    if other:
        raise SpecError(
            [f"{folder} holds a sample drawn with {', '.join(other)}: give the same options, or delete the folder."]
        )
