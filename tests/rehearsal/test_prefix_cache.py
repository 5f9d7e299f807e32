"""Promise: a prefix is cached once its writer is answered, for its life since the last use, from a least length on."""

from __future__ import annotations

from random import Random

import orjson
from hypothesis import given
from hypothesis import strategies as st

from scorer.rehearsal.config import RehearsalConfig
from scorer.rehearsal.prefix_cache import BLOCK_TOKENS, PrefixCache
from scorer.rehearsal.simulator import RehearsalJudge

RUBRIC = "rate it. " * 600  # 5,400 characters: 1,350 tokens, ten whole blocks


def cache(life_s: float = 300.0, least: int = 1024) -> PrefixCache:
    return PrefixCache(life_s, least, 4.0)


def test_prefix_is_read_once_its_writer_is_answered_and_until_its_life_ends() -> None:
    kept = cache()
    kept.write(RUBRIC + "one", 0.0, 2.0)
    assert kept.read(RUBRIC + "two", 1.9) == 0
    assert kept.read(RUBRIC + "two", 2.0) == 10 * BLOCK_TOKENS
    assert kept.read(RUBRIC + "two", 301.9) == 10 * BLOCK_TOKENS, "a use renews the life"
    assert kept.read(RUBRIC + "two", 602.0) == 0


def test_prefix_below_the_least_length_is_not_cached() -> None:
    kept = cache(least=2048)
    kept.write(RUBRIC, 0.0, 0.0)
    assert kept.read(RUBRIC, 1.0) == 0


def test_later_writer_neither_hides_nor_delays_a_prefix() -> None:
    kept = cache()
    kept.write(RUBRIC, 0.0, 1.0)
    kept.write(RUBRIC, 0.5, 9.0)
    assert kept.read(RUBRIC, 1.0) == 10 * BLOCK_TOKENS


@given(one=st.text(max_size=60), other=st.text(max_size=60), least=st.sampled_from([1, 128, 1024]))
def test_no_more_is_read_than_two_texts_share(one: str, other: str, least: int) -> None:
    kept = PrefixCache(60.0, least, 0.05)  # a block is 6 characters
    kept.write(one, 0.0, 0.0)
    shared = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    tokens = kept.read(other, 1.0)
    whole = shared // 6 * BLOCK_TOKENS
    assert tokens == (whole if whole >= least else 0)


def test_judge_tells_cached_tokens_in_its_usage() -> None:
    judge = RehearsalJudge(RehearsalConfig(cache_life_s=300.0, latency_median_s=0.0))

    def cached(text: str, now: float) -> int:
        body = {"model": "m", "messages": [{"role": "user", "content": RUBRIC + text}]}
        value: int = orjson.loads(judge.ask("chat", body, now, Random(0)).body)["usage"]["prompt_tokens_details"][
            "cached_tokens"
        ]
        return value

    assert [cached("one", 0.0), cached("two", 1.0), cached("three", 400.0)] == [0, 10 * BLOCK_TOKENS, 0]
