"""The modules of a layer as the block they are: attention and MLP on the stream, a box for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QAbstractButton, QSizePolicy, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.editor import Editor
from app.widgets.flow import FlowLayout
from app.widgets.label import TextLabel, set_tip
from app.widgets.look import Look
from engine.recipe.fields import FieldSpec

COLUMNS = ("attention_in", "attention_out", "mlp_in", "mlp_out", "head", "other")
BOX, HIGH, GAP, RAIL = 78, 36, 6, 16


@dataclass(frozen=True)
class MapBox:
    """One kind of module: its row in the grid, its words, its place in the block, its name in the model."""

    row: int
    words: str
    place: str
    name: str


@dataclass(frozen=True)
class BoxState:
    """How much of a kind is adapted: `used` of `count` modules, with ranks from `least` to `most`."""

    used: int
    count: int
    least: int = 0
    most: int = 0


class ModuleBox(QAbstractButton):
    """A kind of module; filled as far as it is adapted."""

    def __init__(self, box: MapBox) -> None:
        super().__init__()
        self.box = box
        self.state = BoxState(0, 1)
        self.ranked = True
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        set_tip(self, box.name)

    def show_state(self, state: BoxState, ranked: bool) -> None:
        """Show how much of it is adapted."""
        self.state, self.ranked = state, ranked
        self.setChecked(state.used > 0)
        self.setAccessibleName(f"Apply to: {self.box.words}")
        self.setAccessibleDescription(f"{self.second_line()}, {self.box.name}")
        self.update()

    def second_line(self) -> str:
        """Return what stands below the name: its rank, or how many of its modules are adapted."""
        state = self.state
        if not state.used:
            return "off"
        if state.used < state.count:
            return f"{state.used} of {state.count}"
        if not self.ranked:
            return "on"
        return f"r {state.least}" if state.least == state.most else f"r {state.least}–{state.most}"

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(BOX), current_theme().px(HIGH))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme, used = current_theme(), self.state.used > 0
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(self.rect()).adjusted(1, 1, -1, -1)
        focus = self.hasFocus()
        pen = QPen(theme.color("accent" if used or focus else "edge"), 2 if focus else 1)
        if not used:
            pen.setStyle(Qt.PenStyle.DashLine)
        painter.setPen(pen)
        painter.setBrush(theme.color("accentbg") if used else theme.color("surface"))
        painter.drawRoundedRect(frame, 6, 6)
        if used:
            share = self.state.used / max(1, self.state.count)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("accent"))
            bar = QRectF(frame.left() + 6, frame.bottom() - 4, (frame.width() - 12) * share, 2)
            painter.drawRoundedRect(bar, 1, 1)
        painter.setPen(theme.color("text" if used else "dim"))
        painter.setFont(theme.font("small", 600 if used else None))
        half = frame.height() / 2
        top = QRectF(frame.left(), frame.top() + 1, frame.width(), half)
        words = painter.fontMetrics().elidedText(
            self.box.words, Qt.TextElideMode.ElideRight, int(frame.width()) - 4
        )
        painter.drawText(top, Qt.AlignmentFlag.AlignCenter, words)
        painter.setPen(theme.color("dim"))
        painter.setFont(theme.font("least"))
        below = QRectF(frame.left(), frame.top() + half - 3, frame.width(), half)
        painter.drawText(below, Qt.AlignmentFlag.AlignCenter, self.second_line())


class ModuleMap(QWidget):
    """The boxes on their places, joined as the layer computes.

    Signals:
        toggled: the row of the box that was pressed.
        looked_at: the row of the box that pointer or keyboard is at, -1 when it is left.
    """

    toggled = Signal(int)
    looked_at = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.boxes: dict[int, ModuleBox] = {}
        self._columns: list[tuple[str, list[ModuleBox]]] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self._on_theme_changed)

    def show_boxes(self, boxes: Sequence[MapBox]) -> None:
        """Draw the modules of another model."""
        for old in self.boxes.values():
            old.hide()
            old.deleteLater()
        self.boxes = {}
        for box in boxes:
            made = ModuleBox(box)
            made.setParent(self)
            made.clicked.connect(lambda _checked=False, row=box.row: self.toggled.emit(row))
            Look(made, lambda over, row=box.row: self.looked_at.emit(row if over else -1), self)
            made.show()
            self.boxes[box.row] = made
        self._columns = []
        for place in COLUMNS:
            found = [made for made in self.boxes.values() if made.box.place == place]
            if found:
                self._columns.append((place, found))
        self.setVisible(bool(boxes))
        order = [made for _, column in self._columns for made in column]
        for before, after in zip(order, order[1:], strict=False):
            QWidget.setTabOrder(before, after)
        if order:
            self.setFocusProxy(order[0])
        self._on_theme_changed()

    def show_states(self, states: dict[int, BoxState], ranked: bool) -> None:
        """Show how much of each kind is adapted."""
        for row, state in states.items():
            if row in self.boxes:
                self.boxes[row].show_state(state, ranked)

    # -- layout --------------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        most = max((len(column) for _, column in self._columns), default=1)
        high = RAIL + 10 + most * HIGH + (most - 1) * GAP + 4
        return QSize(current_theme().px(430), current_theme().px(high))

    def minimumSizeHint(self) -> QSize:
        return QSize(current_theme().px(300), self.sizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def _on_theme_changed(self) -> None:
        self.updateGeometry()
        self._place()
        self.update()

    def _place(self) -> None:
        theme = current_theme()
        count = len(self._columns)
        if not count:
            return
        room = self.width() / count
        width = min(float(theme.px(BOX + 14)), room - theme.px(14))
        high, gap, top = theme.px(HIGH), theme.px(GAP), theme.px(RAIL + 10)
        pace = (self.width() - width) / max(1, count - 1) if count > 1 else 0.0
        pace = min(pace, width + theme.px(56))
        tall = self.height() - top
        for index, (_, column) in enumerate(self._columns):
            used = len(column) * high + (len(column) - 1) * gap
            y = top + (tall - used) / 2
            for box in column:
                box.setGeometry(QRectF(index * pace, y, width, high).toRect())
                y += high + gap

    # -- paint ---------------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        places = dict(self._columns)
        rail = theme.px(RAIL) / 2
        painter.setPen(QPen(theme.color("edge"), 1.5))
        chain = [places[name] for name in COLUMNS[:4] if name in places]
        for before, after in zip(chain, chain[1:], strict=False):
            self._join(painter, before, after)
        if not chain:
            return
        # The stream passes both halves of the layer by; each half reads from it and adds to it.
        end = max(box.geometry().right() for box in chain[-1])
        if "head" in places:
            head = places["head"][0].geometry()
            end = head.center().x()
            painter.drawLine(QPointF(end, rail), QPointF(end, head.top()))
        painter.drawLine(QPointF(0, rail), QPointF(end, rail))
        for name, plus in (("attention_in", False), ("attention_out", True), ("mlp_in", False)):
            self._meet(painter, places.get(name), rail, plus)
        self._meet(painter, places.get("mlp_out"), rail, True)
        self._caption(painter, places, rail)

    def _join(self, painter: QPainter, before: list[ModuleBox], after: list[ModuleBox]) -> None:
        """Draw the lines from the boxes of one column to those of the next."""
        for box in before:
            for other in after:
                start = QPointF(box.geometry().right() + 1, box.geometry().center().y())
                end = QPointF(other.geometry().left(), other.geometry().center().y())
                bend = (start.x() + end.x()) / 2
                path = QPainterPath(start)
                path.cubicTo(QPointF(bend, start.y()), QPointF(bend, end.y()), end)
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawPath(path)

    def _meet(self, painter: QPainter, boxes: list[ModuleBox] | None, rail: float, plus: bool) -> None:
        """Draw where a half of the layer leaves the stream, or is added to it again."""
        if not boxes:
            return
        theme, box = current_theme(), boxes[0].geometry()
        x = float(box.center().x())
        painter.drawLine(QPointF(x, rail), QPointF(x, box.top()))
        painter.setBrush(theme.color("surface"))
        radius = theme.px(6) if plus else theme.px(2)
        painter.drawEllipse(QPointF(x, rail), radius, radius)
        if plus:
            painter.drawLine(QPointF(x - radius / 2, rail), QPointF(x + radius / 2, rail))
            painter.drawLine(QPointF(x, rail - radius / 2), QPointF(x, rail + radius / 2))

    def _caption(self, painter: QPainter, places: dict[str, list[ModuleBox]], rail: float) -> None:
        theme = current_theme()
        painter.setFont(theme.font("least"))
        metrics = painter.fontMetrics()
        for words, first, last in (
            ("attention", "attention_in", "attention_out"),
            ("MLP", "mlp_in", "mlp_out"),
        ):
            if first not in places or last not in places:
                continue
            left = places[first][0].geometry().center().x()
            right = places[last][0].geometry().center().x()
            width = metrics.horizontalAdvance(words) + theme.px(10)
            area = QRectF((left + right - width) / 2, 0, width, 2 * rail)
            painter.fillRect(area, theme.color("surface"))
            painter.save()
            painter.setPen(theme.color("dim"))
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, words)
            painter.restore()


class ModulesEditor(Editor):
    """What `target_modules` comes to, in words; names that the model lacks stand below, to be taken out.

    `map` is the control itself: it is wider than a row of a form has room for and is put below it.

    Signals:
        toggled: the row of the box that was pressed.
        stray_dropped: the name of no module that is to leave the recipe.
    """

    toggled = Signal(int)
    stray_dropped = Signal(str)
    grows = True

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__(spec)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.map = ModuleMap()
        self.words = TextLabel("", "small", wrap=True)
        self.words.setMinimumHeight(current_theme().px(32))
        self.strays: dict[str, QAbstractButton] = {}
        self._place = QWidget()
        self._flow = FlowLayout(self._place)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        column.addWidget(self.words)
        column.addWidget(self._place)
        self._place.hide()
        self.map.toggled.connect(self.toggled)
        self.setFocusProxy(self.map)

    def show_words(self, words: str) -> None:
        """Say how many modules are adapted and what they train."""
        self.words.setText(words)

    def show_value(self, value: Any) -> None:
        """The boxes show what a value means in the model; see `ModuleMap.show_states`."""

    def show_strays(self, names: Sequence[str]) -> None:
        """Show names of the recipe that no module of the model has."""
        if list(self.strays) == list(names):
            return
        for chip in self.strays.values():
            self._flow.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        self.strays = {}
        for name in names:
            chip = button(f"{name} is not in this model", "x", compact=True, tip=f"Take {name} out")
            chip.clicked.connect(lambda _checked=False, each=name: self.stray_dropped.emit(each))
            self._flow.addWidget(chip)
            self.strays[name] = chip
        self._place.setVisible(bool(names))
