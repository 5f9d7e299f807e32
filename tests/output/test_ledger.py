"""Promise: the ledger never loses spending and never counts it twice, wherever a crash falls."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clock import inline, run
from support.ledgers import entries, opened
from support.outputs import Crash, Crashing

from scorer.files.local_files import LocalFiles
from scorer.frozen import values
from scorer.output.ledger import Ledger, damaged, totals
from scorer.output.ledger_totals import Totals
from scorer.usage import Usage


async def _one_of_each(folder: str, *, strict: bool = True) -> Ledger:
    """One request known, one cancelled, one unknown, one still in flight, all written."""
    ledger = opened(folder, strict=strict)
    known, cancelled, unknown, _ = (ledger.reserve(100 * n, 1000 * n) for n in (1, 2, 3, 4))
    ledger.settle(known, Usage(60, 5, 20), 650)
    ledger.cancel(cancelled)
    ledger.unknown(unknown)
    await ledger.close()
    return ledger


AFTER = Totals(
    requests=1,
    prompt_tokens=60,
    completion_tokens=5,
    cached_tokens=20,
    pico=650,
    maybe_requests=1,
    maybe_tokens=300,
    maybe_pico=3000,
)


IN_FLIGHT = Totals(maybe_requests=1, maybe_tokens=400, maybe_pico=4000)


def test_ledger_append_writes_one_entry_with_all_changes(folder: str) -> None:
    run(_one_of_each(folder))
    assert entries(folder) == [
        {"total": entries(folder)[0]["total"], "covers": []},
        {
            "intend": [[0, 100, 1000], [1, 200, 2000], [2, 300, 3000], [3, 400, 4000]],
            "settle": [[0, 60, 5, 20, 650], [1, 0, 0, 0, 0]],
            "unknown": [2],
        },
    ]


def test_ledger_without_cap_writes_sums_and_no_entry_for_each_request(folder: str) -> None:
    async def scenario() -> None:
        ledger = await _one_of_each(folder, strict=False)
        await ledger.close()  # nothing changed: nothing is written

    run(scenario())
    assert entries(folder)[1:] == [{"sums": values(AFTER), "open": [1, 400, 4000]}]


@pytest.mark.parametrize("strict", [True, False])
def test_ledger_owner_excludes_and_reader_includes_requests_in_flight(folder: str, strict: bool) -> None:
    ledger = run(_one_of_each(folder, strict=strict))
    assert ledger.totals == AFTER
    assert (ledger.open_tokens, ledger.open_pico) == (400, 4000)
    assert totals(LocalFiles(), folder) == AFTER + IN_FLIGHT
    assert (AFTER.tokens, AFTER.money_pico) == (365, 3650)


@pytest.mark.parametrize("strict", [True, False])
def test_ledger_next_owner_counts_requests_left_open_as_maybe_billed(folder: str, strict: bool) -> None:
    async def scenario() -> None:
        await _one_of_each(folder, strict=strict)
        ledger = opened(folder, "2", strict=strict)
        assert ledger.totals == AFTER + IN_FLIGHT
        assert (ledger.open_tokens, ledger.open_pico) == (0, 0)
        number = ledger.reserve(1, 1)
        ledger.settle(number, Usage(1, 0), 1)
        await ledger.close()
        assert opened(folder, "3").totals == AFTER + IN_FLIGHT + Totals(requests=1, prompt_tokens=1, pico=1)

    run(scenario())
    assert [path.name for path in Path(folder).iterdir()] == ["3"]
    assert entries(folder, "3")[0]["covers"] == ["2"]


def test_ledger_of_a_missing_folder_has_zero_totals(folder: str) -> None:
    assert totals(LocalFiles(), folder) == Totals()
    assert damaged(LocalFiles(), folder) is None


def test_ledger_torn_tail_loses_only_the_last_append(folder: str) -> None:
    async def scenario() -> None:
        ledger = opened(folder)
        first = ledger.reserve(10, 0)
        await ledger.written()
        ledger.settle(first, Usage(7, 1), 0)
        ledger.reserve(20, 0)
        await ledger.close()

    run(scenario())
    path = Path(folder, "1")
    data = path.read_bytes()
    torn = data.rindex(b"\n", 0, -1) + 1
    whole = totals(LocalFiles(), folder)
    before = Totals(maybe_requests=1, maybe_tokens=10)
    for cut in range(torn, len(data)):
        path.write_bytes(data[:cut])
        # The line is whole once its last byte is there; the newline adds nothing.
        assert totals(LocalFiles(), folder) == (whole if cut == len(data) - 1 else before)
        assert damaged(LocalFiles(), folder) is None
        assert run(_reopened(folder)) == (whole if cut == len(data) - 1 else before)
        Path(folder, "2").unlink()


async def _reopened(folder: str) -> Totals:
    return opened(folder, "2").totals


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_ledger_detects_any_flipped_bit(tmp_path_factory: pytest.TempPathFactory, place: int, bit: int) -> None:
    folder = str(tmp_path_factory.getbasetemp() / "flipped")
    if not Path(folder, "1").exists():
        run(_one_of_each(folder))
    path = Path(folder, "1")
    data = bytearray(whole := path.read_bytes())
    place %= len(data)
    data[place] ^= 1 << bit
    path.write_bytes(data)
    # The last byte ends the last line: without it, the line is a torn tail that is whole all the same.
    unnoticed = place == len(data) - 1 or _same_line(whole, bytes(data))
    assert damaged(LocalFiles(), folder) == (None if unnoticed else str(path))
    path.write_bytes(whole)


def _same_line(before: bytes, after: bytes) -> bool:
    """A checksum may change from `a` to `A`: it says the same."""
    return before.lower() == after.lower() and all(
        b[8:] == a[8:] for b, a in zip(before.splitlines(), after.splitlines(), strict=True)
    )


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(4))
def test_ledger_compaction_crash_at_any_step_keeps_totals(folder: str, step: int, *, after: bool) -> None:
    async def scenario() -> None:
        for owner in ("1", "2", "3"):  # three that nobody summed up, as if each had crashed in `open`
            ledger = Ledger(LocalFiles(), folder, owner, offload=inline, strict=True)
            ledger.settle(ledger.reserve(9, 9), Usage(5, 2, 1), 8)
            ledger.reserve(4, 4)
            await ledger.close()
        before = totals(LocalFiles(), folder)
        assert before == Totals(3, 15, 6, 3, 24, 3, 12, 12)
        with pytest.raises(Crash):
            opened(folder, "4", files=Crashing(step, after=after))
        assert totals(LocalFiles(), folder) == before
        assert opened(folder, "5").totals == before
        assert totals(LocalFiles(), folder) == before

    run(scenario())
    assert [path.name for path in Path(folder).iterdir()] == ["5"]
