"""The data step while there is no data: a place to drop a file, bundled sets, own sets, a table, the hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.data_bundled import EXAMPLES, FormatSample
from app.pages.wizard.data_hand import HandTable
from app.services import Services
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.drop_zone import DropZone
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.mark import Mark
from app.widgets.option_card import OptionRow
from engine.paths import show_name

DETAIL = (
    "JSON, JSONL, CSV, Excel, Parquet, YAML or plain text, also packed, or a folder. "
    "Format and columns are found from the first rows."
)
HAND, HUB = "hand", "hub"
WAYS = (
    (HAND, "Make a table by hand", "Two columns, typed or pasted from a spreadsheet."),
    (HUB, "Get a set from the hub", "By its id. Nothing is loaded before its size is shown."),
)
MOST_OWN = 8


def own_sets() -> list[tuple[Path, str]]:
    """Return (file or folder, a word on it) of the home's data sets."""
    from engine.data.library import list_datasets

    found = []
    for each in list_datasets():
        if each.kind != "no data":
            words = [each.kind, i18n.size(each.bytes), "" if each.complete else "not complete"]
            found.append((each.path, " · ".join(filter(None, words))))
    return found


class DataStart(QWidget):
    """All ways to data.

    Signals:
        files_chosen: files or folders to be used.
        file_requested, folder_requested: a file or folder is to be looked for.
        example_chosen: the name of a bundled set.
    """

    files_chosen = Signal(list)
    file_requested = Signal()
    folder_requested = Signal()
    example_chosen = Signal(str)

    def __init__(self, services: Services, hub: Any) -> None:
        super().__init__()
        self._services = services
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(14)
        self.zone = DropZone(
            "Drop a file with examples here", DETAIL, ("Add file…", self.file_requested.emit)
        )
        self.zone.dropped.connect(self.files_chosen)
        self.column.addWidget(self.zone)
        self.column.addWidget(self._build_own())
        self.bundled = Card("Or take a bundled example")
        self.examples = OptionRow([(e.name, e.title, e.sentence) for e in EXAMPLES])
        for example in EXAMPLES:
            self.examples.cards[example.name].show_figures(example.figures())
        self.examples.chosen.connect(self.example_chosen)
        self.bundled.body.addWidget(self.examples)
        self.column.addWidget(self.bundled)
        self.more = Card("Or begin without a file")
        self.ways = OptionRow(WAYS)
        self.ways.chosen.connect(self.open_way)
        self.more.body.addWidget(self.ways)
        self.column.addWidget(self.more)
        self.hand = HandTable(services)
        self.hand.made.connect(lambda file: self.files_chosen.emit([file]))
        self.hand.closed.connect(lambda: self.open_way(""))
        self.column.addWidget(self.hand)
        self.hub = hub
        self.column.addWidget(self.hub)
        self.formats = Card("What a row may look like")
        for shape in FormatSample.all():
            self.formats.body.addWidget(shape)
        self.column.addWidget(self.formats)
        self.open_way("")

    def _build_own(self) -> Card:
        self.own = Card(
            "Your data sets",
            button("Add folder…", "folder", on_click=self.folder_requested.emit, compact=True),
        )
        self._own = QVBoxLayout()
        self._own.setSpacing(4)
        self.own.body.addLayout(self._own)
        self.own.hide()
        return self.own

    def open_way(self, name: str) -> None:
        """Open one of the ways without a file, or close both."""
        self.hand.setVisible(name == HAND)
        self.hub.setVisible(name == HUB)
        self.ways.choose(name)
        if name == HAND:
            self.hand.focus_table()
        elif name == HUB:
            self.hub.focus_field()

    def look(self) -> None:
        """Look in the background for data sets in the home's folder."""
        self._services.background.run(own_sets, self.show_own)

    def show_own(self, sets: Sequence[tuple[Path, str]]) -> None:
        """Offer (file or folder, a word on it) of what lies in the home's folder of data sets."""
        while (item := self._own.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for path, words in sets[:MOST_OWN]:
            self._own.addWidget(self._own_line(path, words))
        if len(sets) > MOST_OWN:
            rest = i18n.number(len(sets) - MOST_OWN)
            self._own.addWidget(TextLabel(f"and {rest} more in {show_name(str(sets[0][0].parent))}", "small"))
        self.own.setVisible(bool(sets))

    def _own_line(self, path: Path, words: str) -> QWidget:
        made = QWidget()
        row = QHBoxLayout(made)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(Mark("database", "dim", 16))
        row.addWidget(TextLabel(show_name(path.name, 60), "small_text"))
        row.addWidget(ElidedLabel(words, "small"), 1)
        name = f"Use {show_name(path.name, 60)}"
        row.addWidget(button("Use", compact=True, name=name, on_click=lambda: self.files_chosen.emit([path])))
        return made
