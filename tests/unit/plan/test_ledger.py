"""The ledger: robust, narrower with each run, and never an obstacle."""

from __future__ import annotations

import json
import multiprocessing
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.plan import ledger
from engine.plan.ledger import Entry, Ledger, judge
from engine.runs import calibration

CPU = "cpu (Example, 2 cores)"


def entry(ratio: float, number: int = 0, **changes: Any) -> Entry:
    made = Entry(
        time=1e9 + number,
        run=f"run-{number}",
        device=CPU,
        method="lora",
        precision="fp32",
        predicted_memory_bytes=1e9,
        measured_memory_bytes=1e9 * ratio,
        predicted_seconds_per_token=1e-3,
        measured_seconds_per_token=1e-3 * ratio,
    )
    return replace(made, **changes)


def ledger_of(*ratios: float, **changes: Any) -> Ledger:
    return Ledger(tuple(entry(ratio, i, **changes) for i, ratio in enumerate(ratios)))


def test_that_without_runs_the_formula_and_its_own_band_stand() -> None:
    found = Ledger().memory(CPU, "lora", None)
    assert (found.factor, found.runs) == (1.0, 0)
    assert found.low == pytest.approx(1 / 1.25) and found.high == pytest.approx(1.25)


def test_that_three_runs_correct_the_figure_and_narrow_the_band() -> None:
    widths = [ledger_of(*[1.2, 1.21, 1.19, 1.2, 1.2][:n]).memory(CPU, "lora", None).width for n in range(6)]
    assert widths[3] < widths[2] and widths[3] < widths[0] and widths[5] < widths[3]
    found = ledger_of(1.2, 1.21, 1.19).memory(CPU, "lora", None)
    assert found.factor == pytest.approx(1.2) and found.runs == 3
    assert found.low < 1.19 and found.high > 1.21


@pytest.mark.parametrize("odd", [0.2, 5.0])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_that_one_outlier_moves_neither_the_correction_nor_the_band(odd: float, place: int) -> None:
    ratios = [1.20, 1.22, 1.19]
    clean = ledger_of(*ratios).memory(CPU, "lora", None)
    spoilt = ledger_of(*ratios[:place], odd, *ratios[place:]).memory(CPU, "lora", None)
    assert spoilt.factor == pytest.approx(clean.factor, rel=0.02)
    assert spoilt.width < Ledger().memory(CPU, "lora", None).width


def test_that_a_single_odd_run_moves_the_figure_no_further_than_the_band_went() -> None:
    found = ledger_of(6.0).memory(CPU, "lora", None)
    assert 1.0 <= found.factor <= 1.25
    assert found.high >= 6.0  # it is not kept from the eye either


def test_that_the_band_holds_what_comes_next_in_most_cases() -> None:
    source = random.Random(5)
    held = tried = 0
    for _ in range(300):
        ratios = [1.1 * source.lognormvariate(0, 0.03) for _ in range(source.randint(4, 12))]
        *before, after = ratios
        found = judge(before, ledger.MEMORY_PRIOR)
        held, tried = held + (found.low <= after <= found.high), tried + 1
        assert found.low <= sorted(before)[len(before) // 2] <= found.high
    assert held / tried > 0.9


def test_that_runs_most_alike_are_taken_first_and_coarser_groups_after_them() -> None:
    book = Ledger(
        tuple(entry(1.3, i, quantization="nf4") for i in range(3))
        + tuple(entry(1.1, 10 + i, method="full") for i in range(3))
    )
    assert book.memory(CPU, "lora", "nf4").factor == pytest.approx(1.3)
    assert book.memory(CPU, "full", None).factor == pytest.approx(1.1)
    assert book.memory(CPU, "vera", None).factor == pytest.approx(1.1)  # same weights in memory
    assert book.memory(CPU, "vera", "int8").runs == 6
    assert book.memory("RTX 4090", "lora", "nf4").runs == 0  # another device says nothing of this one


def test_that_runs_of_another_size_or_an_earlier_formula_say_nothing() -> None:
    book = ledger_of(1.3, 1.3, 1.3)
    assert book.memory(CPU, "lora", None, near=2e9).runs == 3
    assert book.memory(CPU, "lora", None, near=40e9).runs == 0
    assert ledger_of(1.3, formula=ledger.FORMULA - 1).memory(CPU, "lora", None).runs == 0
    tiny = ledger_of(9.0, predicted_memory_bytes=1e6, measured_memory_bytes=9e6)
    assert tiny.memory(CPU, "lora", None).runs == 0  # libraries, not the run


def test_that_speed_has_a_correction_of_its_own() -> None:
    book = ledger_of(2.0, 2.1, 1.9)
    found = book.speed(CPU, "fp32")
    assert found.factor == pytest.approx(2.0) and found.width < Ledger().speed(CPU, "fp32").width
    assert book.speed(CPU, "bf16").runs == 3  # nothing finer is known
    assert book.speed(CPU, "fp32", figure="sample_seconds").runs == 0


def test_that_what_is_recorded_is_read_again_once_an_attempt(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    calibration.record(entry(1.1, 1), path)
    calibration.record(entry(1.2, 1), path)
    calibration.record(entry(1.3, 1, attempt=2), path)
    found = Ledger.read(path).entries
    assert [e.measured_memory_bytes for e in found] == [1.2e9, 1.3e9]
    assert found[0] == entry(1.2, 1)


def test_that_the_ledger_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    book = ledger_of(*[1.0] * (ledger.MOST_ENTRIES + 5))
    path.write_text(json.dumps(book.as_dict()))
    calibration.record(entry(1.5, 9999), path)
    found = Ledger.read(path).entries
    assert len(found) == ledger.MOST_ENTRIES and found[-1].run == "run-9999"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 7, "runs": []}', b'{"format": 1}', b"\xff\x00", b"[" * 100_000]
)
def test_that_a_damaged_ledger_is_set_aside_and_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    assert Ledger.read(path).damage and not Ledger.read(path).entries
    assert calibration.record(entry(1.1), path)
    assert Ledger.read(path).entries == (entry(1.1),) and not Ledger.read(path).damage
    aside = list(tmp_path.glob("calibration-damaged-*.json"))
    assert len(aside) == 1 and aside[0].read_bytes() == content


def test_that_one_bad_entry_does_not_take_the_others_along(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    value = ledger_of(1.1, 1.2, 1.3).as_dict()
    value["runs"][1]["time"] = "yesterday"
    value["runs"][2]["of_a_later_version"] = 1
    value["runs"].append(17)
    path.write_text(json.dumps(value))
    assert [e.run for e in Ledger.read(path).entries] == ["run-0", "run-2"]


def _write(path: str, number: int) -> None:
    for i in range(5):
        calibration.record(entry(1.0, number * 100 + i), Path(path))


def test_that_runs_that_end_together_lose_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(str(path), n)) for n in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert len(Ledger.read(path).entries) == 20
