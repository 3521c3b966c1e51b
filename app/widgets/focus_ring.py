"""The ring around the control that the keyboard is at: 2 px in accent, 2 px off."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractItemView, QApplication, QLineEdit, QPlainTextEdit, QTextEdit, QWidget

from app.theme.style import current_theme

OFF, WIDTH = 2, 2
_KEYS = (Qt.Key.Key_Tab, Qt.Key.Key_Backtab)
# Fields and lists show the focus by their own border and selection.
_OWN_MARK = (QLineEdit, QPlainTextEdit, QTextEdit, QAbstractItemView)


class FocusRing(QWidget):
    """Lies over a window and follows the focus while it is moved by keys."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._window = window
        self._target: QWidget | None = None
        self._by_key = False
        self.hide()
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        app.installEventFilter(self)
        app.focusChanged.connect(self._on_focus_changed)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kind = event.type()
        if kind == QEvent.Type.KeyPress:
            self._by_key = event.key() in _KEYS or self._by_key  # type: ignore[attr-defined]
        elif kind == QEvent.Type.MouseButtonPress:
            self._by_key = False
            self._follow(None)
        elif watched is self._target and kind in (QEvent.Type.Resize, QEvent.Type.Move, QEvent.Type.Hide):
            self._place()
        return False

    def _on_focus_changed(self, old: QWidget | None, new: QWidget | None) -> None:
        mine = new is not None and self._window.isAncestorOf(new) and not isinstance(new, _OWN_MARK)
        self._follow(new if mine and self._by_key else None)

    def _follow(self, target: QWidget | None) -> None:
        self._target = target
        self._place()

    def _place(self) -> None:
        target = self._target
        if target is None or not target.isVisible():
            self.hide()
            return
        corner = target.mapTo(self._window, QPoint(0, 0))
        around = OFF + WIDTH
        self.setGeometry(QRect(corner, target.size()).adjusted(-around, -around, around, around))
        self.show()
        self.raise_()

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(theme.color("accent"), WIDTH))
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(1, 1, -1, -1), theme.px(8), theme.px(8))
