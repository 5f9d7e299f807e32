"""The command `scorer`, also as `python -m scorer`. Its modules are imported where Ctrl-C has a sentence."""

import os

from scorer.cli import EARLY


def main() -> None:
    """Never returns: exits with the contract's code."""
    try:
        from scorer.cli.app import main as command
    except KeyboardInterrupt:  # in the first 50 ms; what is imported by then may be half made, so nothing of it is used
        os.write(2, f"{EARLY}\n".encode())
        os._exit(130)
    command()


if __name__ == "__main__":
    main()
