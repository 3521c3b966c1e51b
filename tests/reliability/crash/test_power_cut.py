"""Power cuts at every moment of a recorded run: no image lacks a usable state, no wreck is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.harness import power_cut


@pytest.mark.parametrize("story", [power_cut.ONCE, power_cut.REPAIRED], ids=["once", "repaired"])
def test_f07_r02_i07_that_every_image_of_a_power_cut_has_a_usable_state(
    tmp_path: Path, story: power_cut.Story
) -> None:
    found = power_cut.look(tmp_path, count=35, seed=11, resume_every=5, story=story)
    assert found.broken == []
    assert found.images == 35 and found.resumed >= 5
    assert {"RUN-04", "RUN-01", "sound"} <= set(found.kinds)
