"""Runs for the tests of a resume: those of the integration tests."""

from __future__ import annotations

from tests.integration.conftest import make_run, sound_rows

__all__ = ["make_run", "sound_rows"]
