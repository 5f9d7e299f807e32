"""The settings of a simulated run by its seed: run file, input, judge and events."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.output import ledger
from scorer.rehearsal.config import RehearsalConfig

OUT, SHARDS = "out", "in"
PROMPT = "Rate the answer [row:{id}] from 1 to 100.\n\n{response}"
MAX_OUTPUT = 32
OUTAGES = ("refused", "reset", "blackhole", "500", "503", "529", "html")


@dataclass(frozen=True, slots=True)
class Event:
    """An event after `at` good answers of the judge: a method of `SimulatedRun` and its arguments."""

    at: int
    name: str
    arguments: tuple[Any, ...] = ()

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{one:.1f}" if isinstance(one, float) else str(one) for one in self.arguments)])


@dataclass(frozen=True, slots=True)
class Setting:
    """The settings of one run. `texts` has the texts of the rows and `kinds` their fates, by id."""

    seed: int
    concurrency: int
    flush_rows: int
    flush_s: float
    requests_per_minute: int
    tokens_per_minute: int
    timeout_s: float
    retries: int
    price: tuple[float, float]
    """USD per million tokens of input and of output."""
    caps: Mapping[str, float]
    rotate_bytes: int
    container: bool
    """Every process has the same pid."""
    dies_at_start: bool
    """The second crash comes while the run that the first one ended is opened again."""
    shards: Mapping[str, bytes]
    texts: Mapping[str, str | None]
    kinds: Mapping[str, str]
    config: RehearsalConfig
    events: tuple[Event, ...]
    topics: Mapping[str, str] = field(default_factory=dict)
    """The topic of each row by id, where rows share topics; else empty."""
    lie: str = ""
    """The kind of wrong usage that the judge reports (wrong_usage.py)."""

    twice: float = 0.0
    """The share of replies that are sent twice."""

    def topic(self, row: str) -> str:
        return self.topics.get(row, row)

    @property
    def rows_under_way(self) -> int:
        """The most rows that the engine has in flight."""
        return 2 * self.concurrency + 64

    @property
    def pico(self) -> tuple[int, int]:
        """The price in pico-dollars per token."""
        return round(self.price[0] * 10**6), round(self.price[1] * 10**6)

    def run_file(self, caps: Mapping[str, float]) -> dict[str, Any]:
        """The run file with the current caps."""
        return {
            "input": {"shards": [SHARDS], "id": "id"},
            "judge": {
                "kind": "rating",
                "prompt": PROMPT.replace("{id}", "{topic}") if self.topics else PROMPT,
                "scale": list(self.config.scale),
                "dedupe": bool(self.topics),
            },
            "model": {
                "name": "simulated",
                "base_url": "http://127.0.0.1:1/v1",
                "max_output_tokens": MAX_OUTPUT,
                "timeout_s": self.timeout_s,
                "retries": self.retries,
                "price": {"input": self.price[0], "output": self.price[1]},
            },
            "limits": {
                "requests_per_minute": self.requests_per_minute,
                "tokens_per_minute": self.tokens_per_minute,
                "concurrency": self.concurrency,
                "max_failed_share": 1.0,
                **caps,
            },
            "output": {"path": OUT, "flush_rows": self.flush_rows, "flush_s": self.flush_s},
        }


def drawn(seed: int) -> Setting:
    """The settings of a seed."""
    draw = Random(seed)
    texts, kinds, shards = _input(draw)
    requests = draw.choice([300, 900, 1800, 3000])
    tokens = requests * draw.choice([60, 100, 200])
    price = (draw.choice([0.15, 2.5]), draw.choice([0.6, 10.0]))
    dies_at_start = draw.random() < 0.3
    return Setting(
        seed=seed,
        concurrency=draw.choice([4, 8, 16, 32]),
        flush_rows=draw.choice([10, 40, 80]),
        flush_s=draw.choice([5.0, 60.0, 60.0]),
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        timeout_s=draw.choice([10.0, 30.0]),
        retries=draw.choice([3, 6]),
        price=price,
        caps=_caps(draw, len(texts), price[0]),
        rotate_bytes=draw.choice([1500, ledger.ROTATE_BYTES]),
        container=draw.random() < 0.5,
        dies_at_start=dies_at_start,
        shards=shards,
        texts=texts,
        kinds=kinds,
        config=_judge(draw, requests, tokens),
        events=_events(draw, sum(kind == "plain" for kind in kinds.values()), 1 if dies_at_start else 2),
        twice=draw.choice([0.0, 0.01, 0.1, 1.0]),
    )


def _input(draw: Random) -> tuple[dict[str, str | None], dict[str, str], dict[str, bytes]]:
    """At least 300 rows in three shards or four, one of them nearly empty."""
    texts: dict[str, str | None] = {}
    kinds: dict[str, str] = {}
    shards: dict[str, bytes] = {}
    sizes = [draw.randint(60, 130) for _ in range(draw.randint(1, 2))]
    sizes += [draw.choice([0, 1, 2]), max(60, 300 - sum(sizes)) + draw.randint(0, 20)]
    for number, size in enumerate(sizes):
        ids = [f"s{number}r{row}" for row in range(size)]
        for name in ids:
            kind = kinds[name] = draw.choices(["plain", "poison", "refuse", "null"], [96, 1, 1, 2])[0]
            text = draw.choice(["short", "words and more words ", "grüße 漢字 ", ""]) * draw.randint(1, 12)
            texts[name] = None if kind == "null" else text + {"plain": ""}.get(kind, kind.upper())
        columns = {"id": pa.array(ids, pa.string()), "response": pa.array([texts[i] for i in ids], pa.string())}
        file = io.BytesIO()
        pq.write_table(pa.table(columns), file, row_group_size=draw.choice([20, 64, 1000]))
        shards[f"{SHARDS}/part-{number}.parquet"] = file.getvalue()
    return texts, kinds, shards


def _caps(draw: Random, rows: int, input_usd: float) -> dict[str, float]:
    """None, or some that stop the run a few times until they are raised, or some that never do."""
    kind = draw.choice(["none", "usd", "tokens", "both"])
    tokens = rows * 90 * draw.choice([0.6, 1.5, 4.0])
    caps: dict[str, float] = {}
    if kind in ("usd", "both"):
        caps["max_usd"] = tokens * input_usd / 10**6
    if kind in ("tokens", "both"):
        caps["max_tokens"] = int(tokens)
    return caps


def _judge(draw: Random, requests: int, tokens: int) -> RehearsalConfig:
    def sometimes(most: float) -> float:
        return draw.choice([0.0, draw.uniform(0.0, most)])

    capacity = draw.choice([None, None, 6])
    return RehearsalConfig(
        requests_per_minute=requests,
        tokens_per_minute=tokens,
        window=draw.choice(["bucket", "sliding"]),
        charge=draw.choice(["reserve", "reserve", "actual"]),
        latency_median_s=draw.choice([0.1, 0.3, 1.0]),
        latency_sigma=draw.choice([0.2, 0.7]),
        capacity=capacity,
        fault_500=sometimes(0.04),
        fault_503=sometimes(0.04),
        fault_reset=sometimes(0.02),
        fault_cut=sometimes(0.02),
        fault_truncate=sometimes(0.02),
        fault_hang=draw.choice([0.0, 0.01, 0.02]),
        # A hang keeps its place: long ones would fill a judge of few places for the rest of the run.
        hang_s=draw.choice([5.0, 600.0]) if capacity is None else 5.0,
        fault_html=sometimes(0.02),
        fault_error_200=sometimes(0.02),
        fault_prose=sometimes(0.03),
        fault_null=sometimes(0.02),
        fault_slow=sometimes(0.03),
        slow_s=draw.choice([3.0, 20.0]),
        poison="POISON",
        refuse="REFUSE",
        scale=(1, 100),
        cached_share=draw.choice([None, 0.5]),
    )


def _events(draw: Random, rows: int, crashes: int) -> tuple[Event, ...]:
    """Three outages, `crashes` or one more, a change of limits or two, and perhaps what else goes wrong."""
    events: list[Event] = []

    def add(name: str, *arguments: Any) -> None:
        events.append(Event(int(rows * draw.uniform(0.03, 0.9)), name, arguments))

    for _ in range(3):
        add("outage", draw.choice(OUTAGES), draw.uniform(1, draw.choice([10, 60])))
    for _ in range(draw.choice([crashes, crashes, crashes + 1])):
        add("crash")
    for _ in range(draw.choice([1, 1, 2])):
        add("limits", draw.choice([0.3, 0.5, 0.8, 1.0, 2.0]))
    if draw.random() < 0.5:
        kind = draw.choice(["429", "429_bare", "429_bare", "429_date"])
        add("storm", kind, draw.uniform(1, 20), draw.choice([0.0, 2.0, 20.0, 86_400.0]))
    if draw.random() < 0.3:
        add("lies", draw.uniform(1, 20))
    if draw.random() < 0.2:
        add("disk_full", draw.uniform(1, 60))
    if draw.random() < 0.2:
        add("disk_failing", draw.randint(1, 3))
    if draw.random() < 0.3:
        add("disk_slow", draw.uniform(1, 40))
    if draw.random() < 0.5:
        add("signals", draw.randint(1, 5), draw.choice([0.0, 0.05, 1.0, 3.0]))
    return tuple(sorted(events, key=lambda event: event.at))
