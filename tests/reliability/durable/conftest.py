"""Runs of the tiny model, as the tests of whole runs make them."""

from __future__ import annotations

from tests.integration.conftest import make_run, sound_rows

__all__ = ["make_run", "sound_rows"]
