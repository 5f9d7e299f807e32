"""Runs a module of this installation of scorer in a child process: `python -P child.py MODULE ARGUMENT...`.

The package is loaded from this file's folder, whatever else is called scorer on the child's path; see search_path.py.
"""

import importlib.util
import os
import runpy
import sys


def main() -> None:
    """Never returns where the module ends the process."""
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    spec = importlib.util.spec_from_file_location(
        "scorer", os.path.join(here, "__init__.py"), submodule_search_locations=[here]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["scorer"] = package
    spec.loader.exec_module(package)

    from scorer.processes.search_path import handed_on, settle

    settle(handed_on())
    runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
