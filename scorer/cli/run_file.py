"""The run file that a command names."""

from __future__ import annotations

from typing import Any

from scorer.config.out_folder import STDIN


def tree_of(run_file: str, sets: tuple[str, ...] = ()) -> dict[str, Any]:
    """A run file with --set, not checked yet. Raises SpecError."""
    from scorer.config.pydantic_plugins import no_plugins

    with no_plugins():
        from scorer.config.loader import read_stdin, read_toml, set_values

    tree = read_stdin() if run_file == STDIN else read_toml(run_file)
    return set_values(tree, sets)
