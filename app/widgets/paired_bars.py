"""Scores of base and adapter as paired bars, each with its interval, a line a metric, and the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFocusEvent, QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app.theme.icons import draw_icon
from app.theme.style import current_theme

LINE_HEIGHT, GAP = 58, 14
BAR, BETWEEN = 11, 5
LABEL_WIDTH, FIGURES_WIDTH, NARROW_FIGURES, LEAST_BARS = 186, 236, 196, 90
LABEL_SHARE, NARROW_BELOW = 0.29, 680
VERDICTS = {
    "better": ("check", "ok"),
    "worse": ("octagon", "bad"),
    "no clear difference": ("minus", "dim"),
}
LEFT = Qt.AlignmentFlag.AlignLeft


@dataclass(frozen=True)
class Bar:
    """A score on its line's axis, 0 to 1, with the ends of its 95 % interval where it has one."""

    share: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class PairLine:
    """One metric: `id` is what is told when it is chosen; `spoken` says all of it in a sentence.

    `verdict` is better, worse, no clear difference, or empty where base or adapter was not asked.
    """

    id: str
    label: str
    second: str
    base: Bar | None
    adapter: Bar | None
    figures: str
    verdict: str = ""
    change: str = ""
    spoken: str = ""


class PairedBars(QWidget):
    """The lines; arrow keys walk over them, Enter, Space or a click chooses one, and again lets it go.

    Signals:
        chosen: the id of the line that was chosen, empty when it was let go.
    """

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._lines: tuple[PairLine, ...] = ()
        self._at, self._over, self._choice = 0, -1, ""
        self.setAccessibleName("Scores of base and adapter")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self._on_theme_changed)

    @property
    def lines(self) -> tuple[PairLine, ...]:
        """Return what is drawn."""
        return self._lines

    @property
    def choice(self) -> str:
        """Return the id of the chosen line, empty where none is."""
        return self._choice

    def show_lines(self, lines: Sequence[PairLine]) -> None:
        """Draw other lines."""
        self._lines = tuple(lines)
        self._at, self._over = 0, -1
        if self._choice not in [line.id for line in lines]:
            self._choice = ""
        self.setAccessibleDescription(" ".join(line.spoken for line in lines))
        self._on_theme_changed()

    def choose(self, name: str) -> None:
        """Mark the lines of an id as chosen without telling anybody."""
        self._choice = name
        self.update()

    # -- size ----------------------------------------------------------------------------------------------
    def sizeHint(self) -> QSize:
        theme = current_theme()
        return QSize(theme.px(700), theme.px(LINE_HEIGHT) * max(1, len(self._lines)))

    def minimumSizeHint(self) -> QSize:
        theme = current_theme()
        width = theme.px(LEAST_BARS) + 2 * theme.px(GAP) + theme.px(120) + theme.px(NARROW_FIGURES)
        return QSize(width, self.sizeHint().height())

    def _on_theme_changed(self) -> None:
        self.updateGeometry()
        self.update()

    def _columns(self) -> tuple[QRectF, QRectF, QRectF]:
        """Return where label, bars and figures of the first line stand."""
        theme = current_theme()
        height, gap = float(theme.px(LINE_HEIGHT)), theme.px(GAP)
        narrow = self.width() < theme.px(NARROW_BELOW)
        figures = theme.px(NARROW_FIGURES if narrow else FIGURES_WIDTH)
        wanted = max(theme.px(LABEL_WIDTH), round(LABEL_SHARE * self.width()))
        label = min(wanted, self.width() - figures - 2 * gap - theme.px(LEAST_BARS))
        bars = self.width() - label - figures - 2 * gap
        inset = theme.px(8)
        return (
            QRectF(inset, 0, label - inset, height),
            QRectF(label + gap, 0, bars, height),
            QRectF(label + bars + 2 * gap, 0, figures - inset, height),
        )

    # -- drawing -------------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        height = theme.px(LINE_HEIGHT)
        for number, line in enumerate(self._lines):
            top = number * height
            self._paint_ground(painter, number, line, QRectF(0, top, self.width(), height))
            label, bars, figures = (area.translated(0, top) for area in self._columns())
            self._paint_label(painter, label, line)
            self._paint_bars(painter, bars, line)
            self._paint_figures(painter, figures, line)

    def _paint_ground(self, painter: QPainter, number: int, line: PairLine, area: QRectF) -> None:
        theme = current_theme()
        ground = area.adjusted(0, 2, 0, -3)
        painter.setPen(Qt.PenStyle.NoPen)
        if line.id == self._choice:
            painter.setBrush(theme.color("accentbg"))
            painter.drawRoundedRect(ground, theme.px(6), theme.px(6))
        elif number == self._over or (self.hasFocus() and number == self._at):
            painter.setBrush(theme.color("raised"))
            painter.drawRoundedRect(ground, theme.px(6), theme.px(6))
        if self.hasFocus() and number == self._at:
            painter.setPen(QPen(theme.color("accent"), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(ground.adjusted(1, 1, -1, -1), theme.px(6), theme.px(6))
        if number + 1 < len(self._lines):
            painter.fillRect(QRectF(area.left(), area.bottom() - 1, area.width(), 1), theme.color("line"))

    def _paint_label(self, painter: QPainter, area: QRectF, line: PairLine) -> None:
        theme = current_theme()
        upper, lower = _halves(area)
        if line.label:
            _write(painter, upper, line.label, "body", 600, "text", Qt.AlignmentFlag.AlignBottom)
            _write(painter, lower, line.second, "small", None, "dim", Qt.AlignmentFlag.AlignTop)
        else:
            whole = area.adjusted(theme.px(10), 0, 0, 0)
            _write(painter, whole, line.second, "small", None, "dim", Qt.AlignmentFlag.AlignVCenter)

    def _paint_bars(self, painter: QPainter, area: QRectF, line: PairLine) -> None:
        theme = current_theme()
        pairs = [(bar, token) for bar, token in ((line.base, "dim"), (line.adapter, "accent")) if bar]
        bar_height, between = theme.px(BAR), theme.px(BETWEEN)
        whole = len(pairs) * bar_height + (len(pairs) - 1) * between
        top = area.center().y() - whole / 2 - 0.5
        for bar, token in pairs:
            self._paint_bar(painter, QRectF(area.left(), top, area.width(), bar_height), bar, token)
            top += bar_height + between

    def _paint_bar(self, painter: QPainter, area: QRectF, bar: Bar, token: str) -> None:
        theme = current_theme()
        radius = theme.px(2)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(theme.color("line", 0.6))
        painter.drawRoundedRect(area, radius, radius)
        painter.setBrush(theme.color(token, 0.75 if token == "dim" else 1.0))
        filled = QRectF(area.left(), area.top(), max(2.0, area.width() * bar.share), area.height())
        painter.drawRoundedRect(filled, radius, radius)
        if bar.low is None or bar.high is None:
            return
        y, cap = area.center().y(), theme.px(3)
        left, right = (area.left() + area.width() * _clipped(end) for end in (bar.low, bar.high))
        # A light rim keeps the whisker readable on the bar and beside it.
        for color, width in ((theme.color("surface"), 4.0), (theme.color("text"), 1.6)):
            painter.setPen(QPen(color, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.FlatCap))
            painter.drawLine(QPointF(left, y), QPointF(right, y))
            for x in (left, right):
                painter.drawLine(QPointF(x, y - cap), QPointF(x, y + cap))

    def _paint_figures(self, painter: QPainter, area: QRectF, line: PairLine) -> None:
        theme = current_theme()
        upper, lower = _halves(area)
        bottom, top = Qt.AlignmentFlag.AlignBottom, Qt.AlignmentFlag.AlignTop
        if not line.verdict:
            _write(painter, area, line.figures, "small", None, "text", Qt.AlignmentFlag.AlignVCenter, True)
            return
        mark, token = VERDICTS[line.verdict]
        _write(painter, upper, line.figures, "small", None, "text", bottom, True)
        width = theme.metrics("small", mono=True).horizontalAdvance(line.figures) + theme.px(9)
        side = theme.px(13)
        if upper.width() - width > side + theme.px(60):
            place = QRectF(upper.left() + width, upper.bottom() - side - theme.px(2), side, side)
            draw_icon(painter, mark, place, token)
            words = upper.adjusted(width + side + theme.px(4), 0, 0, 0)
            _write(painter, words, _short(line.verdict, words.width()), "small", 600, token, bottom)
        _write(painter, lower, line.change, "least", None, "dim", top)

    # -- what the person does ------------------------------------------------------------------------------
    def _line_at(self, y: float) -> int:
        number = int(y // current_theme().px(LINE_HEIGHT))
        return number if 0 <= number < len(self._lines) else -1

    def _press(self, number: int) -> None:
        if 0 <= number < len(self._lines):
            self._at = number
            self._choice = "" if self._choice == self._lines[number].id else self._lines[number].id
            self.update()
            self.chosen.emit(self._choice)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self._press(self._line_at(event.position().y()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        over = self._line_at(event.position().y())
        if over != self._over:
            self._over = over
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._over = -1
        self.update()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.update()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key, last = event.key(), len(self._lines) - 1
        steps = {Qt.Key.Key_Up: self._at - 1, Qt.Key.Key_Down: self._at + 1}
        steps |= {Qt.Key.Key_Home: 0, Qt.Key.Key_End: last}
        if key in steps and last >= 0:
            self._at = max(0, min(last, steps[Qt.Key(key)]))
            self.setAccessibleDescription(self._lines[self._at].spoken)
            self.update()
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and not event.modifiers():
            self._press(self._at)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            number = self._line_at(event.pos().y())
            if number >= 0:
                QToolTip.showText(event.globalPos(), self._lines[number].spoken, self)
            else:
                QToolTip.hideText()
            return True
        return super().event(event)


def _halves(area: QRectF) -> tuple[QRectF, QRectF]:
    """Return the places of the upper and the lower line of words."""
    half, shift = area.height() / 2, current_theme().px(1)
    upper = QRectF(area.left(), area.top(), area.width(), half + shift)
    return upper, QRectF(area.left(), area.top() + half + 2 * shift, area.width(), half - 2 * shift)


def _clipped(share: float) -> float:
    return max(0.0, min(1.0, share))


def _short(verdict: str, width: float) -> str:
    metrics = current_theme().metrics("small", 600)
    return verdict if metrics.horizontalAdvance(verdict) <= width else verdict.replace(" difference", "")


def _write(
    painter: QPainter,
    area: QRectF,
    words: str,
    role: str,
    weight: int | None,
    token: str,
    place: Qt.AlignmentFlag,
    mono: bool = False,
) -> None:
    theme = current_theme()
    painter.setFont(theme.font(role, weight, mono))
    painter.setPen(theme.color(token))
    elided = theme.metrics(role, weight, mono).elidedText(
        words, Qt.TextElideMode.ElideRight, int(area.width())
    )
    painter.drawText(area, LEFT | place, elided)
