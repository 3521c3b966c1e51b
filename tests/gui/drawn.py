"""Looking at a drawn page: words that do not fit, controls without a name; and giving it the keyboard."""

from __future__ import annotations

import contextlib
import warnings

from PySide6.QtCore import QRect
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QSlider,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.widgets.label import ElidedLabel

NAMED = (QAbstractButton, QComboBox, QLineEdit, QPlainTextEdit, QSlider)


def cut_texts(page: QWidget) -> list[str]:
    """Return the labels and buttons whose words need more room than they have; elided ones tell it."""
    found = []
    for label in page.findChildren(QLabel):
        if not label.isVisible() or isinstance(label, ElidedLabel) or not label.text():
            continue
        room = label.contentsRect()
        if label.wordWrap():
            need = label.fontMetrics().boundingRect(
                QRect(0, 0, room.width(), 10_000), _flags(label), label.text()
            )
            cut = need.height() > room.height() + 2
        else:
            cut = label.fontMetrics().horizontalAdvance(label.text()) > room.width() + 2
        if cut:
            found.append(f"{label.text()!r} in {room.width()}x{room.height()}")
    for button in page.findChildren(QPushButton):
        if button.isVisible() and button.text() and button.width() < button.sizeHint().width() - 2:
            found.append(f"button {button.text()!r}")
    return found


def wait_until_nothing_is_cut(page: QWidget, qtbot: QtBot) -> None:
    """Give layouts a moment to settle, then fail with the words that are still cut."""
    with contextlib.suppress(qtbot.TimeoutError):
        qtbot.waitUntil(lambda: not cut_texts(page), timeout=10_000)
    found = cut_texts(page)
    assert not found, found


def _flags(label: QLabel) -> int:
    from PySide6.QtCore import Qt

    return int(label.alignment()) | int(Qt.TextFlag.TextWordWrap)


def nameless_controls(page: QWidget) -> list[str]:
    """Return the controls that a screen reader could not name."""
    return [
        f"{type(each).__name__} {each.objectName()}"
        for each in page.findChildren(QWidget)
        if isinstance(each, NAMED) and each.isVisible() and not each.accessibleName()
    ]


def give_keyboard(widget: QWidget, qtbot: QtBot) -> None:
    """Make a widget's window the active one and give the widget the focus: shortcuts ask for both."""
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        # A display without a window manager activates nothing by itself.
        QApplication.setActiveWindow(widget.window())
    widget.setFocus()
    qtbot.waitUntil(widget.hasFocus, timeout=30_000)
