"""A window of its own for a card, so that it can be read beside the page."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card_view import CardView
from app.widgets.label import text_label
from engine.paths import show_name


class CardDialog(QDialog):
    """Shows the card of one model; Esc closes it."""

    def __init__(self, parent: QWidget, name: str, text: str) -> None:
        super().__init__(parent)
        theme = current_theme()
        shown = show_name(name, 60)
        self.setWindowTitle(f"Card of {shown}")
        self.resize(theme.px(760), theme.px(680))
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 20, 24, 18)
        column.setSpacing(10)
        column.addWidget(text_label(f"What the makers of {shown} write", "heading", wrap=True))
        note = "Pictures are left out and nothing is loaded; a link asks before it opens your browser."
        column.addWidget(text_label(note, "small", wrap=True))
        self.view = CardView()
        self.view.show_card(text)
        column.addWidget(self.view, 1)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(button("Close", kind="primary", on_click=self.accept))
        column.addLayout(row)
        self.view.setFocus()
