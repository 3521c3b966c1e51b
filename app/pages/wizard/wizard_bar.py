"""The wizard's part of the top bar: finding an option, how many options are shown, presets."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QMenu, QPushButton, QWidget

from app.pages.wizard.fields import STEP_TITLES, later_words, offered_fields, step_of
from app.widgets.button import button
from app.widgets.option_search import OptionSearch
from engine.recipe.presets import presets

LEVELS = (("simple", "Simple"), ("all", "All options"))


class WizardBar(QObject):
    """The widgets of the top bar, made once.

    Signals:
        level_chosen: simple or all.
        preset_chosen: an engine.recipe.presets.Preset.
        preset_looked_at: the preset that is pointed at in the menu, None when it closes.
        start_over_requested: begin a new recipe.
    """

    level_chosen = Signal(str)
    preset_chosen = Signal(object)
    preset_looked_at = Signal(object)
    start_over_requested = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.search = OptionSearch(offered_fields(), lambda path: STEP_TITLES[step_of(path)])
        self.levels = QWidget()
        row = QHBoxLayout(self.levels)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        self._group = QButtonGroup(self)
        self.chips: dict[str, QPushButton] = {}
        for level, words in LEVELS:
            chip = button(words, kind="chip", on_click=lambda level=level: self.level_chosen.emit(level))
            self._group.addButton(chip)
            row.addWidget(chip)
            self.chips[level] = chip
        self.preset_button = button("Load preset", "chevron-down")
        self.preset_button.setMenu(self._build_menu())

    def _build_menu(self) -> QMenu:
        menu = QMenu(self.preset_button)
        for preset in presets():
            if any(later_words(path, value) for path, value in preset.overrides.items()):
                continue  # asks for what this version does not obey yet
            action = menu.addAction(f"{preset.title}: {preset.description}")
            action.triggered.connect(lambda _checked=False, p=preset: self.preset_chosen.emit(p))
            action.hovered.connect(lambda p=preset: self.preset_looked_at.emit(p))
        menu.addSeparator()
        menu.aboutToHide.connect(lambda: self.preset_looked_at.emit(None))
        menu.addAction("Start over").triggered.connect(self.start_over_requested)
        return menu

    def show_level(self, level: str) -> None:
        """Check the chip of a level."""
        self.chips[level].setChecked(True)

    def widgets(self) -> list[QWidget]:
        """Return what stands in the top bar, from left to right."""
        return [self.search, self.levels, self.preset_button]
