"""Made-up report pages: a whole one, empty ones, a large one and one with hostile texts. Deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from support.page_parts import (
    card,
    interval,
    judge_panel,
    rows_panel,
    run_facts,
    systems_panel,
    training_panel,
    where_panel,
)

from scorer.report.page.data import Answer, ErrorCount, How, Notice, Page, RunFacts, Strip
from scorer.report.page.row_list import RowList, Rows, Tab, Text, Verdict

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


def page(
    systems: Sequence[str] = SYSTEMS, tasks: Sequence[str] = TASKS, cards: int = 60, texts: str | None = None
) -> Page:
    """A complete run of these systems over these tasks. With `texts` every generation is that text."""
    draw = Random(5)
    made = [card(at, systems, tasks[at % len(tasks)], texts, draw) for at in range(cards)]
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
        systems=systems_panel(systems, made, draw),
        where=where_panel(systems, tasks, made, draw),
        judge=judge_panel(made, draw),
        rows=rows_panel(made),
        training=training_panel(made),
        run=run_facts(systems, made),
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
    cards = [replace(card(at, SYSTEMS[:1], TASKS[0], None, Random(at)), score=None, error="Refused") for at in range(5)]
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
