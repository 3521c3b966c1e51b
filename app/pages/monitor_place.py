"""What can be done about a run's folder: one that is gone is sought or restored, a copy gets its own name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QFileDialog, QInputDialog, QLineEdit

from engine.errors import EngineError
from engine.runs import store

if TYPE_CHECKING:
    from app.pages.monitor import MonitorPage


class MonitorPlace(QObject):
    """Works on the run in front of `page`."""

    def __init__(self, page: MonitorPage) -> None:
        super().__init__(page)
        self._page = page

    def look_again(self) -> None:
        """Look whether the folder is back; what was read is read anew."""
        if self._page.watch is not None:
            self._page.open_run(self._page.watch.folder)

    def ask_where(self) -> None:
        """Let a person show where the run lies now."""
        chosen = QFileDialog.getExistingDirectory(self._page, "Where the run lies now")
        if chosen:
            self._page.open_run(Path(chosen))

    def restore(self, trashed: Path) -> None:
        """Bring the run back from the trash and show it."""
        background = self._page.services.background
        background.run(lambda: store.restore_run(trashed), self._page.open_run, self._tell)

    def rename_copy(self) -> None:
        """Ask for the name of a copied run."""
        watch = self._page.watch
        if watch is None:
            return
        asked = (self._page, "Rename this copy", "Name", QLineEdit.EchoMode.Normal, f"{watch.name} (copy)")
        name, taken = QInputDialog.getText(*asked)
        if taken and name.strip():
            self.name_copy(name.strip())

    def name_copy(self, name: str) -> None:
        """Show a copied run by a name of its own from now on."""
        page, watch = self._page, self._page.watch
        if watch is None:
            return

        def named(_: object) -> None:
            watch.name, watch.copied_from = name, None
            page.refresh()

        page.services.background.run(lambda: store.rename_run(watch.folder, name), named, self._tell)

    def _tell(self, error: EngineError) -> None:
        self._page.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
