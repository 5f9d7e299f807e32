"""Rows to label are drawn at random within strata, and what is estimated from them holds as often as it says."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from scorer.analysis.label_design import design_column
from scorer.analysis.label_plan import LabelPlan, label_plan
from scorer.analysis.prediction_powered import estimate
from scorer.analysis.strata import LEAST, allocate, strata
from scorer.errors import SpecError


def population(rows: int, rng: np.random.Generator) -> pl.DataFrame:
    """Two systems; the judge is precise on the first, and errs by more, and upwards, on the second."""
    system = rng.integers(2, size=rows)
    human = np.clip(np.round(3 + 0.6 * system + rng.normal(size=rows)), 1, 5)
    score = human + np.where(system == 1, 1.0 + 1.5 * rng.normal(size=rows), 0.2 * rng.normal(size=rows))
    unread = (rng.random(rows) < 0.1) & (human < 3)
    return pl.DataFrame(
        {
            "row": np.arange(rows),
            "system": np.where(system == 1, "b", "a"),
            "score": pl.Series(score).set(pl.Series(unread), None),
            "human": human,
        }
    )


def with_labels(frame: pl.DataFrame, plan: LabelPlan, first: int | None = None) -> pl.LazyFrame:
    """The table with the labels of the drawn rows, as `opened` joins them."""
    drawn = plan.design.select(pl.all().name.map(design_column)).with_columns(row=plan.rows)
    drawn = drawn.join(frame.select("row", label="human"), on="row", how="left", maintain_order="left")
    if first is not None:
        drawn = drawn.with_columns(label=pl.when(pl.int_range(pl.len()) < first).then("label"))
    return frame.drop("human").join(drawn, on="row", how="left", maintain_order="left").lazy()


def test_estimate_from_strata_with_unequal_shares_is_unbiased_and_has_its_coverage() -> None:
    held, values, unweighted = 0, [], []
    tables = 60
    for seed in range(tables):
        frame = population(1500, np.random.default_rng(seed))
        pilot = label_plan(frame.lazy(), "score", ["row"], system="system", n=40, seed=seed)
        so_far = with_labels(frame, pilot).select("row", "score", "system", "label")
        plan = label_plan(so_far, "score", ["row"], system="system", n=120, human="label", seed=seed)
        found = estimate(with_labels(frame, plan), "score", "label").overall
        truth = float(frame["human"].mean())
        low, high = found.mean.interval
        held += low <= truth <= high
        values.append(found.mean.value - truth)
        unweighted.append(float(frame[plan.rows]["human"].mean()) - truth)
    assert held >= 0.95 * tables - 4 * np.sqrt(tables * 0.95 * 0.05)
    assert held < tables  # an interval that always holds is too wide
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(tables)
    # More of the second system were drawn, where the judge errs more: without weights they would count for too much.
    assert np.mean(unweighted) > 4 * np.std(unweighted) / np.sqrt(tables)


def test_shares_follow_the_spread_of_the_judges_errors() -> None:
    frame = population(3000, np.random.default_rng(0))
    pilot = label_plan(frame.lazy(), "score", ["row"], system="system", n=100)
    plan = label_plan(
        with_labels(frame, pilot).select("row", "score", "system", "label"),
        "score",
        ["row"],
        system="system",
        n=200,
        human="label",
    )
    share = {"a": 0, "b": 0}
    for one, drawn in zip(plan.strata, plan.drawn, strict=True):
        share[one.systems[0]] += drawn
    assert share["b"] > 1.5 * share["a"]
    assert sum(share.values()) == 200
    assert plan.measured == 100


def test_larger_draw_holds_the_smaller_one_and_a_seed_draws_others() -> None:
    frame = population(2000, np.random.default_rng(1)).lazy()
    small = label_plan(frame, "score", ["row"], n=50, simple=True)
    large = label_plan(frame, "score", ["row"], n=200, simple=True)
    other = label_plan(frame, "score", ["row"], n=50, simple=True, seed=1)
    assert set(small.rows) < set(large.rows)
    assert len(set(small.rows) & set(other.rows)) < 10
    assert small.rows.tolist() != sorted(small.rows.tolist())  # the first rows of the file are a sample, too


@settings(max_examples=40, deadline=None)
@given(
    scores=st.lists(st.one_of(st.none(), st.sampled_from([1.0, 2.0, 3.0]), st.floats(0, 10)), min_size=1, max_size=200),
    systems=st.integers(1, 9),
    n=st.integers(1, 300),
)
@example([None] * 5 + [1.0], 1, 6)
@example([None] * 195 + [1.0] * 5, 1, 60)
def test_strata_hold_each_row_once_and_get_labels_enough(scores: list[float | None], systems: int, n: int) -> None:
    f = np.array([np.nan if one is None else one for one in scores])
    code = np.arange(len(f)) % systems
    found = strata(f, (code.astype(np.int64), [f"s{k}" for k in range(systems)]), None, n)
    assert sorted(np.concatenate([one.rows for one in found]).tolist()) == list(range(len(f)))
    sizes = np.array([len(one.rows) for one in found])
    drawn = allocate(sizes, np.ones(len(found)), n)
    assert (drawn <= sizes).all()
    assert (drawn >= np.minimum(sizes, LEAST)).all()
    assert drawn.sum() == min(len(f), max(n, int(np.minimum(sizes, LEAST).sum())))
    if len(found) > 1:
        assert n * sizes.min() / len(f) >= LEAST * 0.99  # none is thin before labels are seen


def test_number_of_labels_for_a_width_gives_it() -> None:
    frame = population(5000, np.random.default_rng(2))
    plan = label_plan(frame.lazy(), "score", ["row"], system="system", within=0.15)
    assert plan.needed == len(plan.rows)
    at = {one.labels: one.with_judge for one in plan.precision}
    assert at[plan.needed] <= 0.15
    assert at[30] > 0.15
    assert label_plan(frame.lazy(), "score", ["row"], within=1e-6).needed is None


def test_rows_picked_by_hand_are_refused_as_a_sample() -> None:
    frame = population(300, np.random.default_rng(3))
    plan = label_plan(frame.lazy(), "score", ["row"], n=40, simple=True)
    good = estimate(with_labels(frame, plan), "score", "label")
    worst = frame.sort("score", nulls_last=True)["row"].head(10).to_numpy()
    extra = pl.DataFrame({"row": worst, "hand": ["lowest"] * 10})
    table = (
        with_labels(frame, plan)
        .join(extra.lazy(), on="row", how="left")
        .join(frame.lazy().select("row", "human"), on="row", how="left")
        .sort("row")
        .with_columns(
            label=pl.when(pl.col("hand").is_not_null()).then("human").otherwise("label"),
            **{design_column("picked"): pl.coalesce(design_column("picked"), "hand")},
        )
    )
    both = set(worst) & set(plan.rows.tolist())
    mixed = estimate(table, "score", "label")
    assert mixed.overall.mean.value == pytest.approx(good.overall.mean.value)
    assert any(f"{10 - len(both)} labels are left out" in note and "lowest" in note for note in mixed.notes)
    with pytest.raises(SpecError, match="No label is of a row that was drawn at random: 10 lowest"):
        estimate(
            table.with_columns(
                label=pl.when(pl.col("hand").is_not_null()).then("label"),
                **{design_column("picked"): pl.lit("lowest")},
            ),
            "score",
            "label",
        )


def test_rows_without_their_label_are_told_and_weigh_on_the_labelled_ones() -> None:
    frame = population(1000, np.random.default_rng(4))
    plan = label_plan(frame.lazy(), "score", ["row"], system="system", n=100)
    part = estimate(with_labels(frame, plan, first=60), "score", "label")
    assert part.overall.labels + part.overall.labels_unread == 60
    assert any("40 rows of the random sample have no label" in note for note in part.notes)
    low, high = part.overall.mean.interval
    assert low < frame["human"].mean() < high
    grown = pl.concat([with_labels(frame, plan).collect(), population(50, np.random.default_rng(5)).drop("human")],
                      how="diagonal_relaxed")  # fmt: skip
    notes = estimate(grown.lazy(), "score", "label").notes
    assert any("drawn from 1,000 rows, and 1,050 are judged now" in note for note in notes)


def test_mistakes_are_told_together() -> None:
    frame = pl.DataFrame({"row": [1, 1], "score": [1.0, 2.0]}).lazy()
    with pytest.raises(SpecError, match="--n 0 is not allowed") as caught:
        label_plan(frame, "score", ["row"], n=0, within=-1.0)
    assert len(caught.value.problems) == 3
    with pytest.raises(SpecError, match="does not name a row"):
        label_plan(frame, "score", ["row"])
