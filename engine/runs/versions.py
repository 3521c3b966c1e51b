"""The versions a result depends on, and the oldest that this program works with; imports nothing heavy."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from engine.errors import EngineError

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "safetensors", "tokenizers")
FLOORS = {"torch": (2, 10), "transformers": (5, 3), "peft": (0, 20), "jinja2": (3, 1, 6)}


def version_of(package: str) -> str:
    """Return the version of an installed package, empty where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    found = {"python": platform.python_version(), "tunesmith": version_of("tunesmith")}
    return found | {name: version_of(name) for name in PACKAGES}


def numbers(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (2, 13, 0) of `2.13.0+cu130`."""
    found = []
    for part in text.split("+")[0].split("."):
        digits = "".join(c for c in part if c.isdigit())
        if not digits:
            break
        found.append(int(digits))
    return tuple(found)


def too_old(found: Mapping[str, str] | None = None) -> list[tuple[str, str, str]]:
    """Return (package, version needed, version found) for each that is missing or older than its floor."""
    have = {name: version_of(name) for name in FLOORS} if found is None else found
    return [
        (name, ".".join(map(str, floor)), have.get(name, ""))
        for name, floor in FLOORS.items()
        if numbers(have.get(name, "")) < floor
    ]


def refuse_old(found: Mapping[str, str] | None = None) -> None:
    """Raise EngineError RUN-06 where a library is older than what runs are made with."""
    old = too_old(found)
    if old:
        each = ", ".join(f"{name} {have or 'not installed'}, {need} needed" for name, need, have in old)
        raise EngineError(
            f"A library is too old: {each}.", "Run `python3 launch.py --setup`, then start again.", "RUN-06"
        )
