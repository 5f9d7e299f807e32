"""Promise: a chunk exceeds no bound and no cap, and a row's requests stay together."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scorer.batch.cutting import Cut, Room, Turn, cut
from scorer.batch.types import Bounds, Frame
from scorer.output.chunk_files import ChunkLine

FRAME = Frame(b"[", b",", b"]")
WIDE = Bounds(1000, 10**6)


def turn(row: int, *sizes: int, prompt_tokens: int = 0, tokens: int = 1, pico: int = 1) -> Turn:
    lines = [ChunkLine("a", row, n, 0, bytes(32), tokens, pico) for n in range(len(sizes))]
    return Turn(lines, sizes, prompt_tokens)


TURNS = st.builds(
    lambda sizes, prompt, tokens, pico: turn(0, *sizes, prompt_tokens=prompt, tokens=tokens, pico=pico),
    st.lists(st.integers(1, 9), min_size=1, max_size=3),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
)
LIMIT = st.none() | st.integers(0, 40)


@given(
    turns=st.lists(TURNS, max_size=12),
    requests=st.integers(1, 9),
    size=st.integers(2, 60),
    more=st.tuples(*[LIMIT] * 3),
)
def test_cut_fills_a_chunk_within_every_bound_and_says_which_one_stopped_it(
    turns: list[Turn], requests: int, size: int, more: tuple[int | None, int | None, int | None]
) -> None:
    room = Room(Bounds(requests, size), *more)
    found = cut(turns, room, FRAME)
    rest = turns[len(found.turns) :]
    assert [*found.turns, *rest] == turns
    assert found.over is (rest[0] if rest else None)
    assert (found.full is None) == (not rest)

    def over(chosen: list[Turn]) -> set[str]:
        lines = [line for one in chosen for line in one.lines]
        held = {
            "requests": (len(lines), requests),
            "bytes": (2 + sum(map(sum, (one.sizes for one in chosen))) + len(lines), size),
            "enqueued_tokens": (sum(one.prompt_tokens for one in chosen), more[0]),
            "max_tokens": (sum(line.tokens for line in lines), more[1]),
            "max_usd": (sum(line.pico for line in lines), more[2]),
        }
        return {name for name, (much, most) in held.items() if most is not None and much > most}

    alone = {"requests", "enqueued_tokens"} if len(found.turns) == 1 else set()
    assert not found.turns or over([*found.turns]) <= alone
    if found.full is not None:
        assert found.full in over([*found.turns, *rest[:1]])


def test_cut_keeps_a_row_together_in_a_chunk_that_was_halved_below_it() -> None:
    five, other = turn(0, 1, 1, 1, 1, 1), turn(1, 1)
    room = Room(WIDE).halved(5)
    assert room.bounds == Bounds(2, 10**6)
    assert cut([five, other], room, FRAME) == Cut([five], other, "requests")
    assert room.halved(1).bounds.requests == 1


def test_cut_gives_nothing_where_one_row_exceeds_a_cap_or_the_largest_file() -> None:
    assert cut([turn(0, 10, pico=7)], Room(WIDE, pico=6), FRAME).full == "max_usd"
    assert cut([turn(0, 10, tokens=7)], Room(WIDE, tokens=6), FRAME).full == "max_tokens"
    assert cut([turn(0, 10**6)], Room(WIDE), FRAME) == Cut([], turn(0, 10**6), "bytes")
    assert cut([turn(0, 1, 1, pico=7)], Room(Bounds(1, 99), pico=6), FRAME).full == "max_usd"
