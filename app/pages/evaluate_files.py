"""Questions from elsewhere: a person's own files, and benchmarks brought from the hub after a press."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QFileDialog

from app.evaluating import label_of
from app.pages.evaluate_reading import check_file, download
from engine.errors import EngineError

if TYPE_CHECKING:
    from app.pages.evaluate import EvaluatePage

KINDS = "Data (*.jsonl *.json *.csv *.tsv *.parquet *.arrow *.xlsx)"


class OwnFiles(QObject):
    """`chosen` are the files that stand for benchmarks of the run that is shown."""

    def __init__(self, page: EvaluatePage) -> None:
        super().__init__(page)
        self._page = page
        self.chosen: dict[str, Path] = {}

    def ask_for(self, name: str) -> None:
        """Let the person choose a file for a benchmark."""
        chosen, _ = QFileDialog.getOpenFileName(self._page, f"Questions for {label_of(name)}", "", KINDS)
        if chosen:
            self.take(name, Path(chosen))

    def take(self, name: str, file: Path) -> None:
        """Let a file stand for a benchmark's questions, once it has been read; else say what is wrong."""
        page = self._page
        page.choose()

        def taken(_count: int) -> None:
            page.notice.hide()
            self.chosen[name] = file
            page.refresh()

        def refused(error: EngineError) -> None:
            page.say_error(error, [("Choose another file…", lambda: self.ask_for(name))])

        page.services.background.run(lambda: check_file(name, file), taken, refused)

    def remove(self, name: str) -> None:
        """Go back to a benchmark's own questions."""
        self.chosen.pop(name, None)
        self._page.refresh()

    def download(self, name: str) -> None:
        """Bring a benchmark to this computer: the one thing here that uses the network."""
        page = self._page
        page.choice.show_downloading(name)

        def done(_folder: Path) -> None:
            page.choice.show_downloading("")
            page.services.notify(f"{label_of(name)} is on this computer.", "ok")
            page.refresh()

        def failed(error: EngineError) -> None:
            page.choice.show_downloading("")
            retry = ("Try again", lambda: self.download(name))
            page.say_error(error, [("Choose a file…", lambda: self.ask_for(name)), retry])

        page.services.background.run(lambda: download(name), done, failed)
