"""The peak of a process's resident memory is its own, whatever its parent held."""

from __future__ import annotations

import subprocess
import sys

PARENT = """
import subprocess, sys
held = bytearray(b"x") * 400_000_000
asked = "from engine.runtime.resident import peak_of_process; print(peak_of_process())"
print(subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout)
"""
OWN = """
from engine.runtime.resident import peak_of_process, reset_peak, resident_bytes
held = bytearray(b"x") * 300_000_000
del held
peak, now = peak_of_process(), resident_bytes()
reset_peak()
print(peak, now, peak_of_process())
"""


def said(program: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return [int(word) for word in done.stdout.split()]


def test_that_a_child_of_a_large_process_begins_small() -> None:
    assert said(PARENT)[0] < 200e6


def test_that_what_was_given_back_counts_in_the_peak_until_it_is_reset() -> None:
    peak, now, after = said(OWN)
    assert peak > 300e6 > now
    if sys.platform == "linux":
        assert after < 200e6
