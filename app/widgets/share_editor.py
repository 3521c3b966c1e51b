"""How much of the training rows a file gives: a slider and a number, or all its rows."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QSlider, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import TextLabel


class _Percent(QLineEdit):
    """A number whose Ctrl+Z belongs to the form."""

    def event(self, event: QEvent) -> bool:
        undo = (QKeySequence.StandardKey.Undo, QKeySequence.StandardKey.Redo)
        if event.type() == QEvent.Type.ShortcutOverride and any(event.matches(each) for each in undo):
            event.ignore()
            return False
        return super().event(event)


class ShareEditor(QWidget):
    """A share between 0 and 1, or None for all rows.

    Signals:
        edited: the share that was chosen, or None.
    """

    edited = Signal(object)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.share: float | None = None
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(1, 100)
        self.slider.setPageStep(10)
        self.slider.setAccessibleName(f"Share of {name}")
        self.slider.setFixedWidth(current_theme().px(130))
        self.field = _Percent()
        self.field.setAccessibleName(f"Share of {name} in percent; empty: all rows")
        self.field.setFixedWidth(current_theme().px(52))
        self.field.setPlaceholderText("all")
        self.all = button("All rows", kind="chip", name=f"All rows of {name}")
        for widget in (self.slider, self.field, TextLabel("%", "small"), self.all):
            row.addWidget(widget)
        self.slider.valueChanged.connect(lambda percent: self._take(percent / 100))
        self.field.editingFinished.connect(self._on_typed)
        self.all.clicked.connect(lambda _checked=False: self._take(None))

    def show_share(self, share: float | None) -> None:
        """Show a share without telling anybody."""
        self.share = share
        self.slider.blockSignals(True)
        self.slider.setValue(100 if share is None else max(1, round(share * 100)))
        self.slider.blockSignals(False)
        if not self.field.hasFocus() or self._typed() != share:
            self.field.setText("" if share is None else f"{share * 100:g}")
        self.all.setChecked(share is None)

    def _typed(self) -> float | None:
        text = self.field.text().strip().rstrip("%").strip().replace(",", ".")
        if not text:
            return None
        try:
            return min(1.0, max(0.001, float(text) / 100))
        except ValueError:
            return self.share

    def _on_typed(self) -> None:
        share = self._typed()
        if share == self.share:
            self.show_share(share)
        else:
            self._take(share)

    def _take(self, share: float | None) -> None:
        self.show_share(share)
        self.edited.emit(share)
