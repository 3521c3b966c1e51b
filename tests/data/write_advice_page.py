"""Write docs/advice.md from the rules and their sources. usage: write_advice_page.py [FILE]"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from engine.advice import evidence
from engine.advice.finding import Finding
from tests.unit.advice.said import WHEN, spoken

PAGE = Path(__file__).parents[2] / "docs" / "advice.md"
HEAD = """# What Tunesmith advises, and what it rests on

`tunesmith advise RECIPE` and the cards beside the wizard's steps say the same. Each finding has a rule, a
severity (`error`: the run fails or harms; `warn`: it will likely disappoint; `hint`: it could be better), the
change that mends it, and its sources with their figures. Applying a card's change is one press, and one press
takes it back. No rule undoes what another one advised.

A rule is silent where it does not know enough: without data there is no advice on lengths, without a machine
none on memory. Where no source is named the rule rests on what the model or the machine is. This page is
written from the rules themselves; the examples are what they say in their tests, without sizes of memory.

"""
MARKS = f"""Marks: {"; ".join(f"**{tag.lower()}** {words}" for tag, words in evidence.TAGS.items())}.

"""


def page() -> str:
    """Return the whole page."""
    found = spoken()
    lines = [HEAD + "## The rules\n"]
    lines += [_rule(finding) for finding in found]
    lines.append("\n## The sources\n\n" + MARKS)
    used = dict.fromkeys(name for finding in found for name in finding.evidence)
    known = evidence.load()
    lines += [_source(known[name]) for name in known if name in used]
    return "\n".join(lines) + "\n"


def _rule(finding: Finding) -> str:
    sources = ", ".join(finding.evidence) or "what the model or the machine is"
    return (
        f"### {finding.rule} ({finding.severity})\n\n"
        f"- Fires when: {WHEN[finding.rule]}\n"
        f"- Says, for one: {shown(finding.message)}\n"
        f"- Changes: {_changes(finding)}\n"
        f"- Rests on: {sources}\n"
    )


def shown(message: str) -> str:
    """Return a message without sizes of memory, which follow the plan's formulas."""
    return re.sub(r"\d[\d.,]* (GB|MB)", r"N \1", message)


def _changes(finding: Finding) -> str:
    if finding.rule in ("R01", "R02"):
        return "what of the plan's suggestions does the least harm and is enough, one on another where needed"
    if not finding.fix:
        return "nothing in the recipe; the message says what to do"
    return ", ".join(f"`{path}` to `{_value(value)}`" for path, value in finding.fix.items())


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _source(source: evidence.Evidence) -> str:
    link = f" <{source.link}>" if source.link else ""
    right = f" Put right: {source.correction}" if source.correction else ""
    head = f"- **{source.id}** ({source.tag.lower()}) {source.title.removesuffix('?')}. {source.source}"
    return f"{head}: {source.figure}.{link}{right}"


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text(page(), encoding="utf-8")
