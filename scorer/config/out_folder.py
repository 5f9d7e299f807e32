"""Resolves a command's OUT argument: a folder, or a run file with its `output.path`.

Light to import: the run file is read only where one is given.
"""

from __future__ import annotations

import os

STDIN = "<stdin>"
"""What the command line makes of a lone "-"."""


def folder_of(out: str) -> str:
    """The output folder: `out` itself, or the `output.path` of the run file that `out` names.

    A run file is a file of this machine, whatever its name, a name that ends in .toml, or STDIN. Relative paths are
    relative to the current folder, as they are for `scorer run`.
    Raises SpecError where the run file is missing, is no TOML, or has no output.path.
    """
    if out != STDIN and not os.path.isfile(out) and not (out.endswith(".toml") and not os.path.isdir(out)):
        return out
    from scorer.config.loader import read_stdin, read_toml
    from scorer.errors import SpecError

    tree = read_stdin() if out == STDIN else read_toml(out)
    output = tree.get("output")
    path = output.get("path") if isinstance(output, dict) else None
    if not isinstance(path, str) or not path:
        raise SpecError(
            [f"{out} has no output.path, so it is no run file. Give the output folder of a run, or its run file."]
        )
    return path
