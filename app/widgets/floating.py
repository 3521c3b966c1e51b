"""A card that lies over the window beside what it explains; Esc or a press elsewhere closes it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QApplication, QFrame, QVBoxLayout, QWidget

from app.theme.style import current_theme

GAP = 4


class Floating(QFrame):
    """A raised frame inside the window of `anchor`; put things into `.column`, then call `open`."""

    def __init__(self, anchor: QWidget, width: int) -> None:
        super().__init__(anchor.window())
        self.setObjectName("toast")
        self._anchor = anchor
        self._before = QApplication.focusWidget()
        theme = current_theme()
        self.setFixedWidth(theme.px(width))
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(theme.px(14), theme.px(12), theme.px(14), theme.px(14))
        self.column.setSpacing(8)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.hide()

    def open(self) -> None:
        """Show the card below its anchor, or above it where the window ends."""
        window = self.window()
        fixed = not self.column.hasHeightForWidth()
        height = self.sizeHint().height() if fixed else self.column.heightForWidth(self.width())
        self.resize(self.width(), height)
        below = self._anchor.mapTo(window, QPoint(0, self._anchor.height() + GAP))
        above = self._anchor.mapTo(window, QPoint(0, -height - GAP)).y()
        y = below.y() if below.y() + height <= window.height() or above < 0 else above
        x = max(GAP, min(below.x(), window.width() - self.width() - GAP))
        self.move(x, max(GAP, min(y, window.height() - height - GAP)))
        self.show()
        self.raise_()
        self.setFocus()
        app = QApplication.instance()
        assert app is not None
        app.installEventFilter(self)

    def close_now(self) -> None:
        """Take the card away and give the keyboard back."""
        app = QApplication.instance()
        assert app is not None
        app.removeEventFilter(self)
        self.hide()
        if self._before is not None and self.isAncestorOf(QApplication.focusWidget() or self):
            self._anchor.setFocus()
        self.deleteLater()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.close_now()
        else:
            super().keyPressEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Resize and watched is self.window() and self.isVisible():
            self.close_now()  # what it stood beside has moved
        elif event.type() == QEvent.Type.MouseButtonPress and isinstance(event, QMouseEvent):
            inside = self.rect().contains(self.mapFromGlobal(event.globalPosition().toPoint()))
            if self.isVisible() and not inside and isinstance(watched, QWidget):
                self.close_now()
        return False
