"""Every call to the disk refused in turn (R3, F11, F12): no announced save goes, nothing half is believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reliability.harness.refusing import refuse_each

STRIDE = 41  # of the calls of a run, each one in the long form of this test


@pytest.mark.parametrize(("error", "start"), [("ENOSPC", 3), ("EIO", 17), ("EROFS", 29), ("EACCES", 35)])
def test_r03_f08_f11_f12_that_a_refused_call_costs_no_save(tmp_path: Path, error: str, start: int) -> None:
    found = refuse_each(tmp_path, error, STRIDE, start)
    assert found.broken == []
    assert found.refused >= 8
    assert found.whole if error == "ENOSPC" else found.ended
