"""The sources of the advice: claims, papers, measurements and corrections, each with its figure and tag."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from engine import plain_yaml
from engine.paths import resources

TAGS = {
    "ARTICLE": "said in the article of LoRA tips that this list starts from",
    "PUBLISHED": "a public source",
    "MEASURED": "run or read for Tunesmith's design",
    "EARLIER": "measured before the design was written, not rerun",
    "OPEN": "an experiment that has no result yet",
}


@dataclass(frozen=True)
class Evidence:
    """One source. `corrections` are the ids of the notes that put right what an article's claim got wrong."""

    id: str
    title: str
    source: str
    figure: str
    tag: str
    link: str = ""
    corrections: tuple[str, ...] = ()

    @property
    def correction(self) -> str:
        """Return what is put right of an article's claim, empty where nothing is."""
        notes = [load()[name] for name in self.corrections]
        return " ".join(f"{note.title}: {note.figure}." for note in notes)


@cache
def load() -> dict[str, Evidence]:
    """Return every source by its id, in the order of the file."""
    text = (resources("advice") / "evidence.yaml").read_text(encoding="utf-8")
    rows: dict[str, dict[str, Any]] = plain_yaml.read(text, "The list of sources")[0]
    return {
        name: Evidence(
            id=name,
            title=row["title"],
            source=row["source"],
            figure=row["figure"],
            tag=row["tag"],
            link=row.get("link", ""),
            corrections=tuple(row.get("corrections", ())),
        )
        for name, row in rows.items()
    }
