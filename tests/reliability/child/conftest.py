"""Runs for the tests of a child's failures: those of the integration tests."""

from __future__ import annotations

from tests.integration.conftest import make_run, make_training, sound_rows

__all__ = ["make_run", "make_training", "sound_rows"]
