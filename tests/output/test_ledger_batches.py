"""Promise: the ledger counts a provider batch once, at its worst until its lines are settled, whoever opens it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.clock import inline, run

import scorer.output.ledger
from scorer.files.local_files import LocalFiles
from scorer.output.ledger import Ledger, totals
from scorer.output.ledger_totals import Totals
from scorer.output.open_batches import LineBill
from scorer.usage import Usage

NOTHING = Usage(0, 0)


def opened(folder: str, owner: str) -> Ledger:
    ledger = Ledger(LocalFiles(), folder, owner, offload=inline, strict=True)
    ledger.open()
    return ledger


def test_ledger_batch_stays_open_for_the_next_owner_and_counts_once(folder: str) -> None:
    async def scenario() -> None:
        ledger = opened(folder, "1")
        ledger.reserve_batch("n1", 3, 300, 3000)
        await ledger.written()
        ledger = opened(folder, "2")  # the first one was killed
        assert ledger.totals == Totals()
        assert (ledger.open_tokens, ledger.open_pico, ledger.open_batches) == (300, 3000, {"n1"})
        assert totals(LocalFiles(), folder) == Totals(maybe_requests=3, maybe_tokens=300, maybe_pico=3000)
        ledger.settle_lines("n1", [LineBill(0, 100, 1000, Usage(60, 5, 20), 650), LineBill(1, 100, 1000, NOTHING)])
        await ledger.written()
        ledger = opened(folder, "3")
        assert ledger.totals == Totals(1, 60, 5, 20, 650)
        assert (ledger.open_tokens, ledger.open_pico) == (100, 1000)
        ledger.settle_lines("n1", [LineBill(0, 100, 1000, Usage(60, 5, 20), 650)])  # again
        ledger.settle_lines("n1", [LineBill(2, 100, 1000, None)])
        ledger.close_batch("n1")
        ledger.settle_lines("n1", [LineBill(1, 100, 1000, Usage(60, 5), 650)])  # closed
        await ledger.close()
        ledger = opened(folder, "4")
        assert ledger.totals == Totals(1, 60, 5, 20, 650, 1, 100, 1000)
        assert (ledger.open_tokens, ledger.open_pico, ledger.open_batches) == (0, 0, set())

    run(scenario())


def test_ledger_refuses_a_nonce_that_is_open(folder: str) -> None:
    async def scenario() -> None:
        ledger = opened(folder, "1")
        ledger.reserve_batch("n1", 1, 1, 1)
        with pytest.raises(ValueError, match="n1 is open already"):
            ledger.reserve_batch("n1", 1, 1, 1)

    run(scenario())


def test_ledger_waits_for_the_entry_of_a_batch(folder: str) -> None:
    async def scenario() -> None:
        ledger = opened(folder, "1")
        ledger.reserve_batch("n1", 2, 20, 200)
        assert totals(LocalFiles(), folder) == Totals()
        await ledger.written()
        assert totals(LocalFiles(), folder).maybe_tokens == 20
        ledger.close_batch("n1")
        await ledger.written()
        assert totals(LocalFiles(), folder) == Totals()

    run(scenario())


LINES = 4


@dataclass(slots=True)
class Model:
    """Batches as a perfect bookkeeper knows them: the end of each line, by nonce; closed ones have none left open."""

    out: dict[str, dict[int, LineBill]] = field(default_factory=dict)
    total: Totals = field(default_factory=Totals)

    def settle(self, nonce: str, bill: LineBill) -> None:
        if bill.line in self.out[nonce]:
            return
        self.out[nonce][bill.line] = bill
        if bill.usage is None:
            self.total.suspect(bill.tokens, bill.pico)
        elif bill.usage != NOTHING:
            self.total.bill(bill.usage.prompt_tokens, bill.usage.completion_tokens, 0, bill.cost_pico)

    @property
    def reserved(self) -> tuple[int, int]:
        left = sum(LINES - len(lines) for lines in self.out.values())
        return 10 * left, 100 * left


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "known", "unknown", "nothing", "close", "owner", "request"]), st.integers(0, 99)
    ),
    max_size=40,
)


@settings(max_examples=30)
@given(steps=STEPS, rotate_at=st.sampled_from([1, 300, 4_000_000]))
def test_ledger_batches_have_the_sums_of_a_model_through_owners_and_new_files(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]], rotate_at: int
) -> None:
    folder = f"{tmp_path_factory.mktemp('batches')}/ledger"

    async def scenario() -> None:
        model, ledger = Model(), opened(folder, "0")
        for at, (name, number) in enumerate(steps):
            nonce = f"n{number % 3}"
            if name == "owner":
                await ledger.written()
                ledger = opened(folder, f"{at + 1}")
            elif name == "request":
                entry = ledger.reserve(number, number)
                ledger.settle(entry, Usage(number, 1), number)
                model.total.bill(number, 1, 0, number)
            elif name == "open" and nonce not in model.out:
                ledger.reserve_batch(nonce, LINES, 10 * LINES, 100 * LINES)
                model.out[nonce] = {}
            elif name == "close" and nonce in model.out:
                ledger.close_batch(nonce)
                del model.out[nonce]
            elif name in ("known", "unknown", "nothing") and nonce in model.out:
                usage = {"known": Usage(number, 2), "unknown": None, "nothing": NOTHING}[name]
                bill = LineBill(number % LINES, 10, 100, usage, number if name == "known" else 0)
                ledger.settle_lines(nonce, [bill])
                model.settle(nonce, bill)
            if number % 5 == 0:
                await ledger.written()
            assert ledger.totals == model.total
            assert (ledger.open_tokens, ledger.open_pico) == model.reserved
        await ledger.close()
        found = totals(LocalFiles(), folder)
        assert (found.tokens, found.money_pico) == (
            model.total.tokens + model.reserved[0],
            model.total.money_pico + model.reserved[1],
        )

    with mock.patch.object(scorer.output.ledger, "ROTATE_BYTES", rotate_at):
        run(scenario())


def test_ledger_torn_line_about_a_batch_counts_it_at_its_worst(folder: str) -> None:
    async def scenario() -> None:
        ledger = opened(folder, "1")
        ledger.reserve_batch("n1", 2, 20, 200)
        await ledger.written()
        ledger.settle_lines("n1", [LineBill(0, 10, 100, Usage(1, 1), 7)])
        await ledger.close()

    run(scenario())
    path = Path(folder, "1")
    data = path.read_bytes()
    torn = data.rindex(b"\n", 0, -1) + 1
    for cut in range(torn, len(data) - 1, 7):
        path.write_bytes(data[:cut])
        assert totals(LocalFiles(), folder) == Totals(maybe_requests=2, maybe_tokens=20, maybe_pico=200)


def test_ledger_batch_entered_during_the_write_before_a_new_file_counts_once(folder: str) -> None:
    async def scenario() -> None:
        meanwhile: list[Callable[[], None]] = []

        def offload(fn: Callable[..., Any], *args: Any) -> Awaitable[Any]:
            done = inline(fn, *args)
            while meanwhile:
                meanwhile.pop(0)()
            return done

        ledger = Ledger(LocalFiles(), folder, "1", offload=offload, strict=True)
        ledger.open()
        ledger.reserve(1, 1)
        meanwhile += [
            lambda: ledger.reserve_batch("n1", 1, 10, 100),
            lambda: ledger.settle_lines("n1", [LineBill(0, 10, 100, Usage(7, 1), 70)]),
            lambda: ledger.close_batch("n1"),
        ]
        with mock.patch.object(scorer.output.ledger, "ROTATE_BYTES", 1):
            await ledger.written()
        ledger.reserve(2, 2)
        await ledger.close()
        assert totals(LocalFiles(), folder) == Totals(1, 7, 1, 0, 70, 2, 3, 3)

    run(scenario())
