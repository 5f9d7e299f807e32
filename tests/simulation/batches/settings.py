"""The settings of a simulated run through batches by its seed: run file, input, provider and what kills it."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from scorer.rehearsal.config import RehearsalConfig

OUT, SHARDS = "out", "in"
PROMPT = "Rate the answer [row:{id}] from 1 to 100.\n\n{response}"
MAX_OUTPUT = 32
KINDS = ("poison", "refuse", "null", "invalid")
"""Rows that get an error of their own, or whose line fails a whole file."""


@dataclass(frozen=True, slots=True)
class Setting:
    """The settings of one run. `texts` are the texts of the rows and `kinds` their fates, by id.

    `lives` is the number of starts that may be killed or stopped; the ones after it are left in peace. `deadline_s` is
    after how many seconds what is out is asked online.
    """

    seed: int
    provider: Literal["openai", "anthropic"]
    price: tuple[float, float]
    caps: Mapping[str, float]
    batch: Mapping[str, Any]
    samples: int
    attempts: int
    retries: int
    flush_rows: int
    lives: int
    deadline_s: float | None
    shards: Mapping[str, bytes]
    texts: Mapping[str, str | None]
    kinds: Mapping[str, str]
    config: RehearsalConfig

    @property
    def pico(self) -> tuple[int, int]:
        """The online price in pico-dollars per token; that of a batch is half of it."""
        return round(self.price[0] * 10**6), round(self.price[1] * 10**6)

    def run_file(self, caps: Mapping[str, float], deadline: str | None) -> dict[str, Any]:
        """The run file with the current caps."""
        return {
            "input": {"shards": [SHARDS], "id": "id"},
            "judge": {
                "kind": "rating",
                "prompt": PROMPT,
                "scale": list(self.config.scale),
                "samples": self.samples,
                "attempts": self.attempts,
            },
            "model": {
                "provider": self.provider,
                "name": "simulated",
                "base_url": "http://127.0.0.1:1/v1",
                "max_output_tokens": MAX_OUTPUT,
                "retries": self.retries,
                "temperature": 1.0 if self.samples > 1 else 0.0,
                "price": {"input": self.price[0], "output": self.price[1]},
                "mode": "batch",
                "batch": dict(self.batch),
            },
            "limits": {"concurrency": 8, "max_failed_share": 1.0, **caps}
            | ({"deadline": deadline} if deadline else {}),
            "output": {"path": OUT, "flush_rows": self.flush_rows, "flush_s": 5.0},
        }


def drawn(seed: int) -> Setting:
    """The settings of a seed."""
    draw = Random(f"batches {seed}")
    provider: Literal["openai", "anthropic"] = draw.choice(["openai", "openai", "anthropic"])
    texts, kinds, shards = _input(draw)
    lag = draw.choice([0.0, 0.0, 20.0, 200.0])
    price = (draw.choice([0.5, 2.0]), draw.choice([2.0, 10.0]))
    return Setting(
        seed=seed,
        provider=provider,
        price=price,
        caps=_caps(draw, len(texts), price),
        batch={
            "max_requests": draw.choice([7, 20, 50]),
            "poll_s": draw.choice([5.0, 30.0]),
            "grace_s": lag + draw.choice([30.0, 300.0]),
            "min_requests": draw.choice([1, 3, 10]),
            "enqueued_tokens": draw.choice([0, 0, 1200]),
        },
        samples=draw.choice([1, 1, 1, 2]),
        attempts=draw.choice([1, 3]),
        retries=6,
        flush_rows=draw.choice([5, 40]),
        lives=draw.choice([4, 8, 12]),
        deadline_s=draw.choice([None, None, None, 100.0, 600.0]),
        shards=shards,
        texts=texts,
        kinds=kinds,
        config=_config(draw, lag, provider),
    )


def _input(draw: Random) -> tuple[dict[str, str | None], dict[str, str], dict[str, bytes]]:
    texts: dict[str, str | None] = {}
    kinds: dict[str, str] = {}
    shards: dict[str, bytes] = {}
    odd = draw.choice([0.0, 0.02, 0.06])
    for number in range(draw.choice([1, 2, 3])):
        ids = [f"s{number}r{row}" for row in range(draw.choice([1, 10, 60]))]
        for id in ids:
            kinds[id] = kind = draw.choice(KINDS) if draw.random() < odd else "plain"
            said = "word " * draw.randint(1, 40)
            texts[id] = None if kind == "null" else said if kind == "plain" else f"{said}{kind.upper()}"
        file = io.BytesIO()
        columns = {"id": pa.array(ids, pa.string()), "response": pa.array([texts[id] for id in ids], pa.string())}
        pq.write_table(pa.table(columns), file)
        shards[f"{SHARDS}/part-{number}.parquet"] = file.getvalue()
    return texts, kinds, shards


def _caps(draw: Random, rows: int, price: tuple[float, float]) -> dict[str, float]:
    """Caps that stop most runs that have one."""
    kind = draw.choice(["", "", "usd", "tokens", "both"])
    share = draw.choice([0.4, 1.0, 4.0])
    caps: dict[str, float] = {}
    if kind in ("usd", "both"):
        caps["max_usd"] = share * rows * (120 * price[0] + 10 * price[1]) / 10**6 / 2
    if kind in ("tokens", "both"):
        caps["max_tokens"] = max(1, int(share * rows * 130))
    return caps


def _config(draw: Random, lag: float, provider: str) -> RehearsalConfig:
    def sometimes(most: float) -> float:
        return draw.choice([0.0, 0.0, draw.uniform(0.0, most)])

    batch = {
        "validate_s": draw.choice([0.0, 5.0]),
        "work_s": draw.choice([1.0, 60.0, 400.0]),
        "finalize_s": draw.choice([0.0, 5.0]),
        "cancel_s": draw.choice([0.0, 10.0]),
        "release_s": draw.choice([0.0, 30.0]),
        "enqueued_tokens": draw.choice([0, 0, 3000]),
        "max_requests": draw.choice([50_000, 15]),
        "clock_s": draw.choice([0.0, -900.0, 900.0]),
        "clock_spread_s": draw.choice([0.0, 5.0]),
        "list_lag_s": lag,
        "create_502": sometimes(0.2),
        "create_504": sometimes(0.1),
        "create_reset": sometimes(0.2),
        "create_hang": sometimes(0.1),
        "create_twice": sometimes(0.2) if provider == "openai" else 0.0,  # without names nobody could know
        "upload_502": sometimes(0.2),
        "upload_reset": sometimes(0.2),
        "busy": sometimes(0.2),
        "fail": sometimes(0.1),
        "token_limit": sometimes(0.2),
        "invalid": "INVALID",
        "invalid_line": draw.choice([True, False]),
        "expire": sometimes(0.3),
        "late_cancel": sometimes(0.8),
        "null_output": sometimes(0.5),
        "drop_metadata": draw.choice([False, False, True]),
        "list_twice": sometimes(0.5),
        "error_lines": sometimes(0.1),
        "status_0_lines": sometimes(0.1),
        "lost_lines": sometimes(0.1),
        "lost_paid_lines": sometimes(0.05),
        "twice_lines": sometimes(0.2),
        "foreign_lines": sometimes(0.1),
        "download_502": sometimes(0.2),
        "download_cut": sometimes(0.2),
        "download_short": sometimes(0.2),
        "names_tier": draw.choice([True, False]),
    }
    return RehearsalConfig(
        latency_median_s=0.3,
        fault_prose=sometimes(0.05),
        fault_null=sometimes(0.03),
        poison="POISON",
        refuse="REFUSE",
        scale=(1, 100),
    ).changed({"batch": batch})
