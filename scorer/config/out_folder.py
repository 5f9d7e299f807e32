"""Resolves a command's OUT argument: an output folder, or a run file that names one in `output.path`.

Its imports are cheap: the loader is imported only where a run file is given.
"""

from __future__ import annotations

import os

STDIN = "<stdin>"
"""The command line replaces the argument "-" by this."""


def folder_of(out: str) -> str:
    """The output folder: `out` itself, or the `output.path` of the run file that `out` names.

    `out` is taken for a run file where it is a local file of any name, ends in .toml, or is STDIN. Relative paths are
    relative to the current folder, as in `scorer run`.
    Raises SpecError where the run file is missing, is not TOML, or has no output.path.
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
            [f"{out} has no output.path, so it is not a run file. Give the output folder of a run, or its run file."]
        )
    return os.path.expanduser(path)
