"""Verdicts of each test's own, so that a probe is really asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.probes import verdicts


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home without a verdict."""
    place = tmp_path / "home"
    place.mkdir()
    monkeypatch.setenv("TUNESMITH_HOME", str(place))
    verdicts.forget()
    return place
