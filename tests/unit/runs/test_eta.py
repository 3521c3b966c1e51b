"""The time left: the pace of late, what comes between steps, and how sure both are."""

from __future__ import annotations

import pytest

from engine.runs.eta import Pace, spoken_band


def paced(*seconds: float, pause_every: int = 0, pause: float = 0.0) -> tuple[Pace, int]:
    pace, mono = Pace(), 0.0
    for step, each in enumerate(seconds, 1):
        mono += each
        pace.add_step(step, each, mono)
        if pause_every and step % pause_every == 0:
            pace.interrupt()
            mono += pause
    return pace, len(seconds)


def test_that_even_steps_give_a_narrow_band_around_the_time_left() -> None:
    pace, step = paced(*[2.0] * 40)
    left, band = pace.seconds_left(step, 140), pace.band(step, 140)
    assert left == pytest.approx(200.0)
    assert band == (pytest.approx(190.0), pytest.approx(210.0))


def test_that_one_slow_step_hardly_moves_the_band_and_a_slower_machine_does() -> None:
    even = [2.0] * 40
    odd, step = paced(*even[:20], 60.0, *even[21:])
    assert odd.band(step, 140) == (pytest.approx(190.0), pytest.approx(210.0))
    slower, step = paced(*even[:30], *[3.0] * 10)
    low, high = slower.band(step, 140)  # type: ignore[misc]
    assert low <= 200.0 and high == pytest.approx(300.0)


def test_that_evaluations_to_come_are_those_of_the_plan_until_there_was_one() -> None:
    pace, step = paced(*[2.0] * 40)
    assert pace.seconds_left(step, 80, 100.0) == pytest.approx(80.0 + 50.0)
    low, high = pace.band(step, 80, 100.0)  # type: ignore[misc]
    assert low == pytest.approx(76.0 + 25.0) and high == pytest.approx(84.0 + 100.0)
    measured, step = paced(*[2.0] * 40, pause_every=10, pause=5.0)
    assert measured.seconds_left(step, 80, 1000.0) == pytest.approx(80.0 + 4 * 5.0)


def test_that_too_little_is_no_band() -> None:
    pace, step = paced(0.1, 0.1)
    assert pace.band(step, 100) is None


@pytest.mark.parametrize(
    ("band", "words"),
    [
        ((34 * 60, 41 * 60), "between 34 and 41 min left"),
        ((80 * 60, 3 * 3600), "between 80 min and 3 h left"),
        ((3 * 3600, 5 * 3600), "between 3 and 5 h left"),
        ((20.0, 150.0), "between less than a minute and 2 min left"),
        ((34 * 60, 34 * 60 + 5), ""),
        ((1.0, 30.0), ""),
        (None, ""),
    ],
)
def test_that_a_band_is_said_as_a_person_would(band: tuple[float, float] | None, words: str) -> None:
    assert spoken_band(band) == words
