"""The lock files: they pin all that the project asks for, and name no place to get it from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def pins(*names: str) -> dict[str, str]:
    """Return package -> version over some lock files."""
    lines = [
        line
        for name in names
        for line in (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    found = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): str(r.specifier).removeprefix("==") for r in found}


@pytest.mark.parametrize("extra", ["", "train", "test", "bench"])
def test_that_every_requirement_is_pinned_within_its_bounds(extra: str) -> None:
    asked = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    torch = re.search(r'^TORCH = "([\d.]+)"', (ROOT / "launch.py").read_text(encoding="utf-8"), re.M)
    assert torch is not None
    pinned = {"torch": torch[1], **pins("base", "train", "test", "bench")}
    for text in asked:
        requirement = Requirement(text)
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), text


def test_that_the_fatal_release_of_pyside_stays_out() -> None:
    # 6.12.0 drops a reference for each None that a call returns; see tests/architecture/test_qt.py.
    assert Version(pins("base")["pyside6-essentials"]) < Version("6.12")


def test_that_lock_files_name_no_address() -> None:
    for path in (ROOT / "requirements").glob("*.lock"):
        assert not re.search(r"https?:|file:|--", path.read_text(encoding="utf-8")), path.name
