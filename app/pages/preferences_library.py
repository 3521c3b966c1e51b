"""Models, adapters and tests that were collected: each can be deleted, and brought back for thirty days."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app import kept
from app.i18n import number, size
from app.kept import Kept
from app.pages.preferences_section import Section
from app.services import Services
from app.widgets.button import button
from app.widgets.label import ElidedLabel, text_label
from app.widgets.mark import Mark
from engine.errors import EngineError
from engine.runs import trash
from engine.runs.trash import Trashed

MARKS = {"model": "layers", "adapter": "link", "test": "check"}
SHOWN_AT_FIRST = 8


class LibrarySection(Section):
    """A line each, with what it takes and the press that deletes it."""

    key = "library"
    short = "Library"

    def __init__(self, services: Services) -> None:
        super().__init__(
            services,
            "Library: models, adapters, tests",
            "library models adapters tests delete trash undo collected",
        )
        self.summary = text_label("Looking", "dim", wrap=True)
        self.body.addWidget(self.summary)
        self._rows = QVBoxLayout()
        self._rows.setSpacing(6)
        self.body.addLayout(self._rows)
        line = QHBoxLayout()
        self.more_button = button("", kind="link", on_click=self._show_all)
        line.addWidget(self.more_button)
        line.addStretch(1)
        line.addWidget(button("Open the trash", "trash", compact=True, on_click=self._open_trash))
        self.body.addLayout(line)
        self._things: list[Kept] = []
        self._all = False
        self.more_button.hide()

    def refresh(self) -> None:
        self.services.background.run(kept.kept_things, self.show_things, self._tell)

    def show_things(self, things: list[Kept]) -> None:
        """Show what there is."""
        self._things = things
        while (item := self._rows.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        shown = things if self._all else things[:SHOWN_AT_FIRST]
        for thing in shown:
            self._rows.addWidget(self._row(thing))
        nothing = (
            "Nothing yet. Runs, their adapters and the starter model are not listed: they stand under Runs."
        )
        each = "What lies elsewhere on the disk is only forgotten: its files stay."
        self.summary.setText(each if things else nothing)
        self.more_button.setText(f"Show all {number(len(things))}")
        self.more_button.setHidden(len(shown) == len(things))

    def _row(self, thing: Kept) -> QWidget:
        row = QWidget()
        line = QHBoxLayout(row)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(10)
        line.addWidget(Mark(MARKS[thing.kind], "dim"))
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addWidget(ElidedLabel(thing.name, "small_text"))
        place = f" · {thing.place}" if thing.elsewhere else ""
        words.addWidget(ElidedLabel(f"{thing.detail}{place}", "least"))
        line.addLayout(words, 1)
        if thing.bytes is not None:
            line.addWidget(text_label(size(thing.bytes), "mono"), 0, Qt.AlignmentFlag.AlignRight)
        line.addWidget(
            button(
                icon="trash",
                kind="ghost",
                compact=True,
                name=f"Delete {thing.name}",
                on_click=lambda: self.delete(thing),
            )
        )
        return row

    def delete(self, thing: Kept) -> None:
        """Move a thing to the trash; Undo brings it back."""

        def deleted(item: Trashed) -> None:
            words = f"{item.name} is forgotten." if thing.elsewhere else f"{item.name} went to the trash."
            hint = "Its files stay where they are." if thing.elsewhere else ""
            self.services.notify(words, "info", ("Undo", lambda: self._bring_back(item)), hint)
            self.refresh()

        self.services.background.run(lambda: kept.delete(thing), deleted, self._tell)

    def _bring_back(self, item: Trashed) -> None:
        self.services.background.run(lambda: trash.restore(item), lambda _: self.refresh(), self._tell)

    def _show_all(self) -> None:
        self._all = True
        self.show_things(self._things)

    def _open_trash(self) -> None:
        self.services.navigate("runs", {"trash": True})

    def _tell(self, error: EngineError) -> None:
        self.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
