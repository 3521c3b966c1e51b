"""The sources: complete, tagged, and with what puts a claim right beside it."""

from __future__ import annotations

from engine.advice import evidence


def test_that_every_source_says_what_it_is() -> None:
    known = evidence.load()
    expected = {f"A{n}" for n in range(1, 26)} | {f"S{n}" for n in range(1, 18)}
    expected |= {f"K{n}" for n in range(1, 16)} | {f"F{n}" for n in range(1, 9)}
    expected |= {f"E{n}" for n in range(1, 12)} | {f"C{n}" for n in range(1, 12)}
    expected |= {f"P{n}" for n in (1, 3, 4, 6, 7, 8, 9, 10, 12, 13)}
    assert set(known) >= expected
    for source in known.values():
        assert source.title and source.source and source.figure, source.id
        assert source.tag in evidence.TAGS, source.id
        assert source.link == "" or source.link.startswith("https://"), source.id


def test_that_every_correction_stands_beside_the_claim_that_it_corrects() -> None:
    known = evidence.load()
    used = {name for source in known.values() for name in source.corrections}
    assert used == {f"C{n}" for n in range(1, 12)}
    assert "50.8 %" in known["A3"].correction
    assert "4096" in known["A25"].correction
    assert known["A5"].correction == ""
