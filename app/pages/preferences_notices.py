"""What a person is called for while they look at something else, and how that looks here."""

from __future__ import annotations

from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout, QWidget

from app.pages.preferences_section import Section
from app.services import Services
from app.widgets.button import button
from app.widgets.label import text_label

BOXES = (
    ("notify", "Call me when I look at something else"),
    ("notify_finished", "for what has ended: runs, merges, exports, evaluations"),
    ("notify_needs", "for what needs me: failures, a full disk, no sign of life, a queue on hold"),
)
NONE_HERE = "This desktop shows no notices. The task bar marks the window."


class NoticesSection(Section):
    """Whether and for what the desktop shows a notice."""

    key = "notices"

    def __init__(self, services: Services) -> None:
        super().__init__(services, "Notices", "notices notifications call desktop finished failed disk alert")
        holder = QWidget()
        holder.setAccessibleName("What the desktop shows a notice for")
        column = QVBoxLayout(holder)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self._listens = False
        self.boxes: dict[str, QCheckBox] = {}
        for field, words in BOXES:
            box = QCheckBox(words)
            box.setAccessibleName(words)
            box.toggled.connect(lambda on, field=field: self._on_toggled(field, on))
            row = QHBoxLayout()
            row.setContentsMargins(0 if field == "notify" else services.theme.px(26), 0, 0, 0)
            row.addWidget(box)
            column.addLayout(row)
            self.boxes[field] = box
        hint = "Once for each, without a sound, and never while you use the window. A press opens the run."
        self.add_row("On the desktop", holder, hint)
        row = QHBoxLayout()
        row.setSpacing(12)
        self.try_button = button("Show one now", compact=True, on_click=self._on_try)
        self.answer = text_label("", "small", wrap=True)
        row.addWidget(self.try_button)
        row.addWidget(self.answer, 1)
        line = QWidget()
        line.setLayout(row)
        row.setContentsMargins(0, 0, 0, 0)
        self.add_row("Try it", line)
        self.refresh()

    def refresh(self) -> None:
        value = self.services.settings.value
        for field, box in self.boxes.items():
            box.blockSignals(True)
            box.setChecked(bool(getattr(value, field)))
            box.setEnabled(field == "notify" or value.notify)
            box.blockSignals(False)

    def _on_toggled(self, field: str, on: bool) -> None:
        self.services.settings.change(**{field: on})
        self.refresh()

    def _on_try(self) -> None:
        notices = self.services.notices
        if notices is None:
            self.answer.setText(NONE_HERE)
            return
        if not self._listens:
            self._listens = True
            notices.desktop.failed.connect(lambda _key: self.answer.setText(NONE_HERE))
        self.answer.setText("Your desktop was asked to show it.")
        notices.try_out()
