"""How many rows are of some kind, as bars against all rows, each with a button that shows only those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QPushButton, QWidget

from app import i18n
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel
from app.widgets.meter import Meter

LEAST_SHARE = 0.004


@dataclass(frozen=True)
class CountBar:
    """One kind of rows: `id` names it in the signal, `token` is its colour."""

    id: str
    name: str
    count: int
    token: str = "warn"


class CountBars(QWidget):
    """One line a kind.

    Signals:
        filtered: the id of the kind to be shown alone, or an empty text for all rows.
    """

    filtered = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(1, 1)
        self._shown: tuple[tuple[CountBar, ...], int] = ((), 0)
        self.chips: dict[str, QPushButton] = {}

    def show_counts(self, bars: Sequence[CountBar], total: int) -> None:
        """Show other counts out of `total` rows."""
        if (tuple(bars), total) == self._shown:
            return
        chosen = self.chosen
        self._shown = (tuple(bars), total)
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.chips = {}
        for row, bar in enumerate(bars):
            self._add(row, bar, total)
        if chosen in self.chips:
            self.chips[chosen].setChecked(True)

    def _add(self, row: int, bar: CountBar, total: int) -> None:
        name = TextLabel(bar.name, "body")
        meter = Meter(0.0, bar.token, 8, bar.name)
        share = bar.count / total if total else 0.0
        # One row of a million is still to be seen.
        meter.set(max(LEAST_SHARE, share) if bar.count else 0.0)
        count = TextLabel(i18n.number(bar.count), "mono" if bar.count else "mono_dim")
        count.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        count.setMinimumWidth(current_theme().px(56))
        chip = button("Filter", "filter", kind="chip", name=f"Show only {bar.name.lower()}")
        chip.setEnabled(bar.count > 0)
        chip.clicked.connect(lambda checked, b=bar.id: self._on_pressed(b, checked))
        self.chips[bar.id] = chip
        for column, widget in enumerate((name, meter, count, chip)):
            self._grid.addWidget(widget, row, column)

    @property
    def chosen(self) -> str:
        """Return the kind that is shown alone, or an empty text."""
        return next((name for name, chip in self.chips.items() if chip.isChecked()), "")

    def choose(self, name: str) -> None:
        """Check the button of one kind, or none, without telling anybody."""
        for other, chip in self.chips.items():
            chip.setChecked(other == name)

    def _on_pressed(self, name: str, checked: bool) -> None:
        self.choose(name if checked else "")
        self.filtered.emit(name if checked else "")
