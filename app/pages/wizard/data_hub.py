"""A data set of the hub by its id: its files and sizes first, then, after a press, the download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QHBoxLayout

from app import i18n
from app.services import Services
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import TextLabel
from app.widgets.notice import Notice
from app.widgets.typed_editors import LineField
from engine.errors import EngineError
from engine.hub import HubFile, dataset_name
from engine.jobs.fetch import dataset_files, download_dataset
from engine.paths import show_name

SHOWN = 4
PROGRESS_MS = 150


@dataclass(frozen=True)
class HubSetFacts:
    """A data set of the hub: its id, the revision asked for, its data files with their sizes."""

    identity: str
    revision: str | None
    files: Sequence[HubFile]


def look_up(text: str) -> HubSetFacts:
    """Ask the hub about what a person typed or pasted. Raises EngineError HUB-01 and HUB-03."""
    plain = text.removeprefix("hub:")
    for start in ("https://", "http://"):
        if plain.startswith(start):
            plain = plain.split("/datasets/", 1)[-1]
    plain = "/".join(plain.split("/")[:2])
    named = dataset_name(plain)
    if named is None:
        raise EngineError(
            f"{show_name(text, 80)} is no id of a data set.", "An id looks like name/name.", "HUB-01"
        )
    return HubSetFacts(*named, dataset_files(*named))


class HubSet(Card):
    """The field, what the set holds, and the press that brings it.

    Signals:
        made: the folder that was downloaded.
    """

    made = Signal(object)

    def __init__(self, services: Services) -> None:
        super().__init__("A data set of the hub")
        self._services = services
        row = QHBoxLayout()
        row.setSpacing(8)
        self.field = LineField()
        self.field.setAccessibleName("Hub id of the data set")
        self.field.setPlaceholderText("name/name, or a link to it")
        self.look = button("Show its files", on_click=self.on_look_pressed)
        row.addWidget(self.field, 1)
        row.addWidget(self.look)
        self.body.addLayout(row)
        self.words = TextLabel("The network is asked only after you press.", "small", wrap=True)
        self.body.addWidget(self.words)
        self.error = Notice("bad")
        self.error.hide()
        self.body.addWidget(self.error)
        below = QHBoxLayout()
        self.bring = button("Download", "download", on_click=self.on_bring_pressed)
        self.stop = button("Stop", kind="link", on_click=lambda: self._told.update(stop=True))
        below.addWidget(self.bring)
        below.addWidget(self.stop)
        below.addStretch(1)
        self.body.addLayout(below)
        self.bring.hide()
        self.stop.hide()
        self._busy = False
        self._found: HubSetFacts | None = None
        self._told: dict[str, Any] = {}  # how far the download is; written in the background
        self._timer = QTimer(self, interval=PROGRESS_MS)
        self._timer.timeout.connect(self._tell)
        self.field.returnPressed.connect(self.on_look_pressed)

    def focus_field(self) -> None:
        """Put the cursor into the field."""
        self.field.setFocus(Qt.FocusReason.OtherFocusReason)

    def on_look_pressed(self) -> None:
        """Ask the hub what the set holds."""
        text = self.field.text().strip()
        if not text or self._busy:
            return
        self.error.hide()
        self.bring.hide()
        self._set_busy(f"Asking the hub about {show_name(text, 80)}…")
        self._services.background.run(lambda: look_up(text), self._on_looked, self._on_failed)

    def _on_looked(self, found: HubSetFacts) -> None:
        self._set_busy("")
        self._found = found
        whole = sum(file.bytes for file in found.files)
        names = [f"{show_name(file.name, 60)} ({i18n.size(file.bytes)})" for file in found.files[:SHOWN]]
        more = len(found.files) - SHOWN
        rest = f" and {i18n.number(more)} more" if more > 0 else ""
        self.words.setText(f"{', '.join(names)}{rest}: {i18n.size(whole)} in all.")
        self.bring.setText(f"Download {i18n.size(whole)}")
        self.bring.show()

    def on_bring_pressed(self) -> None:
        """Download what was shown; files that are here already are not fetched again."""
        found = self._found
        if found is None or self._busy:
            return
        told = self._told

        def progress(done: int, total: int) -> None:
            # Called in the background: nothing of Qt may be touched.
            if told.get("stop"):
                raise EngineError("The download was stopped.", "What is here is kept.", "HUB-02")
            told["bytes"] = (done, total)

        told.clear()
        self._set_busy("Downloading…")
        self.stop.show()
        self._timer.start()
        self._services.background.run(
            lambda: download_dataset(found.identity, found.revision, None, progress),
            self._on_made,
            self._on_failed,
        )

    def _tell(self) -> None:
        if "bytes" in self._told and self._busy:
            done, total = self._told["bytes"]
            self.words.setText(f"Downloading… {i18n.size(done)} of {i18n.size(total)}")

    def _set_busy(self, words: str) -> None:
        self._busy = bool(words)
        if words:
            self.words.setText(words)
        else:
            self._timer.stop()
            self.stop.hide()
        self.look.setEnabled(not words)
        self.bring.setEnabled(not words)

    def _on_made(self, folder: Path) -> None:
        self._set_busy("")
        self.bring.hide()
        self.words.setText(f"It is in {show_name(str(folder), 120)}.")
        self.made.emit(folder)

    def _on_failed(self, error: Any) -> None:
        self._set_busy("")
        self.words.setText("The network is asked only after you press.")
        self.error.show_error(error, [("Try again", self.on_look_pressed)])
        self.error.show()
