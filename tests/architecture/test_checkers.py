"""ruff over everything, mypy --strict over the engine: what they find fails the suite."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.source import ROOT


def check(*arguments: str) -> None:
    """Run a checker as a module of this interpreter, in the repository."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_that_ruff_finds_nothing() -> None:
    check("ruff", "check", "--quiet", "--output-format=concise", ".")


def test_that_the_code_is_formatted() -> None:
    check("ruff", "format", "--check", "--quiet", ".")


@pytest.mark.slow
def test_that_mypy_is_content_with_the_engine() -> None:
    check("mypy", "--strict", "-p", "engine")
