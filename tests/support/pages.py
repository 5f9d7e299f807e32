"""Made-up report pages: a whole one, empty ones, a large one and one with hostile texts. Deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from scorer.report.page.data import (
    Answer,
    Calibration,
    Card,
    Cell,
    Confusion,
    Curve,
    ErrorCount,
    Histogram,
    How,
    Interval,
    Judge,
    Notice,
    Page,
    Pair,
    RowList,
    Rows,
    RunFacts,
    Scatter,
    Series,
    Statistic,
    Strip,
    System,
    Systems,
    Tab,
    Text,
    Training,
    Verdict,
    Where,
)

SYSTEMS = ("atlas-2-72b", "cobalt-large", "finch-8b-instruct", "harbor-13b-chat", "juniper-7b", "mistral-ft-0912")
TASKS = ("summary", "dialogue", "translation", "code review", "open question")
HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    '<img src=x onerror="window.hacked = 1">',
    "\u202egnp.elif\u202c and zero\u200bwidth\u2060 signs \ufeff",
    "\x1b[31mred\x1b[0m \x00 null",
    "]]> --> '\" & &amp; ${x} `y` </style></textarea>",
    "العربية mixed with English, עברית, 日本語, 👩\u200d🚀",
    "$(touch /tmp/pwned) `id` '; drop table rows; --",
    "w" * 300,
    "=1+1",
    " ",
)
RUN_FILE = """[input]
shards = ["data/*.parquet"]

[judge]
kind = "rating"
scale = [1, 5]

