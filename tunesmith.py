"""The `tunesmith` command: with a verb the engine answers in the terminal, without one the window opens."""

from __future__ import annotations

import runpy
import sys


def main() -> None:
    """Hand the command line over to `python -m engine VERB ...` or to `python -m app`."""
    verb = sys.argv[1:2]
    chosen = "engine" if verb and not verb[0].startswith("-") else "app"
    runpy.run_module(chosen, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
