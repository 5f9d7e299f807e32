"""An open run: the plan, and the output folder that its rows are scored into."""

from __future__ import annotations

from collections.abc import Callable

from scorer.build.plan import RunPlan
from scorer.engine.partial import PartialAnswers
from scorer.files.files import Files
from scorer.frozen import dataclass
from scorer.output.layout import Layout
from scorer.output.ledger import Ledger
from scorer.output.manifest import Manifest
from scorer.output.store import Store
from scorer.types import Offload


@dataclass(frozen=True, slots=True)
class OpenRun:
    """An open output folder and the plan that is scored into it.

    `owned` raises OutputError once the folder's lock is lost, and is False while that is unknown. `say` gets messages
    for the user.
    """

    plan: RunPlan
    manifest: Manifest
    files: Files
    layout: Layout
    store: Store
    ledger: Ledger
    partial: PartialAnswers
    offload: Offload
    wall_s: Callable[[], float]
    owned: Callable[[], bool]
    say: Callable[[str], None] = lambda _: None
