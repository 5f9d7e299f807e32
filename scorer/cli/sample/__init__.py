"""The bundled sample: 60 generations to try a judge on. A smoke sample, no benchmark.

Four tasks that answer from a given source (summary, answer, extraction, rewriting), five items each, and for each item
the responses of three systems that do not exist: one mostly good, one middling, one often bad, none of them always.
Everything is imagined for this project; no person, place, company or model in it is real.

Columns, none of them ever null: `id`, `task`, `item`, `model` (the system), `instruction`, `source`, `response`,
`reference` (a good answer, written apart from the responses), `human`, `human_note` (why). `human` is a grade from 1 to
5 in half points for faithfulness to the source, doing the task and fluency. It stands where people's grades stand in
real data, and no more: a language model wrote the texts and, reading each response, the grades, all of them before any
judge had scored a row. So agreement with it shows that the path works, not that a judge agrees with people.
"""

from __future__ import annotations

from pathlib import Path


def sample_path() -> Path:
    """The sample as one Parquet shard, its rows item by item so that neighbours share their prompt."""
    return Path(__file__).with_name("generations.parquet")
