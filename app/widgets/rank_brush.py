"""What the painter paints with: the usual ranks as chips, any other typed, and leaving out."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QPushButton, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel
from app.widgets.typed_editors import LineField
from engine.recipe.fields import field_spec, parse_number

CHIPS = (4, 8, 16, 32, 64, 128)


class RankBrush(QWidget):
    """The rank to paint with; 0 leaves a module out.

    Signals:
        chosen: another rank.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        spec = field_spec("adapter.r")
        self._bounds = (int(spec.minimum or 1), int(spec.maximum or 1024))
        self.rank = 16
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(TextLabel("Paint with", "small"))
        self._group = QButtonGroup(self)
        self.chips: dict[int, QPushButton] = {}
        for rank in (0, *CHIPS):
            words, name = ("Off", "Leave out") if rank == 0 else (str(rank), f"Rank {rank}")
            chip = button(words, kind="chip", name=f"Paint with: {name}", compact=True)
            chip.clicked.connect(lambda _checked=False, value=rank: self._on_chosen(value))
            self._group.addButton(chip)
            row.addWidget(chip)
            self.chips[rank] = chip
        self.line = LineField()
        self.line.setAccessibleName("Paint with another rank")
        self.line.setAccessibleDescription(f"A whole number from {self._bounds[0]} to {self._bounds[1]}")
        self.line.setPlaceholderText("rank")
        self.line.textEdited.connect(self._on_typed)
        row.addWidget(self.line)
        row.addStretch(1)
        current_theme().changed.connect(self._on_theme_changed)
        self._on_theme_changed()
        self.show_rank(self.rank)

    def show_rank(self, rank: int) -> None:
        """Show a rank as the one to paint with."""
        self.rank = rank
        self._group.setExclusive(False)
        for value, chip in self.chips.items():
            chip.setChecked(value == rank)
        self._group.setExclusive(True)
        if not self.line.hasFocus():
            self.line.setText("" if rank in self.chips else str(rank))
        self._mark(False)

    def _on_chosen(self, rank: int) -> None:
        self.line.clear()
        self.show_rank(rank)
        self.chosen.emit(rank)

    def _on_typed(self, text: str) -> None:
        try:
            rank = parse_number(text)
        except ValueError:
            self._mark(bool(text.strip()))
            return
        if rank != int(rank) or not self._bounds[0] <= rank <= self._bounds[1]:
            self._mark(True)
            return
        self.show_rank(int(rank))
        self.chosen.emit(int(rank))

    def _mark(self, faulty: bool) -> None:
        """Draw the field's border in `bad` while what stands in it is no rank."""
        if (self.line.property("invalid") == "true") != faulty:
            self.line.setProperty("invalid", "true" if faulty else "false")
            self.line.style().unpolish(self.line)
            self.line.style().polish(self.line)

    def _on_theme_changed(self) -> None:
        self.line.setFixedWidth(current_theme().px(64))
        self.line.setFont(current_theme().font("body", mono=True))
