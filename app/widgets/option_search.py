"""A field that finds options by our label and by the usual names, and leads to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import QEvent, QPoint, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QFrame, QListWidget, QListWidgetItem, QVBoxLayout

from app.theme.style import current_theme
from app.widgets.form import find_fields
from app.widgets.typed_editors import LineField
from engine.recipe.fields import FieldSpec

MOST_FOUND = 8


class OptionSearch(LineField):
    """The line and, below it, what it found.

    Signals:
        found: the path of the option chosen.
    """

    found = Signal(str)

    def __init__(self, specs: Sequence[FieldSpec], place_of: Callable[[str], str]) -> None:
        super().__init__()
        self._specs, self._place_of = specs, place_of
        self.setPlaceholderText("Find an option")
        self.setAccessibleName("Find an option by its label or usual name, such as lora_alpha")
        self.setClearButtonEnabled(True)
        self._popup: QFrame | None = None
        self.list = QListWidget()
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.itemClicked.connect(self._on_item_clicked)
        self.textEdited.connect(self._on_text_edited)
        self.returnPressed.connect(self._take_current)
        current_theme().changed.connect(self._fix_width)
        self._fix_width()

    def _fix_width(self) -> None:
        self.setFixedWidth(current_theme().px(168))

    def _on_text_edited(self, text: str) -> None:
        found = find_fields(self._specs, text)[:MOST_FOUND]
        self.list.clear()
        for spec in found:
            item = QListWidgetItem(f"{spec.label}  ·  {spec.name}  ·  {self._place_of(spec.path)}")
            item.setData(Qt.ItemDataRole.UserRole, spec.path)
            self.list.addItem(item)
        if not found and text.strip():
            item = QListWidgetItem("No option has these words")
            item.setFlags(Qt.ItemFlag.NoItemFlags)
            self.list.addItem(item)
        self.list.setCurrentRow(0)
        self._show_popup(bool(text.strip()))

    def _show_popup(self, show: bool) -> None:
        if not show:
            if self._popup is not None:
                self._popup.hide()
            return
        if self._popup is None or self._popup.parent() is not self.window():
            self._popup = QFrame(self.window())
            self._popup.setObjectName("toast")
            column = QVBoxLayout(self._popup)
            column.setContentsMargins(4, 4, 4, 4)
            column.addWidget(self.list)
        theme = current_theme()
        width = theme.px(380)
        height = self.list.sizeHintForRow(0) * max(1, self.list.count()) + theme.px(14)
        corner = self.mapTo(self.window(), QPoint(self.width() - width, self.height() + 4))
        self._popup.setGeometry(max(8, corner.x()), corner.y(), width, height)
        self._popup.show()
        self._popup.raise_()

    def _take_current(self) -> None:
        item = self.list.currentItem()
        if item is not None:
            self._on_item_clicked(item)

    def _on_item_clicked(self, item: QListWidgetItem) -> None:
        path = item.data(Qt.ItemDataRole.UserRole)
        if path:
            self.clear()
            self._show_popup(False)
            self.found.emit(path)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pace = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        if pace is not None and self.list.count():
            self.list.setCurrentRow(max(0, min(self.list.count() - 1, self.list.currentRow() + pace)))
        elif event.key() == Qt.Key.Key_Escape and self._popup is not None and self._popup.isVisible():
            self._show_popup(False)
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.FocusOut:
            self._show_popup(False)
        return super().event(event)
