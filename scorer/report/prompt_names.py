"""How the texts of a card are named: the prompts that were sent, and columns that are not to be taken for them."""

from __future__ import annotations

_PROMPT = "prompt"


def prompt_name(run: str | None, of: str) -> str:
    """The name of a prompt that was sent: of a run where those of several differ; `of` is an order, a model, a turn."""
    return ", ".join(part for part in (f"{_PROMPT} of {run}" if run is not None else _PROMPT, of) if part)


def is_prompt(name: str) -> bool:
    """Whether a text of this name is a prompt that was sent."""
    return name == _PROMPT or name.startswith((f"{_PROMPT}, ", f"{_PROMPT} of "))


def column_name(name: str) -> str:
    """The name of a column's text: the column's own, unless a prompt could have it."""
    return f"column {name}" if is_prompt(name) else name
