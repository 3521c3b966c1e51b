"""Bundled data sets, and what a row of each usual format looks like."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.widgets.card import Inset
from app.widgets.label import ElidedLabel, TextLabel
from engine.paths import resources
from engine.recipe import codec
from engine.recipe.fields import field_specs


@dataclass(frozen=True)
class Example:
    """One bundled data set and the fields that suit it."""

    name: str
    file: str
    title: str
    sentence: str
    folder: str = ""
    sets: tuple[tuple[str, Any], ...] = ()

    def path(self) -> Path:
        """Return its file."""
        return resources("examples", self.folder or self.name, self.file)

    def overrides(self) -> dict[str, Any]:
        """Return what its own recipe.yaml sets, its files as absolute paths."""
        file = resources("examples", self.name, "recipe.yaml")
        if not file.is_file():
            return dict(self.sets)
        recipe = codec.absolute(codec.load(file), file.parent)
        found: dict[str, Any] = {}
        for spec in field_specs():
            if spec.section:
                value = getattr(getattr(recipe, spec.section), spec.name)
                if value != spec.default:
                    found[spec.path] = value
        return found

    def figures(self) -> str:
        """Return how large its file is."""
        path = self.path()
        return f"{self.file}, {i18n.size(path.stat().st_size)}" if path.is_file() else ""


EXAMPLES = (
    Example(
        "support",
        "train.jsonl",
        "Answer in a format",
        "Support messages in, one JSON object out: queue, priority, summary.",
    ),
    Example(
        "formal",
        "formal.csv",
        "Teach a style",
        "Plain sentences rewritten formally. Two columns of a CSV file.",
    ),
    Example(
        "text",
        "pump-manual.md",
        "Learn a field's words",
        "The manual of a pump, learned as it is, paragraph by paragraph.",
        "manual",
        (("data.format", "text"), ("data.train_on", "all")),
    ),
)

_SHAPES = (
    (
        "Messages",
        "Conversations with roles, also several turns long.",
        '{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}',
    ),
    (
        "Prompt and answer",
        "One question, one answer. Two columns of a CSV file will do.",
        '{"prompt": "…", "completion": "…"}',
    ),
    (
        "Alpaca",
        "An instruction, perhaps something to work on, and the answer.",
        '{"instruction": "…", "input": "…", "output": "…"}',
    ),
    (
        "Plain text",
        "A .txt or .md file, or one column named text: learned word by word.",
        "Once there was a keeper of a lighthouse who …",
    ),
)


class FormatSample(QWidget):
    """A format's name, when it is the right one, and how one row of it looks."""

    def __init__(self, title: str, sentence: str, row: str) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 4)
        column.setSpacing(4)
        line = QHBoxLayout()
        line.setSpacing(10)
        line.addWidget(TextLabel(title, "body"))
        line.addWidget(ElidedLabel(sentence, "small"), 1)
        column.addLayout(line)
        inset = Inset()
        inset.body.addWidget(ElidedLabel(row, "mono"))
        column.addWidget(inset)

    @classmethod
    def all(cls) -> list[FormatSample]:
        """Return one for each format that people have most often."""
        return [cls(title, sentence, row) for title, sentence, row in _SHAPES]
