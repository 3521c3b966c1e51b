"""The only makers of labels: text is always plain, its colour and font come from the theme."""

from __future__ import annotations

import html

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QFontMetrics, QPainter, QPaintEvent, QPalette, QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QSizePolicy, QWidget

from app.theme.style import current_theme
from engine.paths import show_text

LONGEST = 20_000

# role: (font role, weight, monospaced, token)
ROLES: dict[str, tuple[str, int | None, bool, str]] = {
    "body": ("body", None, False, "text"),
    "strong": ("body", 600, False, "text"),
    "dim": ("body", None, False, "dim"),
    "small": ("small", None, False, "dim"),
    "small_text": ("small", None, False, "text"),
    "least": ("least", None, False, "dim"),
    "heading": ("heading", None, False, "text"),
    "title": ("title", None, False, "text"),
    "mono": ("small", None, True, "text"),
    "mono_dim": ("small", None, True, "dim"),
    "number": ("number", None, True, "text"),
    "headline": ("headline", None, True, "text"),
}


class TextLabel(QLabel):
    """A label whose text is never markup; `role` picks font and colour (see ROLES)."""

    def __init__(
        self, text: str = "", role: str = "body", wrap: bool = False, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        self._role, self._token = role, ROLES[role][3]
        self.setWordWrap(wrap)
        if wrap:
            # Without it a layout may give a wrapped label less height than its lines need.
            policy = self.sizePolicy()
            policy.setHeightForWidth(True)
            self.setSizePolicy(policy)
        self.setText(text)
        self._refresh()
        current_theme().changed.connect(self._refresh)

    def setText(self, text: str) -> None:
        super().setText(show_text(text, LONGEST))

    def set_role(self, role: str) -> None:
        """Change font and colour to those of another role."""
        self._role, self._token = role, ROLES[role][3]
        self._refresh()

    def set_token(self, token: str) -> None:
        """Change only the colour (text, dim, accent, ok, warn, bad, series2 ...)."""
        self._token = token
        self._refresh()

    @property
    def token(self) -> str:
        """Return the token of the colour."""
        return self._token

    def make_selectable(self) -> TextLabel:
        """Let mouse and keyboard select and copy the text; returns itself."""
        flags = Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        self.setTextInteractionFlags(flags)
        return self

    def _refresh(self) -> None:
        theme = current_theme()
        role, weight, mono, _ = ROLES[self._role]
        self.setFont(theme.font(role, weight, mono))
        # By palette and not by stylesheet: polishing a label anew for another colour would cost it its font.
        palette = self.palette()
        palette.setColor(QPalette.ColorRole.WindowText, theme.color(self._token))
        palette.setColor(QPalette.ColorRole.Highlight, theme.color("accent"))
        palette.setColor(QPalette.ColorRole.HighlightedText, theme.color("onaccent"))
        self.setPalette(palette)


class ElidedLabel(TextLabel):
    """One line that ends in "…" where room is short and shows the whole text as its tooltip."""

    def __init__(self, text: str = "", role: str = "body", parent: QWidget | None = None) -> None:
        super().__init__(text, role, parent=parent)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._tip()

    def setText(self, text: str) -> None:
        super().setText(text)
        self._tip()

    def minimumSizeHint(self) -> QSize:
        return QSize(self.fontMetrics().horizontalAdvance("…") * 4, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._tip()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setFont(self.font())
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(
            self.contentsRect(), int(self.alignment()) | int(Qt.TextFlag.TextSingleLine), self._shown()
        )

    def _shown(self) -> str:
        width = self.contentsRect().width()
        return QFontMetrics(self.font()).elidedText(self.text(), Qt.TextElideMode.ElideRight, width)

    def _tip(self) -> None:
        set_tip(self, self.text() if self._shown() != self.text() else "")


def text_label(text: str = "", role: str = "body", wrap: bool = False, selectable: bool = False) -> TextLabel:
    """Return a plain-text label."""
    label = TextLabel(text, role, wrap)
    return label.make_selectable() if selectable else label


def number_label(text: str = "", role: str = "number") -> TextLabel:
    """Return a label for a figure: monospaced, selectable."""
    return TextLabel(text, role).make_selectable()


def set_tip(widget: QWidget, text: str) -> None:
    """Set a tooltip whose text is never read as markup."""
    shown = html.escape(show_text(text, LONGEST))
    widget.setToolTip(f"<p style='white-space:pre-wrap'>{shown}</p>" if text else "")


def hairline(vertical: bool = False) -> QWidget:
    """Return a line one pixel thin between two things."""
    line = QFrame()
    line.setObjectName("vertical_hairline" if vertical else "hairline")
    return line
