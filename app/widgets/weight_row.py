"""How often an adapter counts: its name, a slider filled from nought, the value typed, and a way out."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QDoubleSpinBox, QGridLayout, QSlider, QStyle, QWidget

from app.i18n import tr
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.label import ElidedLabel, set_tip
from app.widgets.mark import Swatch

STEPS = 100  # of the slider for a weight of 1
HANDLE = 16


class WeightSlider(QSlider):
    """A slider whose bar goes from nought to the value, to either side; nought and one have ticks."""

    def __init__(self, token: str, least: float, most: float) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self._token = token
        self.setRange(round(least * STEPS), round(most * STEPS))
        self.setSingleStep(5)
        self.setPageStep(25)
        self.setMinimumWidth(current_theme().px(90))
        current_theme().changed.connect(self.update)

    def set_token(self, token: str) -> None:
        """Draw it in another colour."""
        self._token = token
        self.update()

    def _at(self, value: int) -> float:
        side = current_theme().px(HANDLE)
        room = self.width() - side
        place = QStyle.sliderPositionFromValue(self.minimum(), self.maximum(), value, room)
        return place + side / 2

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, thick = self.height() / 2, theme.px(4)
        token = self._token if self.isEnabled() else "edge"
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("edge"))
        painter.drawRoundedRect(QRectF(0, middle - thick / 2, self.width(), thick), thick / 2, thick / 2)
        painter.setBrush(theme.color("dim"))
        for value in (0, STEPS):
            painter.drawRect(QRectF(self._at(value) - 0.75, middle - theme.px(7), 1.5, theme.px(14)))
        zero, here = self._at(0), self._at(self.value())
        painter.setBrush(theme.color(token))
        filled = QRectF(min(zero, here), middle - thick / 2, abs(here - zero), thick)
        painter.drawRect(filled)
        side = theme.px(HANDLE)
        painter.setPen(QPen(theme.color("surface"), 2))
        painter.drawEllipse(QRectF(here - side / 2, middle - side / 2, side, side))


class WeightRow(QWidget):
    """One adapter on the board.

    Signals:
        changed: its weight, -1.5 to 1.5.
        removed: it is to go.
    """

    changed = Signal(float)
    removed = Signal()

    def __init__(self, name: str, facts: str, token: str, least: float, most: float) -> None:
        super().__init__()
        theme = current_theme()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(theme.px(10))
        grid.setVerticalSpacing(0)
        self.name = ElidedLabel(name, "strong")
        self.facts = ElidedLabel(facts, "least")
        words = tr("Weight of {name}").format(name=name)
        self.slider = WeightSlider(token, least, most)
        self.slider.setAccessibleName(words)
        set_tip(self.slider, tr("0 leaves it out, 1 counts it once, below 0 takes it away; arrows move it"))
        self.value = QDoubleSpinBox()
        self.value.setRange(least, most)
        self.value.setDecimals(2)
        self.value.setSingleStep(0.05)
        for part in (self.value, self.value.lineEdit()):
            part.setAccessibleName(tr("{words}, typed").format(words=words))
        self.value.setFixedWidth(theme.px(76))
        self.value.lineEdit().setTextMargins(theme.px(8), 0, theme.px(6), 0)
        self.value.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.remove = button(
            icon="x",
            kind="ghost",
            compact=True,
            name=tr("Take {name} off the board").format(name=name),
            on_click=self.removed.emit,
        )
        grid.addWidget(Swatch(token), 0, 0)
        grid.addWidget(self.name, 0, 1)
        grid.addWidget(self.facts, 1, 1)
        grid.addWidget(self.slider, 0, 2, 2, 1)
        grid.addWidget(self.value, 0, 3, 2, 1)
        grid.addWidget(self.remove, 0, 4, 2, 1)
        grid.setColumnStretch(1, 5)
        grid.setColumnStretch(2, 6)
        self.slider.valueChanged.connect(lambda value: self._take(value / STEPS))
        self.value.valueChanged.connect(self._take)

    def show_weight(self, weight: float) -> None:
        """Show a weight without telling anybody."""
        for field, value in ((self.slider, round(weight * STEPS)), (self.value, weight)):
            field.blockSignals(True)
            field.setValue(value)
            field.blockSignals(False)

    def _take(self, weight: float) -> None:
        self.show_weight(weight)
        self.changed.emit(weight)
