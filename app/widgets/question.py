"""One question before an act that cannot be undone."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from app.widgets.button import button
from app.widgets.label import text_label


class Question(QDialog):
    """Says what is lost; the safe answer is the default."""

    def __init__(self, parent: QWidget, title: str, text: str, act: str, stay: str = "Keep") -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        column = QVBoxLayout(self)
        column.setContentsMargins(24, 22, 24, 20)
        column.setSpacing(8)
        column.addWidget(text_label(title, "title", wrap=True))
        column.addWidget(text_label(text, "dim", wrap=True))
        column.addSpacing(10)
        row = QHBoxLayout()
        row.addStretch(1)
        self.act_button = button(act, kind="danger", on_click=self.accept)
        self.stay_button = button(stay, kind="primary", on_click=self.reject)
        row.addWidget(self.act_button)
        row.addWidget(self.stay_button)
        column.addLayout(row)
        self.stay_button.setDefault(True)
        self.setMinimumWidth(440)


def ask(parent: QWidget, title: str, text: str, act: str, stay: str = "Keep") -> bool:
    """Ask and return whether the act was chosen."""
    return Question(parent, title, text, act, stay).exec() == QDialog.DialogCode.Accepted
