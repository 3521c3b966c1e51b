"""Every promise and goal of reliability at its full numbers (the suite runs a short form of each).

usage: python -m tests.bench.reliability [ROW ...] [--list]      rows as R1, S4, F33, M24; all of them without

A row is measured by a function of tests/bench/reliability_*.py, or, where it needs no larger numbers than the
suite's, by the tests that bear its name. A goal that is missed is told and makes the exit status 1.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench.machine import describe

ROOT = Path(__file__).resolve().parents[2]
GOALS = [*(f"S{n}" for n in range(1, 9)), *(f"R{n}" for n in range(1, 25))]
_NAMED = re.compile(r"^\s*def (test_((?:[fmrsid]\d\d?_)+)\w+)", re.M)


def measures() -> dict[str, Callable[[], str]]:
    """Return the measuring function of each row that has one."""
    found: dict[str, Callable[[], str]] = {}
    for path in sorted(Path(__file__).parent.glob("reliability_*.py")):
        module = importlib.import_module(f"tests.bench.{path.stem}")
        found.update(module.MEASURES)
    return found


def named_tests() -> dict[str, list[tuple[Path, str]]]:
    """Return the tests that bear a row's number: {"F7": [(file, name), ...]}."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for name, rows in _NAMED.findall(path.read_text(encoding="utf-8")):
            for row in rows.strip("_").split("_"):
                found.setdefault(f"{row[0].upper()}{int(row[1:])}", []).append((path, name))
    return found


def by_tests(tests: list[tuple[Path, str]]) -> str:
    """Run the tests of a row and say how many passed; raises AssertionError where one failed."""
    words = [f"{path.relative_to(ROOT)}::{name}" for path, name in tests]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words],
        cwd=ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    last = done.stdout.strip().rpartition("\n")[2]
    assert done.returncode == 0, last
    return f"{len(tests)} tests: {last.strip('= ')}"


def main() -> int:
    """Measure the rows that were asked for; 1 where one missed its goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--list", action="store_true", help="name each row's tests and measure nothing")
    chosen = parser.parse_args()
    known, named = measures(), named_tests()
    if chosen.list:
        for row in sorted({*named, *known}, key=lambda r: (r[0], int(re.sub(r"\D", "", r) or 0))):
            tests = ", ".join(name for _, name in named.get(row, ()))
            print(f"{row}: {'measured; ' if row in known else ''}{tests}")
        return 0
    print(describe(), flush=True)
    missed = 0
    for row in chosen.rows or GOALS:
        began = time.monotonic()
        try:
            if row not in known and row not in named:
                raise AssertionError("nothing measures it")
            told = known[row]() if row in known else by_tests(named[row])
        except AssertionError as error:
            told, missed = f"MISSED: {error}", missed + 1
        print(f"{row:4s} {told} ({time.monotonic() - began:.0f} s)", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
