"""Promise: where no price is known every command says so, and none shows 0 USD."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.inprocess import Run

from scorer.cli.run_text import plan_text, summary_text
from scorer.cli.terminal import line
from scorer.files.files import read
from scorer.files.local_files import LocalFiles
from scorer.frozen import replace
from scorer.job.estimate import estimate
from scorer.output.cost_text import cost_sentence, cost_text
from scorer.output.progress import Snapshot, snapshot_of
from scorer.output.progress_lines import three_lines
from scorer.output.status import Status
from scorer.report.watch.lines import _money
from scorer.report.watch.rehearsed import Rehearsed, rehearsed_lines


@pytest.mark.parametrize(
    ("usd", "priced", "text"),
    [
        (0.0, True, "0.0000 USD"),
        (1234.5, True, "1,234.5000 USD"),
        (0.0, False, "no price"),
        (0.5, False, "0.5000 USD and more (no price)"),
    ],
)
def test_cost_in_words(usd: float, priced: bool, text: str) -> None:
    assert cost_text(usd, priced=priced) == text


def finished(folder: Path, price: dict[str, float] | None) -> tuple[Run, Status, Snapshot]:
    run = Run(folder, 5)
    run.model = {"price": price}
    status = run.run()
    snapshot = snapshot_of(read(LocalFiles(), f"{run.out}/progress.json"))
    assert snapshot is not None
    return run, status, snapshot


def shown(run: Run, status: Status, snapshot: Snapshot) -> list[str]:
    running = replace(snapshot, state="running")
    rehearsed = Rehearsed(running, 10.0, snapshot.cost_usd, "")
    return [
        plan_text(estimate(run.job().plan, LocalFiles())),
        summary_text(run.out, status),
        line(running),
        "\n".join(three_lines(running, 200)),
        " ".join(_money(running)),
        "\n".join(rehearsed_lines(rehearsed, 100)),
    ]


def test_every_command_says_that_no_price_is_known(tmp_path: Path) -> None:
    run, status, snapshot = finished(tmp_path, None)
    assert (status.cost_usd, status.priced, snapshot.priced) == (0.0, False, False)
    plan, end, *short = shown(run, status, snapshot)
    sentence = cost_sentence(0.0, priced=False)
    assert sentence == "unknown: no price is known for this model; add model.price"
    assert sentence in " ".join(plan.split())
    assert sentence in " ".join(end.split())
    for text in short:
        assert "no price" in text
    assert not any("USD" in text for text in (end, *short))


def test_a_price_of_zero_is_a_price(tmp_path: Path) -> None:
    run, status, snapshot = finished(tmp_path, {"input": 0.0, "output": 0.0})
    assert (status.cost_usd, status.priced) == (0.0, True)
    assert not any("no price" in text for text in shown(run, status, snapshot))
    assert "0.000000 USD" in summary_text(run.out, status)
