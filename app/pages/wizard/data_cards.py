"""The smaller parts of the data step: bundled examples, a file's line, the figures, the problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.data_view import DataView
from app.widgets.button import button
from app.widgets.card import Card, Inset
from app.widgets.label import ElidedLabel, TextLabel, hairline
from app.widgets.mark import Mark
from app.widgets.meter import StackedBar
from app.widgets.plan_column import Figure
from engine.data.rows import Finding
from engine.paths import resources
from engine.recipe import codec
from engine.recipe.fields import field_specs

MOST_PROBLEMS = 12
SEVERITIES = {"error": ("octagon", "bad"), "warning": ("triangle", "warn"), "report": ("info", "accent")}
FORMAT_WORDS = {
    "messages": "Messages with roles",
    "sharegpt": "ShareGPT conversations",
    "alpaca": "Alpaca: instruction and output",
    "prompt_completion": "Prompt and answer",
    "text": "Plain text",
    "preference": "Preference pairs, of which the chosen answer is learned",
}


@dataclass(frozen=True)
class Example:
    """One bundled data set and the fields that suit it."""

    name: str
    file: str
    title: str
    sentence: str

    def overrides(self) -> dict[str, Any]:
        """Return what its own recipe.yaml sets, its files as absolute paths."""
        file = resources("examples", self.name, "recipe.yaml")
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
        path = resources("examples", self.name, self.file)
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


class SourceLine(QWidget):
    """One file of the data.

    Signals:
        removed: it is to be left out.
    """

    removed = Signal()

    def __init__(self, file: str) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        path = Path(file).expanduser()
        there = path.is_file()
        row.addWidget(Mark("file" if there else "triangle", "dim" if there else "bad", 16))
        row.addWidget(TextLabel(path.name, "strong"))
        row.addWidget(ElidedLabel(str(path.parent), "small"), 1)
        words = i18n.size(path.stat().st_size) if there else "not there any more"
        size = TextLabel(words, "small")
        size.set_token("dim" if there else "bad")
        row.addWidget(size)
        row.addWidget(
            button(
                icon="x",
                kind="ghost",
                name=f"Leave {path.name} out",
                compact=True,
                on_click=self.removed.emit,
            )
        )


class FactsRow(QWidget):
    """Rows, trained tokens, longest, what is cut, and the split as a strip."""

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 6, 0, 0)
        column.setSpacing(10)
        grid = QGridLayout()
        grid.setHorizontalSpacing(18)
        self.rows = Figure("Examples")
        self.trained = Figure("Trained tokens")
        self.longest = Figure("Longest")
        self.cut = Figure("Too long")
        for place, figure in enumerate((self.rows, self.trained, self.longest, self.cut)):
            grid.addWidget(figure, 0, place, Qt.AlignmentFlag.AlignTop)
            grid.setColumnStretch(place, 1)
        column.addLayout(grid)
        self.split = StackedBar(height=8)
        self.split.setAccessibleName("Training and validation")
        column.addWidget(self.split)
        self.format = TextLabel("", "small", wrap=True)
        column.addWidget(self.format)

    def show_waiting(self, busy: bool) -> None:
        """Say that the data is being read, or that nothing is known."""
        for figure in (self.rows, self.trained, self.longest, self.cut):
            figure.show_figure("–")
        self.split.set([], 1.0)
        self.format.setText("Reading and counting tokens…" if busy else "")

    def show_progress(self, done: int, total: int) -> None:
        """Say how far reading has come."""
        self.format.setText(
            f"Reading and counting tokens… {i18n.number(done)} of about {i18n.number(total)} rows"
        )

    def show_view(self, view: DataView, busy: bool) -> None:
        """Show the figures of the data."""
        whole = view.train_examples + view.validation_examples
        left_out = len(view.whole.rows) + view.refused - whole
        below = f"{i18n.number(left_out)} left out" if left_out > 0 else ""
        self.rows.show_figure(i18n.number(whole), below)
        share = 100 * view.supervised_tokens / view.total_tokens if view.total_tokens else 0.0
        self.trained.show_figure(i18n.number(view.supervised_tokens), f"{i18n.number(share)} % of all")
        self.longest.show_figure(i18n.number(view.longest), "tokens")
        self.cut.show_figure(i18n.number(view.truncated), f"beyond {i18n.number(view.max_length)}")
        parts = [
            ("training", float(view.train_examples), "accent"),
            ("validation", float(view.validation_examples), "series2"),
        ]
        self.split.set([_part(*part) for part in parts], max(1.0, float(whole)))
        words = FORMAT_WORDS.get(view.format, view.format)
        text = ". ".join(filter(None, (words, view.about.reason)))
        self.format.setText(f"Reading again… {text}" if busy else text)


def _part(name: str, value: float, token: str) -> Any:
    from app.widgets.meter import Part

    return Part(name, value, token, i18n.number(value))


class ProblemsCard(Card):
    """What is wrong in the files, each with its place and the way out."""

    def __init__(self) -> None:
        super().__init__("Problems")
        self._lines = QVBoxLayout()
        self._lines.setSpacing(8)
        self.body.addLayout(self._lines)

    def show_problems(self, problems: Sequence[Finding]) -> None:
        """Show other problems."""
        self.set_title(f"{i18n.number(len(problems))} problems" if len(problems) != 1 else "One problem")
        while (item := self._lines.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for index, problem in enumerate(problems[:MOST_PROBLEMS]):
            if index:
                self._lines.addWidget(hairline())
            self._lines.addWidget(_problem_line(problem))
        rest = len(problems) - MOST_PROBLEMS
        if rest > 0:
            self._lines.addWidget(TextLabel(f"and {i18n.number(rest)} more", "small"))


def _problem_line(problem: Finding) -> QWidget:
    made = QWidget()
    row = QHBoxLayout(made)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(10)
    row.addWidget(Mark(*SEVERITIES[problem.severity], 16), 0, Qt.AlignmentFlag.AlignTop)
    words = QVBoxLayout()
    words.setSpacing(1)
    words.addWidget(TextLabel(problem.message, "body", wrap=True).make_selectable())
    place = (
        f"{Path(problem.file).name}, line {i18n.number(problem.line)}"
        if problem.line
        else Path(problem.file).name
    )
    words.addWidget(
        TextLabel(
            " · ".join(filter(None, (place, problem.hint, problem.code))), "small", wrap=True
        ).make_selectable()
    )
    row.addLayout(words, 1)
    return made
