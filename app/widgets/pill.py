"""A small rounded mark: a word, a colour, an icon."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.theme.icons import draw_icon
from app.theme.style import current_theme

KIND_TOKENS = {"accent": "accent", "ok": "ok", "warn": "warn", "bad": "bad", "dim": "dim"}
# A state colour never stands alone: each has its mark.
KIND_ICONS = {"accent": "dot", "ok": "check", "warn": "triangle", "bad": "octagon", "dim": ""}


class Pill(QWidget):
    """A rounded mark; `kind` (accent, ok, warn, bad, dim) brings its icon unless `icon` says otherwise."""

    def __init__(self, text: str = "", kind: str = "dim", icon: str | None = None) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._text, self._kind, self._icon = "", "dim", ""
        self.set(text, kind, icon)
        current_theme().changed.connect(self._on_theme_changed)

    @property
    def text(self) -> str:
        """Return the word on it."""
        return self._text

    @property
    def kind(self) -> str:
        """Return accent, ok, warn, bad or dim."""
        return self._kind

    def set(self, text: str, kind: str = "dim", icon: str | None = None) -> None:
        """Show another word and kind; an empty word hides the pill."""
        if kind not in KIND_TOKENS:
            raise ValueError(f"{kind} is no kind of pill; known are {', '.join(KIND_TOKENS)}")
        self._text, self._kind = text, kind
        self._icon = KIND_ICONS[kind] if icon is None else icon
        self.setAccessibleName(text)
        # Showing a widget that has no parent yet would open it as a window of its own.
        if not text or self.parentWidget() is not None:
            self.setHidden(not text)
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:
        theme = current_theme()
        width = theme.metrics("least", 600).horizontalAdvance(self._text) + theme.px(18)
        return QSize(width + (theme.px(15) if self._icon else 0), theme.px(20))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        token = KIND_TOKENS[self._kind]
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        body = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.setPen(Qt.PenStyle.NoPen if self._kind == "accent" else QPen(theme.color(token), 1))
        painter.setBrush(theme.color("accentbg") if self._kind == "accent" else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(body, body.height() / 2, body.height() / 2)
        left = theme.px(9)
        if self._icon:
            side = theme.px(12)
            draw_icon(painter, self._icon, QRectF(left - 1, (self.height() - side) / 2, side, side), token)
            left += theme.px(15)
        painter.setFont(theme.font("least", 600))
        painter.setPen(theme.color(token))
        area = self.rect().adjusted(left, 0, 0, 0)
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self._text)

    def _on_theme_changed(self) -> None:
        self.updateGeometry()
        self.update()
