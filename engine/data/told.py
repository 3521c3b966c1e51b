"""What is told of the data beside its quality: rows that cannot be used, cuts, overlap, too few rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from engine.data.checks import Check, Place
from engine.data.report import Lengths
from engine.data.rows import Finding
from engine.data.select import FEWEST_ROWS, Selection, cut_at
from engine.data.survey import Survey

ORDER = {"bad": 0, "warn": 1, "info": 2}
MOST_PLACES = 20
LARGEST_LENGTH = 1_048_576
WHAT = {
    "DATA-01": "cannot be read as text",
    "DATA-02": "cannot be read",
    "DATA-04": "lack a field or hold the wrong kind of value",
    "DATA-05": "have roles out of order",
    "DATA-06": "have nothing to learn from",
    "DATA-08": "are too large",
    "DATA-10": "do not fit the table",
}


def all_checks(found: Survey, chosen: Selection, data: Any) -> tuple[Check, ...]:
    """Return all that is to be told of the data, the gravest first."""
    made = [*_bad_rows(found, data), *_lengths(found, data), *_sides(found, chosen, data)]
    made += [check for check in found.checks if not _mended(check, data)]
    made += list(_reports(found))
    return tuple(sorted(made, key=lambda check: ORDER[check.severity]))


def _mended(check: Check, data: Any) -> bool:
    """Say whether the recipe already does what the check proposes."""
    return bool(check.fix) and all(
        getattr(data, path.partition(".")[2], None) == value for path, value in check.fix.items()
    )


def _bad_rows(found: Survey, data: Any) -> Iterator[Check]:
    report = found.report
    for place, (code, total) in enumerate(sorted(report.errors.items())):
        shown = [p for p in report.problems if p.code == code and p.severity == "error"]
        left_out = code == "DATA-06" or data.bad_rows == "leave_out"
        one = total == 1
        fix, label = ({"data.bad_rows": "leave_out"}, "Leave out") if not left_out else ({}, "")
        if code == "DATA-05" and report.unplaced == total:
            fix, label = {"data.system_message": "first_question"}, "Put before the question"
        words = WHAT.get(code, "cannot be used")
        words = _singular(words) if one else words
        yield Check(
            id="no_answer" if code == "DATA-06" else f"bad_rows_{code}" if place else "bad_rows",
            severity="warn" if left_out else "bad",
            count=total,
            title=f"{total:,} {'row' if one else 'rows'} {words}",
            detail=shown[0].message if shown else "",
            places=tuple(_place(p) for p in shown[:MOST_PLACES]),
            fix=fix,
            fix_label=label,
            data={"code": code, "hint": shown[0].hint if shown else "", "left_out": left_out},
        )


def _singular(words: str) -> str:
    first, _, rest = words.partition(" ")
    return f"{ {'lack': 'lacks', 'have': 'has', 'are': 'is', 'do': 'does'}.get(first, first) } {rest}"


def _place(finding: Finding) -> Place:
    return Place(finding.file, -1, finding.line or 1, finding.message[:160])


def _lengths(found: Survey, data: Any) -> Iterator[Check]:
    table, limit = found.table, data.max_length
    cut = cut_at(table, data, limit)
    if not cut.rows or data.too_long == "split" and table.raw.all():
        return
    usable = np.flatnonzero((table.source < len(data.train)) & (table.learnt > 0))
    longest = int(table.length[usable].max())
    lost = f"{cut.answer_share:.1%} of the trained tokens"
    if cut.unlearnt:
        lost += f"; {cut.unlearnt:,} would have no answer left"
    words = {"drop": "left out as longer than", "error": "longer than"}.get(data.too_long, "cut at")
    raised = longest if longest <= 2 * limit else Lengths.of(table.length[usable]).p99
    raised = min(LARGEST_LENGTH, max(raised, limit + 1))
    long = usable[table.length[usable] > limit]
    yield Check(
        id="cut",
        severity="bad" if data.too_long == "error" else "warn",
        count=cut.rows,
        title=f"{cut.rows:,} {'row' if cut.rows == 1 else 'rows'} {words} {limit:,} tokens",
        detail=lost,
        places=tuple(_row_place(found, int(i)) for i in long[:MOST_PLACES]),
        fix={"data.max_length": raised},
        fix_label=f"Raise to {raised:,}",
        data={"answer_share": cut.answer_share, "unlearnt": cut.unlearnt},
    )


def _row_place(found: Survey, index: int) -> Place:
    table = found.table
    facts = found.files[int(table.source[index])]
    words = f"{int(table.length[index]):,} tokens"
    return Place(facts.path, int(table.row[index]), int(table.line[index]), words)


def _sides(found: Survey, chosen: Selection, data: Any) -> Iterator[Check]:
    """Tell of training against validation: overlap, too few rows, none to measure on."""
    rows = len(chosen.train) + len(chosen.validation)
    if chosen.overlap and data.overlap == "keep":
        count = chosen.overlap
        yield Check(
            id="overlap",
            severity="warn",
            count=count,
            title=f"{count:,} validation {'row is' if count == 1 else 'rows are'} also trained on",
            detail="The score would look too good.",
            places=tuple(_row_place(found, int(i)) for i in chosen.overlapping[:MOST_PLACES]),
            fix={"data.overlap": "drop"},
            fix_label="Remove there",
            data={},
        )
    if found.complete and 0 < rows < FEWEST_ROWS:
        title = "Only 1 row" if rows == 1 else f"Only {rows} rows"
        detail = "50 or more are needed to learn something; none is kept to measure on."
        yield Check("few_rows", "warn", rows, title, detail, (), {}, "", {})
    elif not len(chosen.validation) and rows:
        yield Check(
            id="no_validation",
            severity="warn",
            count=1,
            title="Nothing is kept to measure on",
            detail="Without it nobody sees when the model begins to learn by heart.",
            places=(),
            fix={"data.validation_split": 0.1},
            fix_label="Keep 10 %",
            data={},
        )
    if len(chosen.validation) > len(chosen.train) > 0:
        title = "More rows are measured on than trained"
        detail = f"{len(chosen.validation):,} against {len(chosen.train):,}: train on the larger file."
        yield Check("large_validation", "warn", len(chosen.validation), title, detail, (), {}, "", {})


def _reports(found: Survey) -> Iterator[Check]:
    """Tell what was accepted and is worth knowing: byte order marks, blank lines, sheets not read."""
    for number, finding in enumerate(found.report.problems):
        if finding.severity != "error":
            yield Check(
                id=f"report_{number}",
                severity="warn" if finding.severity == "warning" else "info",
                count=1,
                title=finding.message,
                detail=finding.hint,
                places=(_place(finding),),
                fix={},
                fix_label="",
                data={"code": finding.code},
            )
