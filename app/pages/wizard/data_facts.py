"""The data in one line: rows, trained tokens, longest, split, the format and how it was found."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.data_peek import is_complete
from app.pages.wizard.data_view import DataView
from app.theme.style import current_theme
from app.widgets.label import TextLabel, number_label
from app.widgets.meter import Meter, Part, StackedBar

FORMAT_WORDS = {
    "messages": "Messages with roles",
    "sharegpt": "ShareGPT turns",
    "alpaca": "Alpaca",
    "prompt_completion": "Prompt and answer",
    "text": "Plain text",
    "preference": "Preference pairs",
}
MOST_KEYS = 4


def key_words(columns: Sequence[str], format: str) -> str:
    """Return `from the keys “message”, “answer”`, or what stands in its place for plain text."""
    shown = [f"“{name}”" for name in dict.fromkeys(columns)][:MOST_KEYS]
    if not shown:
        return "each paragraph as it is" if format == "text" else ""
    return f"from the key{'s' if len(shown) > 1 else ''} {', '.join(shown)}"


class _Fact(QWidget):
    """A small title over a number, with a word beside it."""

    def __init__(self, title: str) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        self.title = TextLabel(title, "small")
        column.addWidget(self.title)
        line = QHBoxLayout()
        line.setSpacing(8)
        self.number = number_label("–", "number")
        self.beside = TextLabel("", "small")
        # The smaller words stand on the line of the number.
        self.beside.setContentsMargins(0, 0, 0, current_theme().px(2))
        line.addWidget(self.number)
        line.addWidget(self.beside, 0, Qt.AlignmentFlag.AlignBottom)
        line.addStretch(1)
        column.addLayout(line)
        column.addStretch(1)
        self.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)

    def show_fact(self, number: str, beside: str = "") -> None:
        """Show another number and the word beside it."""
        self.number.setText(number)
        self.beside.setText(beside)
        self.beside.setVisible(bool(beside))
        self.setAccessibleName(f"{self.title.text()}: {number} {beside}".strip())


class FactsRow(QWidget):
    """The figures, the strip, the format; below them how far reading has come."""

    def __init__(self) -> None:
        super().__init__()
        theme = current_theme()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(theme.px(10))
        row = QHBoxLayout()
        row.setSpacing(theme.px(26))
        self.rows, self.trained, self.longest = _Fact("Rows"), _Fact("Trained tokens"), _Fact("Longest")
        for fact in (self.rows, self.trained, self.longest):
            row.addWidget(fact)
        row.addLayout(self._build_split())
        row.addLayout(self._build_format(), 1)
        column.addLayout(row)
        column.addWidget(self._build_progress())

    def _build_split(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(current_theme().px(8))
        column.addWidget(TextLabel("Split", "small"))
        self.split = StackedBar(legend=False, height=8)
        self.split.setAccessibleName("Training and validation")
        self.split.setFixedWidth(current_theme().px(112))
        column.addWidget(self.split)
        self.kept_aside = TextLabel("", "least")
        column.addWidget(self.kept_aside)
        column.addStretch(1)
        return column

    def _build_format(self) -> QVBoxLayout:
        column = QVBoxLayout()
        column.setSpacing(1)
        self.format, self.keys = TextLabel("", "strong"), TextLabel("", "small", wrap=True)
        for label in (self.format, self.keys):
            label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
            column.addWidget(label)
        column.addStretch(1)
        return column

    def _build_progress(self) -> QWidget:
        self.progress = QWidget()
        column = QVBoxLayout(self.progress)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(5)
        self.progress_bar = Meter(0.0, "accent", 4, "How far reading has come")
        self.progress_words = TextLabel("", "small")
        column.addWidget(self.progress_bar)
        column.addWidget(self.progress_words)
        self.progress.hide()
        return self.progress

    # -- showing -------------------------------------------------------------------------------------------
    def show_waiting(self, busy: bool) -> None:
        """Say that the data is being read, or that nothing is known."""
        for fact in (self.rows, self.trained, self.longest):
            fact.show_fact("–")
        self.split.set([], 1.0)
        self.kept_aside.setText("")
        self.format.setText("")
        self.keys.setText("")
        self.show_busy(busy)

    def show_busy(self, busy: bool) -> None:
        """Show the bar while rows are being read; it begins anew."""
        if busy and self.progress.isHidden():
            self.progress_bar.set(0.0)
            self.progress_words.setText("Reading and counting tokens…")
        self.progress.setVisible(busy)

    def show_progress(self, done: int, total: int) -> None:
        """Say how far reading has come; the bar never runs backwards."""
        if self.progress.isHidden():
            return
        self.progress_bar.set(max(self.progress_bar.value, done / total if total else 0.0))
        of = f" of about {i18n.number(total)}" if total else ""
        self.progress_words.setText(f"Reading and counting tokens… {i18n.number(done)}{of} rows")

    def show_view(self, view: DataView, busy: bool, columns: Sequence[str]) -> None:
        """Show the figures of the data; those of a first sample are marked with `about`."""
        about = "" if is_complete(view) else "about "
        whole = view.train_examples + view.validation_examples
        self.rows.show_fact(about + i18n.number(whole))
        share = 100 * view.supervised_tokens / view.total_tokens if view.total_tokens else 0.0
        self.trained.show_fact(about + i18n.number(view.supervised_tokens), f"{i18n.number(share)} %")
        self.longest.show_fact(i18n.number(view.longest), "or more" if about else "")
        held = view.validation_examples
        parts = [("training", view.train_examples, "accent"), ("validation", held, "series2")]
        strip = [Part(name, float(count), token, i18n.number(count)) for name, count, token in parts]
        self.split.set(strip, max(1.0, float(whole)))
        words = f"{about}{i18n.number(held)} to measure on" if held else "nothing kept aside"
        self.kept_aside.setText(words)
        self.format.setText(FORMAT_WORDS.get(view.format, view.format))
        self.keys.setText(key_words(columns, view.format))
        self.show_busy(busy or bool(about))
