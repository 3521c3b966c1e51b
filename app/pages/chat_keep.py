"""Keep a question as a test of one's own: how its answer is to be judged, asked beside the answer."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPlainTextEdit, QWidget

from app.i18n import tr
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.floating import Floating
from app.widgets.label import TextLabel
from engine.errors import EngineError
from engine.runs.tests_kept import NEED_EXPECTED

CHECK_WORDS = (
    ("contains", "The answer contains this"),
    ("exact", "The answer is exactly this"),
    ("json", "The answer is valid JSON"),
    ("regex", "The answer fits this pattern"),
    ("none", "No check: answers are shown side by side"),
)


class KeepTestCard(Floating):
    """`keep(expected, check)` writes the test; an EngineError it raises is shown here."""

    def __init__(
        self, anchor: QWidget, question: str, answer: str, keep: Callable[[str | None, str], object]
    ) -> None:
        super().__init__(anchor, 360)
        self._keep = keep
        theme = current_theme()
        self.column.addWidget(TextLabel(tr("Keep as test"), "heading"))
        shown = " ".join(question.split())
        self.column.addWidget(TextLabel(shown[:160] + ("…" if len(shown) > 160 else ""), "small", wrap=True))
        self.check = QComboBox()
        self.check.setAccessibleName(tr("How the answer is judged"))
        for name, words in CHECK_WORDS:
            self.check.addItem(tr(words), name)
        self.expected = QPlainTextEdit()
        self.expected.setAccessibleName(tr("Expected answer"))
        self.expected.setTabChangesFocus(True)
        self.expected.setFixedHeight(theme.px(92))
        self.expected.setPlainText(answer.strip())
        self.fault = TextLabel("", "least", wrap=True)
        self.fault.set_token("bad")
        self.fault.hide()
        for widget in (self.check, self.expected, self.fault):
            self.column.addWidget(widget)
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addStretch(1)
        row.addWidget(button(tr("Cancel"), on_click=self.close_now))
        self.keep_button = button(tr("Keep"), kind="primary", on_click=self._on_keep)
        row.addWidget(self.keep_button)
        self.column.addLayout(row)
        self.check.currentIndexChanged.connect(self._on_check_changed)

    def _on_check_changed(self) -> None:
        self.expected.setVisible(self.check.currentData() in NEED_EXPECTED)
        self.adjustSize()

    def _on_keep(self) -> None:
        check = str(self.check.currentData())
        expected = self.expected.toPlainText().strip() if check in NEED_EXPECTED else None
        try:
            self._keep(expected, check)
        except EngineError as error:
            self.fault.setText(f"{error.message} {error.hint}")
            self.fault.show()
            self.adjustSize()
            return
        self.close_now()
