"""Write requirements/*.lock: the exact versions that are installed here, sorted by what asks for them.

usage: .venv/bin/python packaging/make_locks.py     (in an environment with the extras train and test)

base.lock   what the window needs, and what torch needs beside its own GPU libraries
train.lock  what the child that trains needs; torch itself is pinned in launch.py, which picks its build
test.lock   what the tests need beside those
bench.lock  what the comparisons with TRL need beside those; left as it is when they are not installed
"""

from __future__ import annotations

import re
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
# torch's build, and with it the GPU libraries, is chosen at set-up.
CHOSEN_AT_SETUP = re.compile(r"torch$|triton|nvidia-(?!ml-py)|cuda-")
HEADER = "# Made by packaging/make_locks.py; change pyproject.toml, install, and make it again.\n"


def closure(requirements: list[str]) -> set[str]:
    """Return the names of all that `requirements` bring in here, themselves included."""
    waiting = [Requirement(text) for text in requirements]
    done: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in done:
            continue
        done.add(key)
        for text in metadata.requires(key[0]) or []:
            child = Requirement(text)
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in {"", *key[1]}):
                waiting.append(child)
    return {name for name, _ in done}


def write(name: str, names: set[str], conditions: dict[str, str]) -> None:
    """Write one lock file."""
    lines = []
    for each in sorted(names):
        condition = f"; {conditions[each]}" if each in conditions else ""
        lines.append(f"{each}=={metadata.version(each)}{condition}\n")
    (ROOT / "requirements" / f"{name}.lock").write_text(HEADER + "".join(lines), encoding="utf-8")


def main() -> None:
    """Write the lock files of this environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(text) for text in project["dependencies"] + sum(extras.values(), [])]
    conditions = {canonicalize_name(r.name): str(r.marker) for r in asked if r.marker is not None}
    torch_needs = [
        text for text in metadata.requires("torch") or [] if not CHOSEN_AT_SETUP.match(Requirement(text).name)
    ]
    torch_needs = [text for text in torch_needs if "extra ==" not in text]
    groups = {"base": project["dependencies"] + torch_needs + ["setuptools"], **extras}
    taken: set[str] = set()
    for name, requirements in groups.items():
        try:
            names = {n for n in closure(requirements) if not CHOSEN_AT_SETUP.match(n)}
        except metadata.PackageNotFoundError as missing:
            print(f"{name}.lock is left as it is: {missing} is not installed")
            continue
        write(name, names - taken, conditions)
        taken |= names


if __name__ == "__main__":
    main()
