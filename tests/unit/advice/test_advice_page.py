"""The page on advice: written from the rules, and up to date."""

from __future__ import annotations

from engine.advice import evidence
from tests.data.write_advice_page import PAGE, page, shown
from tests.unit.advice.said import WHEN, spoken


def test_that_the_page_on_advice_is_what_its_script_writes_now() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert written == page(), "run: python -m tests.data.write_advice_page"


def test_that_the_page_names_every_rule_and_every_source_that_one_rests_on() -> None:
    written = PAGE.read_text(encoding="utf-8")
    known = evidence.load()
    for finding in spoken():
        assert f"### {finding.rule} ({finding.severity})" in written
        assert WHEN[finding.rule] in written and shown(finding.message) in written
        for name in finding.evidence:
            assert known[name].figure in written and f"**{name}**" in written
    assert len(WHEN) == 46
