"""The parts of made-up report pages: cards, systems, judge, rows, training, run."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from scorer.report.page.data import (
    Calibration,
    Cell,
    Confusion,
    Curve,
    ErrorCount,
    Histogram,
    Interval,
    Judge,
    Pair,
    RunFacts,
    Scatter,
    Series,
    Statistic,
    System,
    Systems,
    Training,
    Where,
)
from scorer.report.page.row_list import Card, RowList, Rows, Tab, Text, Verdict

_PROSE = (
    "the report lists three reasons why prices rose in spring and the model names two of them correctly before it adds "
    "a claim that the source does not support so a careful reader would mark the answer down for its last sentence"
)


_WORDS = _PROSE.split(" ")


def interval(value: float, half: float, n: int) -> Interval:
    """A value with a symmetric interval."""
    return Interval(value, value - half, value + half, n)


def prose(draw: Random, words: int) -> str:
    return " ".join(draw.choices(_WORDS, k=words)).capitalize() + "."


def card(at: int, systems: Sequence[str], task: str, texts: str | None, draw: Random) -> Card:
    score = float(draw.choice([1, 2, 3, 3, 4, 4, 5]))
    human = float(min(max(score + draw.choice([-2, -1, 0, 0, 0, 1]), 1), 5)) if at % 2 else None
    picked = [("random", "high", "low", "lowest", "highest")[at % 5], *(["lowest"] if at == 20 else [])]
    return Card(
        id=f"{at % 2}:{at}",
        shard=("data/a.parquet", "data/b.parquet")[at % 2],
        row=at,
        key=f"item-{at:04d}",
        system=systems[at % len(systems)],
        task=task,
        item=f"item-{at // len(systems)}",
        score=score,
        human=human,
        error=None,
        texts={
            "prompt": Text("Summarise the report in two sentences.\n\n" + prose(draw, 60)),
            "generation": Text(texts or prose(draw, draw.choice([20, 60, 420]))),
            "reference": Text(prose(draw, 18)),
        },
        verdicts=[Verdict("score", f"{score:g}", Text(prose(draw, 25)), Text(f"Score: {score:g}"))],
        facts={"tokens in": "1,204", "tokens out": "61", "cost": "$0.00021"},
        picked=picked,
        weight=80.5 if "random" in picked else None,
    )


def some(cards: Sequence[Card], at: int, count: int, where: str | None) -> Rows:
    return Rows(count, [card.id for card in cards[at % max(len(cards), 1) :: 13]][: min(count, 4)], where)


def systems_panel(systems: Sequence[str], cards: Sequence[Card], draw: Random) -> Systems:
    means = sorted((draw.uniform(2.2, 4.4) for _ in systems), reverse=True)
    spans = [(mean - 0.11, mean + 0.11) for mean in means]
    listed = []
    for at, (system, mean) in enumerate(zip(systems, means, strict=True)):
        near = [other for other, (low, high) in enumerate(spans) if low <= spans[at][1] and spans[at][0] <= high]
        listed.append(
            System(
                name=system,
                score=interval(mean, 0.11, 805),
                rank=(near[0] + 1, near[-1] + 1),
                tied=[systems[other] for other in near if other != at],
                acceptable=interval(min(mean / 5, 1), 0.03, 805),
                unscored=at,
                mean_cost_usd=0.00065,
                rows=some([card for card in cards if card.system == system], 0, 805, f"model = '{system}'"),
            )
        )
    pairs = [
        Pair(
            a,
            b,
            interval(means[x] - means[y], 0.12, 805),
            [
                (one.id, two.id)
                for one, two in zip(
                    [c for c in cards if c.system == a], [c for c in cards if c.system == b], strict=False
                )
            ],
        )
        for x, a in enumerate(systems)
        for y, b in enumerate(systems)
        if x < y
    ]
    edges = [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    histograms = [
        _histogram(edges, len(systems) * 805, None, None, cards, draw),
        *(_histogram(edges, 805, system, None, cards, draw) for system in systems),
    ]
    return Systems(
        score="score",
        scale=(1, 5),
        systems=listed,
        pairs=pairs,
        histograms=histograms,
        withheld=None,
        interval="95 % intervals from 1,000 bootstrap resamples of the items; ranks hold for all systems together.",
    )


def _histogram(
    edges: Sequence[float], n: int, system: str | None, task: str | None, cards: Sequence[Card], draw: Random
) -> Histogram:
    shares = [draw.random() for _ in edges[1:]]
    counts = [int(n * share / sum(shares)) for share in shares]
    rows = [
        some(cards, at, count, f"score between {edges[at]:g} and {edges[at + 1]:g}") for at, count in enumerate(counts)
    ]
    return Histogram(edges, counts, rows, system, task)


def where_panel(systems: Sequence[str], tasks: Sequence[str], cards: Sequence[Card], draw: Random) -> Where:
    cells = [
        Cell(
            system,
            task,
            interval(draw.uniform(1.8, 4.6), 0.2, 161),
            Rows(
                161,
                [c.id for c in cards if c.system == system and c.task == task],
                f"model = '{system}' and task = '{task}'",
            ),
        )
        for system in systems
        for task in tasks
        if (len(system) + len(task)) % 11
    ]
    return Where(list(systems), list(tasks), cells)


def judge_panel(cards: Sequence[Card], draw: Random) -> Judge:
    values = ["1", "2", "3", "4", "5"]
    return Judge(
        agreement=[
            Statistic(
                "Pearson, all rows", interval(0.71, 0.08, 240), "How far scores and human values lie on one line."
            ),
            Statistic(
                "Kendall, within items",
                interval(0.58, 0.11, 40),
                "Whether the judge orders the answers to one question as people do.",
            ),
        ],
        ceiling=Statistic(
            "People with each other", interval(0.78, 0.05, 240), "The most that a judge can be expected to reach."
        ),
        confusion=Confusion(
            "human",
            values,
            values,
            [
                [
                    some(
                        cards,
                        h + j,
                        max(0, 40 - 15 * abs(h - j)) + draw.randrange(4),
                        f"human = {h + 1} and score = {j + 1}",
                    )
                    for j in range(5)
                ]
                for h in range(5)
            ],
        ),
        calibration=[
            Calibration(at, interval(0.8 * at + 0.5, 0.2, 48), some(cards, at, 48, f"score = {at}"))
            for at in range(1, 6)
        ],
        bias=[
            Statistic("Length", interval(0.0021, 0.0009, 4830), "Points per 1,000 characters more."),
            Statistic("Own family", interval(-0.0002, 0.0007, 1610), "Points more for generations of its own family."),
        ],
        length=Scatter([200, 600, 1000, 1400, 2200, 3600], [interval(3 + at / 8, 0.1, 805) for at in range(6)]),
        notes=["240 rows have human values."],
    )


def rows_panel(cards: Sequence[Card]) -> RowList:
    titles = {
        "random": "Random",
        "high": "Judge too high",
        "low": "Judge too low",
        "flips": "Flips",
        "lowest": "Lowest",
        "highest": "Highest",
    }
    tabs = []
    for name, title in titles.items():
        ids = [card.id for card in cards if name in card.picked]
        tabs.append(
            Tab(
                name,
                title,
                Rows(len(ids) * 7, ids, f"picked = '{name}'"),
                "None of this kind: the judge was asked in one order.",
            )
        )
    return RowList(tabs, cards, "340 more rows are in the results, not in this page.")


def training_panel(cards: Sequence[Card]) -> Training:
    steps = [500, 1000, 2000, 4000, 8000]
    curves = [
        Curve(
            mix,
            steps,
            [interval(2.5 + up * at, 0.12, 400) for at in range(5)],
            [some(cards, at, 400, f"step = {step}") for at, step in enumerate(steps)],
        )
        for mix, up in (("half code", 0.3), ("no code", 0.22))
    ]
    return Training("step", curves, 0.05, ["Intervals are over items; they know nothing of the training seed."])


def run_facts(systems: Sequence[str], cards: Sequence[Card]) -> RunFacts:
    at = [60.0 * minute for minute in range(40)]
    return RunFacts(
        errors=[
            ErrorCount(
                "Refused",
                some(cards, 3, 38, "error = 'Refused'"),
                "The response was filtered: content_filter (self_harm).",
            ),
            ErrorCount("Truncated", Rows(3, [], "error = 'Truncated'"), "Stopped at max_output_tokens = 64."),
        ],
        unread=[(system, Interval(0.005 * at_, 0.0, 0.01 * at_ + 0.004, 805)) for at_, system in enumerate(systems)],
        totals={
            "tokens in": "5,815,320",
            "tokens out": "294,630",
            "cost": "$3.14",
            "requests": "4,871",
            "time": "39 min",
        },
        series=[
            Series("Rows", "rows a second", at, [2.0 + (minute % 7) / 10 for minute in range(40)]),
            Series("Cost", "USD an hour", at, [4.5 + (minute % 5) / 10 for minute in range(40)]),
        ],
    )
