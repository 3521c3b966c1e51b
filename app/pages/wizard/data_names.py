"""Names that stand in the data and want a meaning: roles of messages, numbers that are labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.data.columns import MISSING, lookup
from engine.data.options import ReadOptions
from engine.errors import EngineError

LOOKED_AT = 2_000
MOST_LABELS = 30
ROLE_KEYS = ("role", "from", "speaker")
KNOWN_ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True)
class NamesInData:
    """How often each name of a role, and each number in the answer's place, stands in the first rows."""

    roles: Mapping[str, int] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)


def names_in(file: str, read: ReadOptions, answer: str | None) -> NamesInData:
    """Look at the first rows of a file; `answer` is the column whose numbers may be labels.

    Raises EngineError where the file cannot be read.
    """
    from engine.data.readers import Row, read_rows

    roles: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    for number, row in enumerate(read_rows(Path(file).expanduser(), read)):
        if number >= LOOKED_AT:
            break
        if not isinstance(row, Row) or not isinstance(row.value, Mapping):
            continue
        roles.update(_roles(row.value))
        if answer is not None:
            value = lookup(row.value, answer)
            if value is not MISSING and value is not None:
                labels[label_text(value)] += 1
    few = 2 <= len(labels) <= MOST_LABELS and all(_is_number(label) for label in labels)
    return NamesInData(dict(roles.most_common(MOST_LABELS)), dict(labels.most_common()) if few else {})


def _roles(row: Mapping[str, Any]) -> Iterator[str]:
    for value in row.values():
        if not isinstance(value, list):
            continue
        for turn in value:
            if isinstance(turn, Mapping):
                found = next((turn[key] for key in ROLE_KEYS if isinstance(turn.get(key), str)), None)
                if found is not None:
                    yield found


def label_text(value: Any) -> str:
    """Return a label as the recipe's `label_names` calls it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _is_number(label: str) -> bool:
    return label.lstrip("+-").replace(".", "", 1).isdigit() or label in ("true", "false")


class NamesLookup:
    """Looks names up in the background, once for each file and way to read it; tells when some were found."""

    def __init__(self, background: Any, on_found: Callable[[], object]) -> None:
        self._background, self._on_found = background, on_found
        self._known: dict[tuple[str, ReadOptions, str | None], NamesInData] = {}
        self._looking = 0

    @property
    def busy(self) -> bool:
        """Say whether a file is being looked at."""
        return self._looking > 0

    def of(self, file: str, read: ReadOptions, answer: str | None) -> NamesInData:
        """Return what is known of a file; what is not known yet is looked up."""
        key = (file, read, answer)
        if key in self._known:
            return self._known[key]
        self._known[key] = NamesInData()
        self._looking += 1

        def taken(found: NamesInData) -> None:
            self._looking -= 1
            self._known[key] = found
            if found != NamesInData():
                self._on_found()

        def failed(error: EngineError) -> None:
            self._looking -= 1  # why the file cannot be read is said above the columns

        self._background.run(lambda: names_in(file, read, answer), taken, failed)
        return self._known[key]
