"""Bradley-Terry strengths of systems from pairwise preferences, with intervals and ranks."""

from __future__ import annotations

import numpy as np
import polars as pl

from scorer.analysis.bootstrap import BOOTSTRAP, Bootstrap, Resamples
from scorer.analysis.columns import take
from scorer.analysis.correlation import Codes, Floats
from scorer.analysis.rank_table import interval_columns, rank_columns
from scorer.analysis.ranks import Standing, ranked
from scorer.errors import SpecError


def bradley_terry(
    frame: pl.LazyFrame,
    a: str,
    b: str,
    preference: str,
    *,
    item: str | None = None,
    bootstrap: Bootstrap = BOOTSTRAP,
) -> pl.DataFrame:
    """Strengths from pairwise verdicts, best first.

    Columns: rank, rank_last, system, strength, low, high, win_rate, comparisons.

    `a` and `b` name the two systems of a row, `preference` is that for a in [0, 1]; a tie is half a win for each. The
    strengths are natural log-odds about their mean: a beats b with probability 1 / (1 + exp(strength b - strength a)).
    Raises SpecError for columns that cannot serve, preferences outside [0, 1], and where no finite strengths exist:
    some systems never lost to, or never met, the others.
    Source: Bradley and Terry (1952); the iteration and the condition: Hunter (2004), "MM algorithms for generalized
    Bradley-Terry models", Annals of Statistics 32(1), equation 3 and assumption 1.
    """
    if a == b:
        raise SpecError([f"Column {a} is named for both sides; name the column of the other system."])
    columns = take(frame, [preference], [name for name in (a, b, item) if name])
    values = columns.floats(preference)
    read = ~np.isnan(values)
    if ((values[read] < 0) | (values[read] > 1)).any():
        raise SpecError([f"Column {preference} leaves [0, 1]; it must be the preference for {a}, 0.5 for a tie."])
    both = pl.concat([columns.names(a).cast(pl.String), columns.names(b).cast(pl.String)]).cast(pl.String)
    systems = both.unique().sort().to_list()
    place = {name: number for number, name in enumerate(systems)}
    code = np.array([place[name] for name in both.to_list()], dtype=np.int64).reshape(2, -1)
    count = len(systems)
    kept = read & (code[0] != code[1])
    win = np.where(kept, values, 0.0)
    lose = np.where(kept, 1.0 - values, 0.0)
    forward, backward = code[0] * count + code[1], code[1] * count + code[0]

    wins = np.bincount(forward, win, minlength=count**2) + np.bincount(backward, lose, minlength=count**2)
    table = wins.astype(np.float64).reshape(1, count, count)
    strength = _strengths(table)[0]
    if np.isnan(strength).any():
        raise SpecError(
            ["No finite strengths exist: some systems never lost to the others, or never met them; add comparisons."]
        )
    drawn = bootstrap.draw(columns.coded(item))
    draws, items = np.empty((0, count)), np.zeros(count, dtype=np.int64)
    met = table[0] + table[0].T
    influence = np.empty((0, count))
    if drawn:
        items += drawn.items
        resampled = drawn.cells(forward, count**2, win) + drawn.cells(backward, count**2, lose)
        draws = _strengths(resampled.reshape(-1, count, count))
        influence = _pulls(strength, met, code[:, kept], values[kept], drawn, drawn.cluster[kept])
    # A strength has no ends to its scale, so a lead without any spread proves nothing.
    standing = Standing(strength, influence, items, np.zeros(count, dtype=np.int64), np.inf)
    return pl.DataFrame(
        {
            **rank_columns(ranked([standing], drawn)[0], systems),
            "strength": strength,
            **interval_columns(strength, draws, items, drawn, is_share=False),
            "win_rate": table[0].sum(axis=1) / met.sum(axis=1),
            "comparisons": np.round(met.sum(axis=1)).astype(np.int64),
        }
    ).sort(-pl.col("strength"), "system")


def _pulls(strength: Floats, met: Floats, code: Codes, values: Floats, drawn: Resamples, cluster: Codes) -> Floats:
    """Clusters x systems: by how much each cluster's verdicts move the strengths, by one step of Newton's method."""
    count, clusters = len(strength), drawn.weights.shape[1]
    chance = 1 / (1 + np.exp(strength[None, :] - strength[:, None]))
    weight = met * chance * (1 - chance)
    information = np.diag(weight.sum(axis=1)) - weight
    beyond = values - chance[code[0], code[1]]
    score = np.bincount(cluster * count + code[0], beyond, minlength=clusters * count)
    score = score - np.bincount(cluster * count + code[1], beyond, minlength=clusters * count)
    pulls: Floats = score.reshape(clusters, count) @ np.linalg.pinv(information, rcond=1e-10, hermitian=True)
    return pulls


def _strengths(wins: Floats) -> Floats:
    """Log-strengths of tables of wins (tables x winner x loser), about their mean; NaN where none are finite."""
    tables, count, _ = wins.shape
    reach = (wins > 0) | np.eye(count, dtype=bool)
    for _ in range(count.bit_length()):
        reach = (reach.astype(np.float32) @ reach.astype(np.float32)) > 0
    exists = reach.all(axis=(1, 2))
    met = wins + wins.transpose(0, 2, 1)
    won = wins.sum(axis=2)
    p = np.ones((tables, count))
    p[~exists] = np.nan
    for _ in range(2000):
        with np.errstate(invalid="ignore", divide="ignore"):
            new = won / (met / (p[:, :, None] + p[:, None, :])).sum(axis=2)
            new /= np.exp(np.log(new).mean(axis=1, keepdims=True))
        change = np.abs(np.log(new[exists] / p[exists])).max(initial=0.0)
        p = new
        if change < 1e-9:
            break
    p[~exists] = np.nan
    strengths: Floats = np.log(p)
    return strengths
