"""How findings are put into words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.characters import RIGHT_TO_LEFT, SCRIPTS
from engine.data.check import SHOWN, Check, Place, Severity, counted, number
from engine.data.near import MOST_ROWS, Doubles

PlaceOf = Callable[[int], Place]
SMALL_SHARE = 0.0005

# name: (severity, title for one row, for many, detail, fix, its label)
TEXTS: dict[str, tuple[Severity, str, str, str, dict[str, Any], str]] = {
    "keys": (
        "bad",
        "row has a key or password",
        "rows have keys or passwords",
        "A model may repeat what it was trained on. Take them out, and make new ones if they are real.",
        {},
        "",
    ),
    "cards": (
        "warn",
        "row has a payment card number",
        "rows have payment card numbers",
        "A model may repeat what it was trained on.",
        {},
        "",
    ),
    "emails": (
        "warn",
        "row has an e-mail address",
        "rows have e-mail addresses",
        "A model may repeat what it was trained on.",
        {},
        "",
    ),
    "phones": (
        "warn",
        "row has a telephone number",
        "rows have telephone numbers",
        "A model may repeat what it was trained on.",
        {},
        "",
    ),
    "hidden_characters": (
        "warn",
        "row has hidden characters",
        "rows have hidden characters",
        "Characters that nobody sees, but the model does: they are trained on, and may hide text.",
        {},
        "",
    ),
    "special_tokens": (
        "warn",
        "row has a special token in its text",
        "rows have special tokens in their text",
        "The tokenizer reads them as the marks that begin and end messages.",
        {"data.special_tokens": "text"},
        "Read as text",
    ),
    "empty_prompts": (
        "warn",
        "row has an empty question",
        "rows have empty questions",
        "The answer is learnt as the answer to nothing.",
        {},
        "",
    ),
}


def tallied(name: str, rows: int, places: list[Place]) -> Check:
    """Return the check of something that stands in the text of some rows."""
    severity, one, many, detail, fix, label = TEXTS[name]
    return Check(name, severity, rows, counted(rows, one, many), detail, tuple(places), dict(fix), label)


def copies(doubles: Doubles, place: PlaceOf) -> list[Check]:
    """Return the check of rows equal to an earlier one."""
    rows = np.flatnonzero(doubles.copy_of >= 0)
    if not len(rows):
        return []
    title = counted(len(rows), "duplicate row", "duplicate rows")
    return [_repeated("duplicates", "warn", title, rows, doubles.copy_of, place, {"data.dedupe": True})]


def near_copies(doubles: Doubles, place: PlaceOf) -> list[Check]:
    """Return the check of rows that are nearly the same as an earlier one, which is kept."""
    rows = np.flatnonzero(doubles.near_to >= 0)
    if not len(rows):
        return []
    title = counted(len(rows), "row is", "rows are") + " nearly the same as an earlier one"
    fix = {"data.near_duplicates": "drop"}
    more = f"; only the first {number(MOST_ROWS)} rows were compared" if doubles.capped else ""
    return [_repeated("near_duplicates", "info", title, rows, doubles.near_to, place, fix, more)]


def _repeated(
    name: str,
    severity: Severity,
    title: str,
    rows: NDArray[np.int64],
    earlier: NDArray[np.int64],
    place: PlaceOf,
    fix: dict[str, Any],
    more: str = "",
) -> Check:
    shown = [
        (place(first), place(again)) for again in rows[:SHOWN].tolist() for first in [int(earlier[again])]
    ]
    detail = "rows " + ", ".join(_named(*pair) for pair in shown[:3])
    detail += (", …" if len(rows) > 3 else "") + more
    data = {
        "pairs": [(a.file, a.row, b.file, b.row) for a, b in shown],
        "groups": len(np.unique(earlier[rows])),
    }
    return Check(name, severity, len(rows), title, detail, tuple(b for _, b in shown), fix, "Remove", data)


def _named(first: Place, again: Place) -> str:
    """Return `88 and 1,204`, with the file where it is another one."""
    other = f" of {Path(again.file).name}" if again.file != first.file else ""
    return f"{number(first.row + 1)} and {number(again.row + 1)}{other}"


def contradictions(
    prompts: NDArray[np.int64],
    keys: NDArray[np.int64],
    parts: NDArray[np.uint64],
    doubles: Doubles,
    place: PlaceOf,
) -> list[Check]:
    """Return the check of questions (0: none) answered in other words in another row."""
    rows = np.flatnonzero((prompts != 0) & (doubles.copy_of < 0))
    said = keys.astype(np.uint64)
    answers = parts >> np.uint64(32)
    known = np.flatnonzero(answers)
    said[known] = answers[known]
    rows = rows[np.lexsort((rows, prompts[rows]))]
    again = prompts[rows[1:]] == prompts[rows[:-1]]
    if not again.any():
        return []
    starts = np.flatnonzero(np.concatenate(([True], ~again)))
    sizes = np.diff(np.append(starts, len(rows)))
    first = np.repeat(rows[starts], sizes)
    other = rows[said[rows] != said[first]]
    of = first[said[rows] != said[first]]
    if not len(other):
        return []
    count = len(np.unique(of))
    order = np.argsort(other)
    pairs = [(place(int(of[i])), place(int(other[i]))) for i in order[:SHOWN]]
    detail = "rows " + ", ".join(_named(*pair) for pair in pairs[:3]) + (", …" if len(other) > 3 else "")
    title = counted(count, "question is", "questions are") + " answered differently in different rows"
    data = {"pairs": [(a.file, a.row, b.file, b.row) for a, b in pairs], "rows": len(other)}
    return [Check("contradictions", "info", count, title, detail, tuple(b for _, b in pairs), {}, "", data)]


def scripts(letters: NDArray[np.int64], rtl_rows: int) -> list[Check]:
    """Return the share of each writing system among the letters."""
    total = int(letters[1:].sum())
    if not total:
        return []
    shares = {name: int(n) / total for (name, _), n in zip(SCRIPTS, letters[1:], strict=True) if n}
    order = sorted(shares.items(), key=lambda item: -item[1])
    told = [f"{name} {_percent(share)}" for name, share in order if share >= SMALL_SHARE][:4]
    title = ", ".join(told)
    detail = ""
    if rtl_rows:
        rtl = " and ".join(name for name, _ in order if name in RIGHT_TO_LEFT)
        detail = f"{counted(rtl_rows, 'row has', 'rows have')} {rtl}, written from right to left."
    data = {"shares": {name: round(share, 4) for name, share in order}, "right_to_left_rows": rtl_rows}
    return [Check("scripts", "info", len(told), title, detail, data=data)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"
