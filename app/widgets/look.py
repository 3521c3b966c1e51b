"""Tells when pointer or keyboard rests on a thing, and when both have left it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject
from PySide6.QtWidgets import QWidget
from shiboken6 import isValid

COMES = (QEvent.Type.Enter, QEvent.Type.FocusIn)
GOES = (QEvent.Type.Leave, QEvent.Type.FocusOut, QEvent.Type.Hide)


class Look(QObject):
    """Watches one widget and calls `tell` with True when it is looked at, and with False when no longer.

    `owner` is whose signal `tell` emits: while it is being destroyed, its parts are left in silence.
    """

    def __init__(self, widget: QWidget, tell: Callable[[bool], object], owner: QObject) -> None:
        super().__init__(widget)
        self._tell, self._owner = tell, owner
        self._looked = False
        widget.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        kind = event.type()
        if kind in COMES or (kind in GOES and self._looked):
            self._looked = kind in COMES
            if isValid(self._owner):
                self._tell(self._looked)
        return False
