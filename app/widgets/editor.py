"""What every editor of a recipe field has in common: it shows a value, and tells what was chosen or typed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QWidget

from app.widgets.flow import FlowLayout
from app.widgets.look import Look
from engine.recipe.fields import FieldSpec


def row_of(place: QWidget | None = None) -> QHBoxLayout:
    """Return a row without margins, that of `place` where one is named."""
    row = QHBoxLayout(place)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(6)
    return row


class Editor(QWidget):
    """A control for one field.

    Signals:
        edited: the person chose or typed a value that can be read.
        misread: what stands there cannot be read: (text, the way out).
        left: the focus went away or Enter was pressed, so that a fault may be said at once.
        looked_at: (value,) of a choice that is pointed at or has the keyboard, None when it is left.
    """

    looked_at = Signal(object)
    edited = Signal(object)
    misread = Signal(str, str)
    left = Signal()

    # Whether the control takes all the room to the right.
    grows = False

    def __init__(self, spec: FieldSpec) -> None:
        super().__init__()
        self.spec = spec
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def _in_line(self) -> QHBoxLayout:
        """Give the editor a row for its parts and return it."""
        return row_of(self)

    def _in_flow(self) -> FlowLayout:
        """Give the editor a row for chips that wraps, and return it."""
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)
        return FlowLayout(self)

    def show_value(self, value: Any) -> None:
        """Show a value without telling anybody."""
        raise NotImplementedError

    def show_text(self, text: str) -> None:
        """Show text that could not be read, as it was typed."""

    def mark_faulty(self, faulty: bool) -> None:
        """Draw the control's border in `bad`, or as usual."""

    def _watch(self, widget: QWidget, value: Callable[[], Any]) -> None:
        """Tell what pressing a part of the control would choose, while it is looked at."""
        Look(widget, lambda looked: self.looked_at.emit((value(),) if looked else None), self)

    def _give_name(self, widget: QWidget) -> None:
        widget.setAccessibleName(self.spec.label)
        widget.setAccessibleDescription(self.spec.help)
        self.setFocusProxy(widget)
