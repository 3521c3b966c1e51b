"""Who Chat speaks with: the list in the top bar, and the list of who else could sit in a column."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QComboBox, QWidget

from app.choices import Choice
from app.i18n import tr
from app.pages.chat_offers import offers_menu
from app.partners import read_partners, with_base
from app.services import Services
from app.theme.style import current_theme
from engine.errors import EngineError


class ChatChooser(QObject):
    """Everybody on this computer, and who of them is wanted.

    Signals:
        chosen: another partner was chosen in the list.
        seated: a choice and the key of the column it is to sit in, an empty text for a new one.
        known: the list has been read.
        unread: why it could not be.
    """

    chosen = Signal(object)
    seated = Signal(object, str)
    known = Signal()
    unread = Signal(object)

    def __init__(self, services: Services, parent: QObject) -> None:
        super().__init__(parent)
        self._services = services
        self.choices: list[Choice] = []
        self.wanted: Choice | None = None
        self.reading = False
        self.target = QComboBox()
        theme = current_theme()
        self.target.setMinimumWidth(theme.px(150))
        self.target.setMaximumWidth(theme.px(260))
        self.target.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.target.setMinimumContentsLength(24)
        self.target.setAccessibleName(tr("What to chat with"))
        self.target.activated.connect(self._on_activated)

    def read(self) -> None:
        """Read the list anew, off this thread."""
        self.reading = True
        self._services.background.run(read_partners, self._on_read, self._on_failed)

    def _on_read(self, choices: list[Choice]) -> None:
        self.reading = False
        self.choices = choices
        if self.wanted is not None:
            known = next((each for each in choices if each.target == self.wanted.target), None)
            self.wanted = known or self.wanted
            if known is None:
                self.choices = [self.wanted, *choices]
        self._fill()
        self.known.emit()

    def _on_failed(self, error: EngineError) -> None:
        self.reading = False
        self.unread.emit(error)

    def want(self, choice: Choice) -> Choice:
        """Know whom a person wants; returns the choice with its base."""
        self.wanted = with_base(choice) if not choice.base_path else choice
        if all(known.target != choice.target for known in self.choices):
            self.choices = [self.wanted, *self.choices]
        self._fill()
        return self.wanted

    def find(self, target: str) -> Choice | None:
        """Return the entry that stands for a folder."""
        return next((each for each in self.choices if each.target == target), None)

    def _fill(self) -> None:
        self.target.clear()
        for choice in self.choices:
            self.target.addItem(f"{choice.label} · {choice.base}" if choice.has_adapter else choice.label)
        if self.wanted is not None:
            targets = [choice.target for choice in self.choices]
            self.target.setCurrentIndex(targets.index(self.wanted.target))

    def _on_activated(self, index: int) -> None:
        if 0 <= index < len(self.choices):
            self.chosen.emit(self.choices[index])

    def offer(self, anchor: QWidget, base_path: str, key: str = "") -> None:
        """Show who could sit in a column; `base_path` is the loaded base."""
        gpu = bool(getattr(self._services.hardware.machine, "devices", ()))

        def sit(choice: Choice) -> None:
            self.seated.emit(choice, key)

        menu = offers_menu(anchor, self.choices, base_path, gpu, sit, sit)
        menu.popup(anchor.mapToGlobal(anchor.rect().bottomLeft()))
