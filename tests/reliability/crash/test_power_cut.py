"""Power cuts at every moment of a recorded run: no image lacks a usable state, no wreck is believed."""

from __future__ import annotations

from pathlib import Path

from tests.reliability.harness import power_cut


def test_f07_r02_i07_that_every_image_of_a_power_cut_has_a_usable_state(tmp_path: Path) -> None:
    found = power_cut.look(tmp_path, count=60, seed=11, resume_every=5)
    assert found.broken == []
    assert found.images == 60 and found.resumed >= 10
    assert {"RUN-04", "RUN-01", "sound"} <= set(found.kinds)
