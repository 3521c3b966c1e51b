"""The last data files behind one button; a file that is gone is greyed and can be looked for."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from app.services import Services
from app.theme.icons import icon
from app.widgets.button import button
from engine.paths import show_name

MOST = 10


def which_are_there(files: list[str]) -> dict[str, bool]:
    """Say of each file or folder whether it exists."""
    return {name: Path(name).exists() for name in files}


class RecentData(QObject):
    """A button with a menu of the files used last.

    Signals:
        chosen: a file that is there.
        located: (what it was called, where it is now).
    """

    chosen = Signal(object)
    located = Signal(str, object)

    def __init__(self, services: Services, parent: QWidget) -> None:
        super().__init__(parent)
        self._services = services
        self._there: dict[str, bool] = {}
        self.button: QPushButton = button("Recent", "chevron-down")
        self.menu = QMenu(self.button)
        self.button.setMenu(self.menu)
        self.menu.aboutToShow.connect(self.fill)
        services.settings.changed.connect(self._on_settings_changed)

    @property
    def files(self) -> list[str]:
        """Return the files used last, the newest first."""
        return self._services.settings.value.recent_data[:MOST]

    def look(self) -> None:
        """Find out in the background which of them are there (a folder of a network may take long)."""
        files = self.files
        self.button.setEnabled(bool(files))
        if files:
            self._services.background.run(lambda: which_are_there(files), self._on_looked)

    def _on_looked(self, there: dict[str, bool]) -> None:
        self._there = there
        if self.menu.isVisible():
            self.fill()

    def _on_settings_changed(self, names: list[str]) -> None:
        if "recent_data" in names:
            self.look()

    def fill(self) -> None:
        """Write the menu as the settings say now."""
        self.menu.clear()
        for name in self.files:
            there = self._there.get(name, True)
            self._add(Path(name), there)
        if not self.files:
            self.menu.addAction("Nothing yet").setEnabled(False)

    def _add(self, file: Path, there: bool) -> None:
        shown = show_name(file.name, 48).replace("&", "&&")
        place = show_name(str(file.parent), 60).replace("&", "&&")
        words = f"{shown}  ·  {place}" if there else f"{shown}  ·  not there any more"
        action = self.menu.addAction(icon("file", "text" if there else "edge"), words)
        action.setEnabled(there)
        action.triggered.connect(lambda _checked=False: self.chosen.emit(file))
        if not there:
            look = self.menu.addAction(icon("search", "text"), f"Locate {shown}…")
            look.triggered.connect(lambda _checked=False: self.locate(str(file)))

    def locate(self, name: str) -> None:
        """Let a file that is gone be looked for."""
        title = f"Where is {Path(name).name} now?"
        found, _ = QFileDialog.getOpenFileName(self.button, title, str(Path(name).parent))
        if found:
            self.put_in_place_of(name, found)

    def put_in_place_of(self, name: str, found: str) -> None:
        """Keep the new place of a file instead of the old one."""
        files = [found if each == name else each for each in self.files]
        self._services.settings.change(recent_data=list(dict.fromkeys(files)))
        self.located.emit(name, Path(found))
