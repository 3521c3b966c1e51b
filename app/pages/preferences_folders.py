"""Where things lie, how much room they take, and how to get it back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QGridLayout, QVBoxLayout, QWidget

from app.i18n import size
from app.pages.preferences_section import Section
from app.services import Services
from app.storage import Storage, empty_cache, measure
from app.widgets.button import button
from app.widgets.label import ElidedLabel, hairline, text_label
from app.widgets.mark import Swatch
from app.widgets.meter import Part, StackedBar
from engine import paths


class FoldersSection(Section):
    """Where things lie, how much room they take, and how to get it back.

    Signals:
        added: a model was added to the library.
    """

    added = Signal()

    key = "folders"

    def __init__(self, services: Services) -> None:
        super().__init__(
            services, "Models and folders", "folders home models runs data exports cache disk space storage"
        )
        self.bar = StackedBar(legend=False)
        self.bar.setAccessibleName("Disk use")
        self.body.addWidget(self.bar)
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(14)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnStretch(1, 1)
        self.body.addLayout(self._grid)
        self.body.addWidget(hairline())
        self.home = ElidedLabel(str(paths.home()), "mono")
        hint = "All of the above lie in here. Start with --home DIR or set TUNESMITH_HOME to use another one."
        self.add_row("Home", self.home, hint)
        self.add_row(
            "Models elsewhere",
            button("Add model folder…", "plus", compact=True, on_click=self._add_model),
            "A folder of a model that stays where it is; nothing is copied.",
        )

    def refresh(self) -> None:
        self.services.background.run(measure, self.show_storage)

    def show_storage(self, storage: Storage) -> None:
        """Show each folder's room, with the button that opens or frees it."""
        parts = [Part(place.name, place.bytes, place.token, size(place.bytes)) for place in storage.places]
        self.bar.set(parts, storage.used_bytes + storage.free_bytes)
        _clear(self._grid)
        for row, place in enumerate(storage.places):
            self._grid.addWidget(Swatch(place.token), row, 0)
            words = QWidget()
            column = QVBoxLayout(words)
            column.setContentsMargins(0, 0, 0, 0)
            column.setSpacing(0)
            column.addWidget(text_label(place.name.capitalize(), "small_text"))
            column.addWidget(ElidedLabel(str(place.folder), "least"))
            self._grid.addWidget(words, row, 1)
            self._grid.addWidget(text_label(size(place.bytes), "mono"), row, 2, Qt.AlignmentFlag.AlignRight)
            show = button(
                "Open",
                compact=True,
                name=f"Open the folder of {place.name}",
                on_click=lambda folder=place.folder: QDesktopServices.openUrl(
                    QUrl.fromLocalFile(str(folder))
                ),
            )
            self._grid.addWidget(show, row, 3)
            if place.name == "cache":
                free = button("Empty", compact=True, name="Empty the cache", on_click=self._empty_cache)
                free.setEnabled(place.bytes > 0)
                self._grid.addWidget(free, row, 4)
        row = len(storage.places)
        self._grid.addWidget(Swatch("edge"), row, 0)
        self._grid.addWidget(text_label("Free on this disk", "small_text"), row, 1)
        self._grid.addWidget(
            text_label(size(storage.free_bytes), "mono"), row, 2, Qt.AlignmentFlag.AlignRight
        )

    def _empty_cache(self) -> None:
        def emptied(freed: int) -> None:
            self.services.notify(f"The cache is empty: {size(freed)} freed.", "ok")
            self.refresh()

        self.services.background.run(empty_cache, emptied, self._tell)

    def _add_model(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder of a model")
        if chosen:
            self.add_model(Path(chosen))

    def add_model(self, folder: Path) -> None:
        """Remember a model where it lies."""
        from engine.models.library import add_model

        def added(facts: Any) -> None:
            self.services.notify(f"{facts.name} is in the library.", "ok")
            self.added.emit()

        self.services.background.run(lambda: add_model(folder), added, self._tell)

    def _tell(self, error: Any) -> None:
        self.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)


def _clear(layout: Any) -> None:
    while (item := layout.takeAt(0)) is not None:
        widget = item.widget()
        if widget is not None:
            widget.hide()
            widget.deleteLater()
