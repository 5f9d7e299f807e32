"""Module search path of this process and its children: a file beside the data never shadows an installed module.

Python puts the current folder (`python -m`) or the script's folder before everything else. A `random.py` there would be
imported in place of the standard library's and could read the API key. The order here is: the standard library, then
what PYTHONPATH names, then installed packages, then the current folder and whatever else the parent has. So a judge of
one's own in the current folder is still found. What Python itself imports before scorer is out of reach
(`python -m` loads about ten modules of the standard library first; the command `scorer` does not look in the current
folder for these).

Imports only `os` and `sys`: it runs before any other module of scorer.
"""

import os
import sys

HANDED_ON = "SCORER_PATH"
"""The environment variable by which a child gets its parent's sys.path, joined like PYTHONPATH."""


def settle(handed_on: "list[str] | None" = None) -> None:
    """Reorders `sys.path` as the module's docstring says; `handed_on` are further entries, for the end.

    May be called again. Changes nothing where the standard library cannot be found in `sys.path`.
    """
    standard = os.path.dirname(os.__file__)
    at = next((i for i, entry in enumerate(sys.path) if _is_standard(entry, standard)), None)
    if at is None:
        return
    front, rest = sys.path[:at], sys.path[at:]
    library = [entry for entry in rest if _is_standard(entry, standard)]
    installed = [entry for entry in rest if not _is_standard(entry, standard)]
    named = _named()
    asked_for = [entry for entry in front if os.path.abspath(entry) in named]
    others = [os.path.abspath(entry) for entry in front if os.path.abspath(entry) not in named]
    sys.path[:] = dict.fromkeys([*library, *asked_for, *installed, *others, *(handed_on or [])])


def settle_command() -> None:
    """`settle` where this process is `scorer` or `python -m scorer...`; nothing in a program that imports scorer.

    The current folder is searched last, also by `scorer`; not where Python was told `-P`.
    """
    arguments = getattr(sys, "argv", [])
    if _is_command(arguments) and (current := current_folder()) is not None:
        settle([] if sys.flags.safe_path else [current])


def current_folder() -> "str | None":
    """The current folder; None where it was removed under this process."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return None


def settle_worker_of_ray() -> None:
    """`settle` where this process is a worker of Ray, which is about to load our actor."""
    if os.path.basename(getattr(sys, "argv", [""])[0]) == "default_worker.py":
        settle()


def search_last(folder: str) -> None:
    """Moves a folder to the end of `sys.path`, or puts it there."""
    sys.path[:] = [*(entry for entry in sys.path if os.path.abspath(entry) != folder), folder]


def child_command(module: str, *arguments: str) -> "list[str]":
    """What starts `python -m MODULE ARGUMENT...` of this very scorer, with `child_environment()` as its environment."""
    return [sys.executable, "-P", os.path.join(os.path.dirname(__file__), "child.py"), module, *arguments]


def child_environment(**more: str) -> "dict[str, str]":
    """This process's environment for a child: its sys.path handed on, and no current folder in PYTHONPATH."""
    environment = {**os.environ, HANDED_ON: os.pathsep.join(map(os.path.abspath, sys.path)), **more}
    if "PYTHONPATH" in environment:
        environment["PYTHONPATH"] = os.pathsep.join(_named())
    return environment


def handed_on() -> "list[str]":
    """The entries that a parent handed on; empty where there is none."""
    return [entry for entry in os.environ.get(HANDED_ON, "").split(os.pathsep) if entry]


def _named() -> "list[str]":
    """The folders that PYTHONPATH names, without the current one: `PYTHONPATH=$UNSET:/lib` means that by accident."""
    given = [os.path.abspath(entry) for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    return [entry for entry in given if entry != os.getcwd()]


def _is_standard(entry: str, standard: str) -> bool:
    zipped = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
    return entry in (standard, os.path.join(standard, "lib-dynload")) or os.path.basename(entry) == zipped


def _is_command(arguments: "list[str]") -> bool:
    if not arguments:
        return False
    if arguments[0] == "-m":  # so long as runpy looks for the module; its name is the last word before the arguments
        before = sys.orig_argv[: len(sys.orig_argv) - len(arguments) + 1]
        name = before[-1].removeprefix("-m") if before else ""
        return name == "scorer" or name.startswith("scorer.")
    return os.path.basename(arguments[0]) in ("scorer", "scorer.exe")
