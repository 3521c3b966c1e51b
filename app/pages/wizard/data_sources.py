"""The files of the data, a line each: size, rows, part, encoding, share, and the way out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.data_files import FileState
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.mark import Mark
from app.widgets.share_editor import ShareEditor
from engine.paths import show_name

USUAL_ENCODING = "utf-8"


@dataclass(frozen=True)
class SourceFacts:
    """What a line says of one file; `rows` and `state` are None while they are not known."""

    file: str
    state: FileState | None = None
    kind: str = ""
    rows: int | None = None
    parts: tuple[str, ...] = ()
    part: str | None = None
    encoding: str | None = None
    share: float | None = None
    shared: bool = False


class SourceLine(QWidget):
    """One file.

    Signals:
        removed, locate_requested, encoding_requested: a button was pressed.
        part_chosen: another sheet, list, member or split.
        share_edited: another share, or None.
    """

    removed = Signal()
    locate_requested = Signal()
    encoding_requested = Signal()
    part_chosen = Signal(str)
    share_edited = Signal(object)

    def __init__(self, facts: SourceFacts) -> None:
        super().__init__()
        path = Path(facts.file).expanduser()
        self._name = show_name(path.name, 60)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.mark = Mark("file", "dim", 16)
        self.title = TextLabel(self._name, "small_text")
        self.place = ElidedLabel(show_name(str(path.parent), 200), "small")
        self.figures = TextLabel("", "small")
        self.parts = QComboBox()
        self.parts.setAccessibleName(f"Part of {self._name}")
        self.encoding = button("", kind="link", compact=True, on_click=self.encoding_requested.emit)
        self.locate = button("Locate…", compact=True, on_click=self.locate_requested.emit)
        self.locate.setAccessibleName(f"Locate {self._name}")
        words = f"Leave {self._name} out"
        remove = button(icon="x", kind="ghost", name=words, compact=True, on_click=self.removed.emit)
        row.addWidget(self.mark)
        row.addWidget(self.title)
        row.addWidget(self.place, 1)
        for widget in (self.figures, self.parts, self.encoding, self.locate, remove):
            row.addWidget(widget)
        column.addLayout(row)
        self.share = ShareEditor(self._name)
        self.share.edited.connect(self.share_edited)
        below = QHBoxLayout()
        below.setContentsMargins(current_theme().px(24), 0, 0, 0)
        self.share_title = TextLabel("Share of the training rows", "small")
        below.addWidget(self.share_title)
        below.addWidget(self.share)
        below.addStretch(1)
        column.addLayout(below)
        self.parts.activated.connect(lambda index: self.part_chosen.emit(self.parts.itemText(index)))
        self.show_facts(facts)

    def show_facts(self, facts: SourceFacts) -> None:
        """Show what is known of the file now."""
        state = facts.state
        gone = state is not None and not state.there
        folder = state is not None and state.folder
        self.mark.set("triangle" if gone else "folder" if folder else "file", "bad" if gone else "dim")
        said = [
            f"{i18n.number(facts.rows)} rows" if facts.rows is not None else "",
            i18n.size(state.size) if state is not None and state.size is not None else "",
        ]
        self.figures.setText("not there any more" if gone else " · ".join(filter(None, said)))
        self.figures.set_token("bad" if gone else "dim")
        self.locate.setVisible(gone)
        self._show_parts(facts)
        old = facts.encoding not in (None, USUAL_ENCODING)
        self.encoding.setVisible(old and not gone)
        self.encoding.setText(facts.encoding or "")
        self.encoding.setAccessibleName(f"Encoding of {self._name}: {facts.encoding}")
        for widget in (self.share, self.share_title):
            widget.setVisible(facts.shared and not gone)
        self.share.show_share(facts.share)

    def _show_parts(self, facts: SourceFacts) -> None:
        self.parts.setVisible(len(facts.parts) > 1)
        if tuple(self.parts.itemText(i) for i in range(self.parts.count())) != facts.parts:
            self.parts.clear()
            self.parts.addItems(list(facts.parts))
        if facts.part is not None:
            self.parts.setCurrentIndex(max(0, self.parts.findText(facts.part)))


class SourceList(QWidget):
    """The lines, and what their shares come to.

    Signals:
        removed, locate_requested, encoding_requested: the file.
        part_chosen: (file, part).
        share_edited: (file, share or None).
    """

    removed = Signal(str)
    locate_requested = Signal(str)
    encoding_requested = Signal(str)
    part_chosen = Signal(str, str)
    share_edited = Signal(str, object)

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        self._lines = QVBoxLayout()
        self._lines.setSpacing(4)
        column.addLayout(self._lines)
        self.sum = TextLabel("", "small", wrap=True)
        column.addWidget(self.sum)
        self.lines: dict[str, SourceLine] = {}

    def show_sources(self, sources: Sequence[SourceFacts]) -> None:
        """Show these files; a line that stays keeps the focus."""
        files = [facts.file for facts in sources]
        if list(self.lines) != files:
            self._build(sources)
        for facts in sources:
            self.lines[facts.file].show_facts(facts)
        self._show_sum(sources)

    def _build(self, sources: Sequence[SourceFacts]) -> None:
        while (item := self._lines.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.lines = {}
        for facts in sources:
            file, line = facts.file, SourceLine(facts)
            line.removed.connect(lambda f=file: self.removed.emit(f))
            line.locate_requested.connect(lambda f=file: self.locate_requested.emit(f))
            line.encoding_requested.connect(lambda f=file: self.encoding_requested.emit(f))
            line.part_chosen.connect(lambda part, f=file: self.part_chosen.emit(f, part))
            line.share_edited.connect(lambda share, f=file: self.share_edited.emit(f, share))
            self._lines.addWidget(line)
            self.lines[file] = line

    def _show_sum(self, sources: Sequence[SourceFacts]) -> None:
        words, wrong = sum_words([facts.share for facts in sources])
        self.sum.setText(words)
        self.sum.set_token("bad" if wrong else "dim")
        self.sum.setVisible(bool(words))


def sum_words(shares: Sequence[float | None]) -> tuple[str, bool]:
    """Return what the shares of all files come to, and whether that cannot be."""
    given = [share for share in shares if share is not None]
    if len(shares) < 2 or not given:
        return "", False
    total, open_ones = sum(given), len(shares) - len(given)
    percent = f"{i18n.number(100 * total, 0 if abs(100 * total - round(100 * total)) < 0.05 else 1)} %"
    if total > 1 + 1e-9:
        return f"The shares come to {percent}: let them come to 100 % or less.", True
    if open_ones and total > 1 - 1e-9:
        return f"The shares come to {percent}: nothing is left for the files that give all rows.", True
    if open_ones:
        rest = f"{i18n.number(100 * (1 - total))} %"
        return f"The shares come to {percent}; the other files have {rest} between them.", False
    return f"The shares come to {percent}" + ("." if total > 1 - 1e-9 else ", taken in proportion."), False
