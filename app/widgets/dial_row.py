"""A slider with its name and value in one narrow row; tells when it has come to rest."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout, QSlider, QWidget

from app.i18n import tr
from app.theme.style import current_theme
from app.widgets.label import TextLabel, set_tip

REST_MS = 350


class DialRow(QWidget):
    """`words(index)` is what stands behind the slider.

    Signals:
        rested: it has not been moved for a moment.
    """

    rested = Signal(int)

    def __init__(self, name: str, words: Callable[[int], str], widest: str, tip: str = "") -> None:
        super().__init__()
        self._words = words
        theme = current_theme()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(theme.px(8))
        self.name = TextLabel(name, "small")
        self.name.setMinimumWidth(theme.metrics("small").horizontalAdvance(tr("Strength")))
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName(name)
        self.slider.setAccessibleDescription(tip)
        self.slider.setMinimumWidth(theme.px(48))
        self.value = TextLabel("", "mono")
        self.value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.value.setMinimumWidth(theme.metrics("small", mono=True).horizontalAdvance(widest))
        for part in (self, self.slider):
            set_tip(part, tip)
        row.addWidget(self.name)
        row.addWidget(self.slider, 1)
        row.addWidget(self.value)
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(lambda: self.rested.emit(self.slider.value()))
        self.slider.valueChanged.connect(self._on_moved)

    def show_range(self, least: int, most: int, value: int, page: int = 1) -> None:
        """Show a range and a value without telling anybody."""
        self.slider.blockSignals(True)
        self.slider.setRange(least, most)
        self.slider.setPageStep(page)
        self.slider.setValue(value)
        self.slider.blockSignals(False)
        self._show()

    @property
    def waiting(self) -> bool:
        """Return whether it was moved a moment ago and has not told that it rests."""
        return self._rest.isActive()

    def _on_moved(self, value: int) -> None:
        self._show()
        self._rest.start()

    def _show(self) -> None:
        self.value.setText(self._words(self.slider.value()))