[model]
name = "gpt-4o-mini"
"""
_PROSE = (
    "the report lists three reasons why prices rose in spring and the model names two of them correctly before it adds "
    "a claim that the source does not support so a careful reader would mark the answer down for its last sentence"
)
_WORDS = _PROSE.split(" ")


def interval(value: float, half: float, n: int) -> Interval:
    """A value with a symmetric interval."""
    return Interval(value, value - half, value + half, n)


def page(
    systems: Sequence[str] = SYSTEMS, tasks: Sequence[str] = TASKS, cards: int = 60, texts: str | None = None
) -> Page:
    """A complete run of these systems over these tasks. With `texts` every generation is that text."""
    draw = Random(5)
    made = [_card(at, systems, tasks[at % len(tasks)], texts, draw) for at in range(cards)]
    return Page(
        title="Summaries, September",
        written_at="2026-09-14 05:42 UTC",
        population=f"All panels count {len(systems) * 805:,} rows of {len(systems)} systems.",
        left_out=["12 rows without a generation are left out.", "41 rows have no score; they count as “No score”."],
        strip=Strip(
            runs=["out/september"],
            judges=["gpt-4o-mini-2024-07-18, number"],
            finished_at="2026-09-14 05:40 UTC",
            rows_done=len(systems) * 805,
            rows=len(systems) * 805,
            state="complete",
            cost_usd=3.14159,
            maybe_billed_usd=0.02,
            notices=[
                Notice("41 rows have no score; 38 of them are refusals.", "run"),
                Notice("The judge scores long generations higher: +0.21 points per 1,000 characters.", "judge"),
            ],
        ),
        answer=Answer(
            systems=f"{systems[0]} is best: its mean is 0.12 above that of {systems[-1]} [0.03, 0.21].",
            tipping=f"It stays best unless the judge flatters {systems[0]} by more than 0.31 points.",
            judge="The judge agrees with people 0.71 [0.62, 0.78]; people agree with each other 0.78.",
            assumes=["Items are drawn independently of one another.", "Rows without a score are like the others."],
        ),
        systems=_systems(systems, made, draw),
        where=_where(systems, tasks, made, draw),
        judge=_judge(made, draw),
        rows=_rows(made),
        training=_training(made),
        run=_run(systems, made),
        how=How(
            run_file=RUN_FILE,
            prompt="Rate the summary from 1 to 5.\n\n{document}\n\n{summary}\n\nScore:",
            versions={"scorer": "0.2.0", "judge": "gpt-4o-mini-2024-07-18", "seed": "0"},
            assumes=[
                ("Means", "Items are independent."),
                ("Ranks", "All intervals hold together in 95 % of repetitions."),
            ],
        ),
        shards=["data/a.parquet", "data/b.parquet"],
        folders=["out/september"],
    )


def small() -> Page:
    """Few systems and rows, and every panel."""
    return page(SYSTEMS[:2], TASKS[:2], 6)


def two_judges() -> Page:
    """Two runs over the same rows: both means of each system, and where the judges differ."""
    whole = page()
    assert whole.systems
    assert whole.judge
    assert whole.judge.confusion
    assert whole.rows
    both = [
        replace(one, others={"haiku": interval((one.score.value or 0) - 0.3 + at / 10, 0.14, 805)})
        for at, one in enumerate(whole.systems.systems)
    ]
    return replace(
        whole,
        strip=replace(whole.strip, runs=["gpt", "haiku"], judges=["gpt-4o-mini, number", "claude-haiku-4-5, number"]),
        systems=replace(whole.systems, score="gpt.score", systems=both),
        judge=replace(whole.judge, between=[replace(whole.judge.confusion, human="haiku")]),
        rows=RowList(whole.rows.tabs, [replace(card, verdicts=_two(card.score or 0)) for card in whole.rows.cards]),
        folders=["gpt=out/gpt", "haiku=out/haiku"],
    )


def _two(score: float) -> list[Verdict]:
    """The verdicts of both judges, and the samples of one."""
    samples = [Verdict(f"gpt: sample {at}", f"{score:g}", None, Text(f"Score: {score:g}")) for at in range(1, 9)]
    return [Verdict("gpt", f"{score:g}"), *samples, Verdict("haiku", "3", None, Text("I would say\nthat it is a 3."))]


def unlabelled() -> Page:
    """A run that nobody has checked: no human values, one task, one column of scores."""
    whole = page(tasks=TASKS[:1])
    return replace(
        whole,
        answer=replace(
            whole.answer,
            judge="Nobody has checked this judge.",
            command="scorer label out/september -o labels.csv --n 60",
        ),
        judge=None,
        where=None,
        training=None,
        empty={"judge": "No labels: label 60 rows to learn how far the judge can be trusted."},
    )


def one_system() -> Page:
    """A run without a column of systems: the distribution instead of ranks."""
    whole = page(systems=SYSTEMS[:1], tasks=TASKS[:1])
    assert whole.systems
    return replace(
        whole,
        systems=replace(whole.systems, systems=(), pairs=(), histograms=whole.systems.histograms[:1]),
        where=None,
        training=None,
    )


def running() -> Page:
    """A run under way: ranks are withheld."""
    whole = page()
    assert whole.systems
    partly = [replace(one, rank=None, tied=()) for one in whole.systems.systems]
    return replace(
        whole,
        strip=replace(
            whole.strip,
            state="running",
            rows_done=861,
            finished_at=None,
            notices=[Notice("Running: 861 of 4,830 rows, 2 of 6 systems. Ranks are withheld.", "systems")],
        ),
        answer=replace(whole.answer, systems="The run is not finished: 861 of 4,830 rows are scored.", tipping=None),
        systems=replace(whole.systems, systems=partly, withheld="Ranks are withheld until all rows are scored."),
    )


def empty() -> Page:
    """A run that has no finished row."""
    whole = page(cards=0)
    return replace(
        whole,
        population="No row is finished yet.",
        left_out=[],
        strip=replace(whole.strip, state="stopped", rows_done=0, finished_at=None, cost_usd=0.0, notices=[]),
        answer=Answer("No row is finished yet.", None, "Nobody has checked this judge.", []),
        systems=None,
        where=None,
        judge=None,
        rows=None,
        training=None,
        run=RunFacts([], [], {}, []),
        empty={"systems": "No row has a score.", "rows": "No row is finished yet: `scorer run run.toml` goes on."},
    )


def only_errors() -> Page:
    """A run in which every row failed."""
    whole = empty()
    cards = [
        replace(_card(at, SYSTEMS[:1], TASKS[0], None, Random(at)), score=None, error="Refused") for at in range(5)
    ]
    return replace(
        whole,
        answer=Answer("No row has a score: all 4,830 failed.", None, "Nobody has checked this judge.", []),
        rows=RowList(
            [Tab("unread", "No score", Rows(4830, [c.id for c in cards], "error is not null"), "None.")], cards
        ),
        run=RunFacts(
            [ErrorCount("Refused", Rows(4830, [c.id for c in cards], "error = 'Refused'"), "content_filter")],
            [],
            {},
            [],
        ),
    )


def numbers_only() -> Page:
    """As with `--rows 0`: no text of any row."""
    return replace(page(cards=0), rows=None, texts=False, empty={"rows": "This page was written with --rows 0."})


def large() -> Page:
    """The most that a page holds: 60 of 200 systems in 30 tasks, 400 rows with 4 kB in each text."""
    whole = page([f"system-{at:03d}" for at in range(60)], [f"task {at}" for at in range(30)], 400, "long text " * 410)
    assert whole.systems
    assert whole.where
    return replace(whole, systems=replace(whole.systems, hidden=140), where=replace(whole.where, hidden=140))


def hostile() -> Page:
    """Every text that comes from outside is hostile."""
    texts = list(HOSTILE)
    whole = page(texts[:9], texts[:5], 20)
    assert whole.rows
    cards = [
        replace(
            card,
            shard=texts[at % 10],
            key=texts[at % 10],
            error=texts[at % 10] if at % 3 else None,
            texts={
                "prompt": Text(texts[at % 10] * 3),
                texts[(at + 1) % 10]: Text(texts[(at + 2) % 10], texts[at % 10], 12),
            },
            verdicts=[
                Verdict(texts[at % 10], texts[(at + 3) % 10], Text(texts[(at + 4) % 10]), Text(texts[(at + 5) % 10]))
            ],
            facts={texts[at % 10]: texts[(at + 1) % 10]},
        )
        for at, card in enumerate(whole.rows.cards)
    ]
    return replace(
        whole,
        title=texts[0],
        population=texts[1],
        left_out=texts[:3],
        answer=Answer(texts[0] + texts[2], texts[1], texts[3], texts, texts[6]),
        rows=replace(whole.rows, cards=cards),
        how=How(texts[0], texts[2], {texts[1]: texts[4]}, [(texts[0], texts[5])]),
        folders=[texts[6]],
        strip=replace(whole.strip, runs=texts[:3], judges=texts[3:5], notices=[Notice(texts[0], "run")]),
    )


def _prose(draw: Random, words: int) -> str:
    return " ".join(draw.choices(_WORDS, k=words)).capitalize() + "."


def _card(at: int, systems: Sequence[str], task: str, texts: str | None, draw: Random) -> Card:
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
            "prompt": Text("Summarise the report in two sentences.\n\n" + _prose(draw, 60)),
            "generation": Text(texts or _prose(draw, draw.choice([20, 60, 420]))),
            "reference": Text(_prose(draw, 18)),
        },
        verdicts=[Verdict("score", f"{score:g}", Text(_prose(draw, 25)), Text(f"Score: {score:g}"))],
        facts={"tokens in": "1,204", "tokens out": "61", "cost": "$0.00021"},
        picked=picked,
        weight=80.5 if "random" in picked else None,
    )


def _some(cards: Sequence[Card], at: int, count: int, where: str | None) -> Rows:
    return Rows(count, [card.id for card in cards[at % max(len(cards), 1) :: 13]][: min(count, 4)], where)


def _systems(systems: Sequence[str], cards: Sequence[Card], draw: Random) -> Systems:
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
                rows=_some([card for card in cards if card.system == system], 0, 805, f"model = '{system}'"),
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
        _some(cards, at, count, f"score between {edges[at]:g} and {edges[at + 1]:g}") for at, count in enumerate(counts)
    ]
    return Histogram(edges, counts, rows, system, task)


def _where(systems: Sequence[str], tasks: Sequence[str], cards: Sequence[Card], draw: Random) -> Where:
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


def _judge(cards: Sequence[Card], draw: Random) -> Judge:
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
                    _some(
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
            Calibration(at, interval(0.8 * at + 0.5, 0.2, 48), _some(cards, at, 48, f"score = {at}"))
            for at in range(1, 6)
        ],
        bias=[
            Statistic("Length", interval(0.0021, 0.0009, 4830), "Points per 1,000 characters more."),
            Statistic("Own family", interval(-0.0002, 0.0007, 1610), "Points more for generations of its own family."),
        ],
        length=Scatter([200, 600, 1000, 1400, 2200, 3600], [interval(3 + at / 8, 0.1, 805) for at in range(6)]),
        notes=["240 rows have human values."],
    )


def _rows(cards: Sequence[Card]) -> RowList:
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


def _training(cards: Sequence[Card]) -> Training:
    steps = [500, 1000, 2000, 4000, 8000]
    curves = [
        Curve(
            mix,
            steps,
            [interval(2.5 + up * at, 0.12, 400) for at in range(5)],
            [_some(cards, at, 400, f"step = {step}") for at, step in enumerate(steps)],
        )
        for mix, up in (("half code", 0.3), ("no code", 0.22))
    ]
    return Training("step", curves, 0.05, ["Intervals are over items; they know nothing of the training seed."])


def _run(systems: Sequence[str], cards: Sequence[Card]) -> RunFacts:
    at = [60.0 * minute for minute in range(40)]
    return RunFacts(
        errors=[
            ErrorCount(
                "Refused",
                _some(cards, 3, 38, "error = 'Refused'"),
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
