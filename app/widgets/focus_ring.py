"""The ring around the control that the keyboard is at: 2 px in accent, 2 px off."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QPoint, QRect, QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QAbstractItemView, QApplication, QLineEdit, QPlainTextEdit, QTextEdit, QWidget
from shiboken6 import isValid

from app.theme.style import current_theme

OFF, WIDTH = 2, 2
_KEYS = (Qt.Key.Key_Tab, Qt.Key.Key_Backtab)
# Fields and lists show the focus by their own border and selection.
_OWN_MARK = (QLineEdit, QPlainTextEdit, QTextEdit, QAbstractItemView)


class FocusRing(QWidget):
    """Lies over a window and follows the focus while it is moved by keys.

    It listens at the control with the focus and at the system's windows alone: listening at the application
    would bring every event of every widget into Python.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._window = window
        self._target: QWidget | None = None
        self._by_key = False
        self.hide()
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        window.installEventFilter(self)  # without a focus keys come here
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
        if old is not None and isValid(old) and old is not self._window:
            old.removeEventFilter(self)
        if new is not None:
            self._listen(new)
        mine = new is not None and self._window.isAncestorOf(new) and not isinstance(new, _OWN_MARK)
        self._follow(new if mine and self._by_key else None)

    def _listen(self, control: QWidget) -> None:
        control.installEventFilter(self)
        pressed = control.window().windowHandle()
        if pressed is not None:
            pressed.installEventFilter(self)  # presses of the mouse, wherever they go

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
