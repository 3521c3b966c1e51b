"""The navigation at the left: the pages, and a dot where something is going on."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize, Qt, Signal
from PySide6.QtGui import QEnterEvent, QLinearGradient, QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QButtonGroup, QFrame, QSizePolicy, QVBoxLayout, QWidget

from app.theme.icons import draw_icon
from app.theme.style import current_theme
from app.widgets.label import set_tip

WIDE, NARROW = 200, 64


class NavButton(QAbstractButton):
    """One page of the navigation: icon and word, or the icon alone when narrow."""

    def __init__(self, text: str, icon: str, tip: str) -> None:
        super().__init__()
        self.setText(text)
        self.setAccessibleName(text)
        self.setAccessibleDescription(tip)
        self.setCheckable(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.icon_name, self._tip = icon, tip
        self._narrow, self._active = False, False
        set_tip(self, tip)
        current_theme().changed.connect(self.updateGeometry)

    def set_narrow(self, narrow: bool) -> None:
        """Show the icon alone, with the word in the tooltip."""
        self._narrow = narrow
        set_tip(self, f"{self.text()}  {self._tip}" if narrow else self._tip)
        self.update()

    def set_active(self, active: bool) -> None:
        """Show the dot: something is going on there."""
        self._active = active
        self.setAccessibleName(f"{self.text()}, something is going on" if active else self.text())
        self.update()

    @property
    def active(self) -> bool:
        """Say whether the dot is shown."""
        return self._active

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(40), current_theme().px(32))

    def enterEvent(self, event: QEnterEvent) -> None:
        self.update()
        super().enterEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        chosen = self.isChecked()
        if chosen or self.underMouse():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("accentbg" if chosen else "raised"))
            painter.drawRoundedRect(QRectF(self.rect()), theme.px(6), theme.px(6))
        side = theme.px(16)
        left = (self.width() - side) / 2 if self._narrow else theme.px(10)
        token = "text" if chosen else "dim"
        draw_icon(painter, self.icon_name, QRectF(left, (self.height() - side) / 2, side, side), token)
        if not self._narrow:
            painter.setFont(theme.font("body", 600 if chosen else 500))
            painter.setPen(theme.color(token))
            area = self.rect().adjusted(theme.px(36), 0, -theme.px(20), 0)
            painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, self.text())
        if self._active:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("accent"))
            dot = theme.px(7)
            top = theme.px(6) if self._narrow else (self.height() - dot) / 2
            painter.drawEllipse(QRectF(self.width() - theme.px(8) - dot, top, dot, dot))


class Wordmark(QWidget):
    """The application's mark and name on top of the navigation."""

    def __init__(self) -> None:
        super().__init__()
        self._narrow = False
        self.setAccessibleName("Tunesmith")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        current_theme().changed.connect(self.updateGeometry)

    def set_narrow(self, narrow: bool) -> None:
        """Show the mark alone."""
        self._narrow = narrow
        self.update()

    def sizeHint(self) -> QSize:
        return QSize(current_theme().px(40), current_theme().px(36))

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        side = theme.px(18)
        left = (self.width() - side) / 2 if self._narrow else theme.px(10)
        mark = QRectF(left, (self.height() - side) / 2, side, side)
        shade = QLinearGradient(mark.topLeft(), mark.bottomRight())
        shade.setColorAt(0, theme.color("accent"))
        shade.setColorAt(1, theme.color("series5"))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(shade)
        painter.drawRoundedRect(mark, theme.px(5), theme.px(5))
        if not self._narrow:
            font = theme.font("body", 700)
            font.setPixelSize(theme.px(15))
            painter.setFont(font)
            painter.setPen(theme.color("text"))
            area = self.rect().adjusted(theme.px(36), 0, 0, 0)
            painter.drawText(area, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, "Tunesmith")


class Navigation(QFrame):
    """The column of pages; a widget may be put at its bottom.

    Signals:
        page_chosen: the name of a page was pressed.
    """

    page_chosen = Signal(str)

    def __init__(self, entries: list[tuple[str, str, str, str]], bottom: QWidget) -> None:
        """Take entries of (page, word, icon, shortcut)."""
        super().__init__()
        self.setObjectName("navigation")
        self.setAccessibleName("Pages")
        self._bottom = bottom
        self.narrow = False
        self.buttons: dict[str, NavButton] = {}
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 10, 10, 14)
        column.setSpacing(2)
        self._wordmark = Wordmark()
        column.addWidget(self._wordmark)
        column.addSpacing(6)
        group = QButtonGroup(self)
        for page, word, icon, shortcut in entries:
            made = NavButton(word, icon, shortcut)
            made.clicked.connect(lambda _checked=False, page=page: self.page_chosen.emit(page))
            group.addButton(made)
            self.buttons[page] = made
            column.addWidget(made)
        column.addStretch(1)
        column.addWidget(bottom)
        self._fix_width()
        current_theme().changed.connect(self._fix_width)

    def choose(self, page: str) -> None:
        """Mark the page that is in front; nothing changes for a page without an entry."""
        if page in self.buttons:
            self.buttons[page].setChecked(True)

    def set_narrow(self, narrow: bool) -> None:
        """Show icons alone, or icons and words."""
        if narrow == self.narrow:
            return
        self.narrow = narrow
        self._wordmark.set_narrow(narrow)
        for made in self.buttons.values():
            made.set_narrow(narrow)
        if hasattr(self._bottom, "set_narrow"):
            self._bottom.set_narrow(narrow)
        self._fix_width()

    def _fix_width(self) -> None:
        self.setFixedWidth(current_theme().px(NARROW if self.narrow else WIDE))
