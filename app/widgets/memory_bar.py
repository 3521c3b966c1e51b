"""The memory of a run against its device: parts, the band of the estimate, and another choice as a ghost."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QHelpEvent, QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from app import i18n
from app.theme.style import Theme, current_theme
from app.widgets.meter import Part
from app.widgets.plan_figures import (
    FAINT,
    NOTHING,
    TERM_HELP,
    TERM_TOKENS,
    Ghost,
    PlanFigures,
    difference,
    memory_parts,
)

BAR, ABOVE, BELOW, LINE = 16, 7, 9, 19
TIGHT_FROM = 0.92
SHORT_ROOM = 1.06  # of the device, so that a plan beyond it shows where the device ends


class MemoryBar(QWidget):
    """One bar as long as the device's memory; `legend` lists the parts below it in two columns."""

    def __init__(self, legend: bool = True, height: int = BAR) -> None:
        super().__init__()
        self._legend, self._bar = legend, height
        self._plan: PlanFigures | None = None
        self._ghost: Ghost | None = None
        self._parts: list[Part] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Memory by part")
        current_theme().changed.connect(self._fit)

    @property
    def ghost(self) -> Ghost | None:
        """Return the other choice that is drawn."""
        return self._ghost

    @property
    def parts(self) -> list[Part]:
        """Return the parts drawn."""
        return self._parts

    def show_plan(self, plan: PlanFigures | None) -> None:
        """Draw another plan, or an empty bar."""
        self._plan, self._ghost = plan, None
        self._parts = memory_parts(plan.terms) if plan is not None else []
        self.setAccessibleDescription(", ".join(f"{part.name} {part.text}" for part in self._parts))
        self._fit()

    def show_ghost(self, ghost: Ghost | None) -> None:
        """Draw another choice over the present one, or take it away."""
        self._ghost = ghost if ghost is None or not ghost.fault else None
        self.update()

    @property
    def whole(self) -> float:
        """Return the bytes that the whole width stands for."""
        if self._plan is None:
            return 1.0
        device, most = self._plan.device_bytes or 0.0, self._plan.memory_bytes
        if self._ghost is not None:
            most = max(most, self._ghost.memory_bytes)
        return max(device, most if most <= device else most * SHORT_ROOM, 1.0)

    def x_of(self, amount: float) -> float:
        """Return where an amount of memory (bytes) ends, in pixels."""
        return max(0.0, min(1.0, amount / self.whole)) * self.width()

    def _fit(self) -> None:
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        theme = current_theme()
        rows = (len(TERM_TOKENS) + 1) // 2 if self._legend and self._parts else 0
        height = theme.px(ABOVE + self._bar + BELOW) + (theme.px(4) + rows * theme.px(LINE) if rows else 0)
        return QSize(theme.px(200), height)

    def minimumSizeHint(self) -> QSize:
        return QSize(current_theme().px(90), self.sizeHint().height())

    # -- painting ------------------------------------------------------------------------------------------
    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        bar = QRectF(0, theme.px(ABOVE), self.width(), theme.px(self._bar))
        self._paint_parts(painter, bar, theme)
        if self._plan is None:
            return
        if self._ghost is not None:
            self._paint_ghost(painter, bar, theme)
        self._paint_device(painter, bar, theme)
        self._paint_band(painter, bar, theme)
        if self._legend:
            self._paint_legend(painter, theme)

    def _paint_parts(self, painter: QPainter, bar: QRectF, theme: Theme) -> None:
        track = QPainterPath()
        track.addRoundedRect(bar, theme.px(3), theme.px(3))
        painter.fillPath(track, theme.color("raised"))
        painter.save()
        painter.setClipPath(track)
        if self._plan is not None and self._plan.device_bytes:
            edge = self.x_of(self._plan.device_bytes)
            self._hatch(painter, QRectF(edge, bar.top(), bar.right() - edge, bar.height()), "bad", theme)
        left, whole = 0.0, sum(part.value for part in self._parts)
        # What the allocator cannot use belongs to no part: the parts together are as long as the plan.
        scale = self._plan.memory_bytes / whole if self._plan is not None and whole else 1.0
        for part in self._parts:
            right = left + part.value * scale
            place = QRectF(self.x_of(left), bar.top(), self.x_of(right) - self.x_of(left), bar.height())
            painter.fillRect(place, self._color(part, 0.3 if self._ghost is not None else 1.0))
            left = right
        painter.restore()

    @staticmethod
    def _color(part: Part, alpha: float = 1.0) -> QColor:
        return current_theme().color(part.token, alpha * (0.5 if part.name in FAINT else 1.0))

    def _hatch(self, painter: QPainter, place: QRectF, token: str, theme: Theme) -> None:
        if place.width() < 1:
            return
        painter.save()
        painter.setClipRect(place, Qt.ClipOperation.IntersectClip)
        painter.setPen(QPen(theme.color(token, 0.8), theme.px(2)))
        x = place.left() - place.height()
        while x < place.right() + place.height():
            painter.drawLine(QPointF(x, place.bottom()), QPointF(x + place.height(), place.top()))
            x += theme.px(6)
        painter.restore()

    def _paint_ghost(self, painter: QPainter, bar: QRectF, theme: Theme) -> None:
        """Draw the parts as they would be, slimmer and over the pale present ones."""
        assert self._ghost is not None and self._plan is not None
        ghost, slim = self._ghost, bar.adjusted(0, bar.height() / 4, 0, -bar.height() / 4)
        parts = memory_parts(ghost.terms)
        total = sum(part.value for part in parts)
        scale, left = (ghost.memory_bytes / total if total else 1.0), 0.0
        for part in parts:
            right = left + part.value * scale
            place = QRectF(self.x_of(left), slim.top(), self.x_of(right) - self.x_of(left), slim.height())
            painter.fillRect(place, self._color(part))
            left = right
        now, other = self.x_of(self._plan.memory_bytes), self.x_of(ghost.memory_bytes)
        painter.setPen(QPen(theme.color("text"), theme.px(2)))
        painter.drawLine(QPointF(other, bar.top() - theme.px(2)), QPointF(other, bar.bottom() + theme.px(2)))
        token = "ok" if other < now else "bad" if ghost.verdict == "too_large" else "warn"
        self._paint_arrow(painter, now, other, bar.bottom() + theme.px(6), token)

    @staticmethod
    def _paint_arrow(painter: QPainter, start: float, end: float, y: float, token: str) -> None:
        """Draw from the present end to the other: how far, and which way."""
        theme = current_theme()
        if abs(end - start) < theme.px(3):
            return
        painter.setPen(QPen(theme.color(token), theme.px(2)))
        painter.drawLine(QPointF(start, y), QPointF(end, y))
        tip = theme.px(4) if end < start else -theme.px(4)
        painter.drawLine(QPointF(end, y), QPointF(end + tip, y - theme.px(3)))
        painter.drawLine(QPointF(end, y), QPointF(end + tip, y + theme.px(3)))

    def _paint_device(self, painter: QPainter, bar: QRectF, theme: Theme) -> None:
        """Mark where the device ends, and from where on a plan is tight."""
        assert self._plan is not None
        if not self._plan.device_bytes:
            return
        edge = min(self.x_of(self._plan.device_bytes), self.width() - 1.0)
        painter.setPen(QPen(theme.color("dim"), 1, Qt.PenStyle.DotLine))
        tight = self.x_of(TIGHT_FROM * self._plan.device_bytes)
        painter.drawLine(QPointF(tight, bar.top() - theme.px(4)), QPointF(tight, bar.bottom()))
        beyond = self._plan.memory_bytes > self._plan.device_bytes
        painter.setPen(QPen(theme.color("bad" if beyond else "text"), theme.px(2)))
        painter.drawLine(QPointF(edge, bar.top() - theme.px(5)), QPointF(edge, bar.bottom() + theme.px(2)))

    def _paint_band(self, painter: QPainter, bar: QRectF, theme: Theme) -> None:
        """Draw how far the truth may lie from the figure: a line with two ends below the bar."""
        assert self._plan is not None
        low, high = self._plan.memory_band
        y, half = bar.bottom() + theme.px(5), theme.px(3)
        painter.setPen(QPen(theme.color("text"), 1.5))
        if high > low > 0 and self._ghost is None:
            first, last = self.x_of(low), min(self.x_of(high), self.width() - 1.0)
            painter.drawLine(QPointF(first, y), QPointF(last, y))
            for x in (first, last) if high <= self.whole else (first,):
                painter.drawLine(QPointF(x, y - half), QPointF(x, y + half))
        if self._plan.exact_bytes:
            x, side = self.x_of(self._plan.exact_bytes), theme.px(4)
            diamond = [QPointF(x, y - side), QPointF(x + side, y), QPointF(x, y + side), QPointF(x - side, y)]
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("accent"))
            painter.drawPolygon(diamond)

    def _paint_legend(self, painter: QPainter, theme: Theme) -> None:
        side, top = theme.px(8), theme.px(ABOVE + self._bar + BELOW + 4)
        gap, line = theme.px(18), theme.px(LINE)
        width = (self.width() - gap) // 2
        middle = Qt.AlignmentFlag.AlignVCenter
        for index, part in enumerate(self._listed()):
            place = QRect((index % 2) * (width + gap), top + (index // 2) * line, width, line)
            square = QRectF(place.x(), place.y() + (line - side) / 2, side, side)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self._color(part))
            painter.drawRoundedRect(square, 1.5, 1.5)
            painter.setFont(theme.font("least"))
            painter.setPen(theme.color("dim"))
            painter.drawText(place.adjusted(side + theme.px(6), 0, 0, 0), middle, part.name)
            text, token = self._amount(part)
            painter.setFont(theme.font("least", mono=True))
            painter.setPen(theme.color(token))
            painter.drawText(place, middle | Qt.AlignmentFlag.AlignRight, text)

    def _listed(self) -> list[Part]:
        """Return every part there can be, so that the list stays where it is whatever is chosen."""
        here = {part.name: part for part in self._parts}
        return [here.get(name, Part(name, 0.0, token, "–")) for name, token in TERM_TOKENS.items()]

    def _amount(self, part: Part) -> tuple[str, str]:
        """Return what stands behind a part's name: its size, or by how much the other choice changes it."""
        if self._ghost is None:
            return part.text, "text" if part.value else "dim"
        other = self._ghost.terms.get(part.name, 0.0)
        if abs(other - part.value) < NOTHING:
            return part.text, "dim"
        return difference(other, part.value, i18n.size), "ok" if other < part.value else "warn"

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            part = self.part_at(event.pos().x(), event.pos().y())
            if part is None:
                QToolTip.hideText()
            else:
                words = f"{part.name} {part.text}. {TERM_HELP.get(part.name, '')}".strip()
                QToolTip.showText(event.globalPos(), words, self)
            return True
        return super().event(event)

    def part_at(self, x: float, y: float) -> Part | None:
        """Return the part under a point of the bar or of the legend."""
        theme = current_theme()
        top = theme.px(ABOVE + self._bar + BELOW + 4)
        if self._legend and y >= top:
            index = int((y - top) // theme.px(LINE)) * 2 + (1 if x > self.width() / 2 else 0)
            listed = self._listed()
            return listed[index] if index < len(listed) else None
        left, whole = 0.0, sum(part.value for part in self._parts)
        scale = self._plan.memory_bytes / whole if self._plan is not None and whole else 1.0
        for part in self._parts:
            left += part.value * scale
            if x <= self.x_of(left):
                return part
        return None
