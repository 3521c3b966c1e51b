"""A card that starts something: a drawing, a title, a sentence."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.theme.style import Theme, current_theme
from app.widgets.card import Card
from app.widgets.label import text_label

LEAST_HEIGHT = 76
MOST_HEIGHT = 230
Paint = Callable[[QPainter, QRect, Theme], None]
CENTRE = Qt.AlignmentFlag.AlignCenter


class _Drawing(QWidget):
    """The raised area of a help card."""

    def __init__(self, paint: Paint) -> None:
        super().__init__()
        self._paint = paint
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        current_theme().changed.connect(self._fit)
        self._fit()

    def _fit(self) -> None:
        self.setMaximumHeight(current_theme().px(MOST_HEIGHT))
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(180), current_theme().px(LEAST_HEIGHT))

    def minimumSizeHint(self) -> QSize:
        return QSize(current_theme().px(120), current_theme().px(LEAST_HEIGHT))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ground = QPainterPath()
        ground.addRoundedRect(QRectF(self.rect()), theme.px(8), theme.px(8))
        painter.fillPath(ground, theme.color("raised"))
        self._paint(painter, self.rect(), theme)


def _zoom(area: QRect, theme: Theme) -> float:
    """A drawing grows with its place, up to a quarter."""
    return max(1.0, min(1.25, area.height() / theme.px(110), area.width() / theme.px(190)))


def _arrow(painter: QPainter, middle: QPointF, theme: Theme, zoom: float) -> None:
    painter.setPen(QPen(theme.color("dim"), 1.5))
    half, tip = theme.px(8) * zoom, theme.px(4) * zoom
    end = QPointF(middle.x() + half, middle.y())
    painter.drawLine(QPointF(middle.x() - half, middle.y()), end)
    painter.drawLine(QPointF(end.x() - tip, end.y() - tip), end)
    painter.drawLine(QPointF(end.x() - tip, end.y() + tip), end)


def _halves(area: QRect, theme: Theme) -> tuple[QRect, QRect]:
    gap, margin = (theme.px(18), theme.px(8)) if area.width() > theme.px(200) else (theme.px(13), 2)
    half = area.width() // 2
    left = QRect(area.left() + margin, area.top(), half - gap - margin, area.height())
    return left, QRect(area.left() + half + gap, area.top(), half - gap - margin, area.height())


def paint_format(painter: QPainter, area: QRect, theme: Theme) -> None:
    """Paint a message that becomes JSON."""
    left, right = _halves(area, theme)
    zoom = _zoom(area, theme)
    font = theme.font("least", mono=True)
    font.setPixelSize(round(font.pixelSize() * zoom))
    painter.setFont(font)
    painter.setPen(theme.color("dim"))
    painter.drawText(left, CENTRE, "Hi, my\ninvoice…")
    painter.setPen(theme.color("accent"))
    painter.drawText(right, CENTRE, '{"queue":\n"billing"}')
    _arrow(painter, QPointF(area.center()), theme, zoom)


def paint_style(painter: QPainter, area: QRect, theme: Theme) -> None:
    """Paint a plain word that becomes one of one's own."""
    left, right = _halves(area, theme)
    zoom = _zoom(area, theme)
    font = theme.font("body", 500)
    font.setPixelSize(round(font.pixelSize() * zoom))
    font.setItalic(True)
    painter.setFont(font)
    painter.setPen(theme.color("dim"))
    painter.drawText(left, CENTRE, "plain")
    painter.setPen(theme.color("accent"))
    painter.drawText(right, CENTRE, "yours")
    _arrow(painter, QPointF(area.center()), theme, zoom)


def paint_language(painter: QPainter, area: QRect, theme: Theme) -> None:
    """Paint lines of a book, some words of which stand out."""
    zoom = _zoom(area, theme)
    line, gap, count = theme.px(7) * zoom, theme.px(6) * zoom, 4
    width = min(area.width() - theme.px(32), theme.px(170) * zoom)
    left = area.center().x() - width / 2
    top = area.center().y() - (count * line + (count - 1) * gap) / 2
    words = ((0.22, 0.34, 0.18, 0.2), (0.4, 0.15, 0.3, 0.1), (0.16, 0.28, 0.24, 0.26), (0.3, 0.2, 0.12, 0.0))
    known = {(0, 1), (1, 2), (2, 0), (2, 3), (3, 1)}
    painter.setPen(Qt.PenStyle.NoPen)
    for row, lengths in enumerate(words):
        x = left
        for place, share in enumerate(lengths):
            if not share:
                continue
            painter.setBrush(theme.color("accent") if (row, place) in known else theme.color("edge", 0.55))
            word = QRectF(x, top + row * (line + gap), share * width - theme.px(5), line)
            painter.drawRoundedRect(word, line / 2, line / 2)
            x += share * width


class HelpCard(Card):
    """A pressable card with a drawing on top; `pressed` says that it shall be done."""

    def __init__(self, title: str, sentence: str, paint: Paint) -> None:
        super().__init__()
        self.make_pressable(f"{title}. {sentence}")
        self.body.addWidget(_Drawing(paint), 1)
        self.body.addWidget(text_label(title, "heading"))
        words = text_label(sentence, "small", wrap=True)
        # Two lines for every card of a row, so that their titles stand at one height.
        words.setAlignment(Qt.AlignmentFlag.AlignTop)
        words.setMinimumHeight(2 * current_theme().metrics("small").lineSpacing())
        self.body.addWidget(words)
