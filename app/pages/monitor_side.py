"""The right side of the monitor: answers, log and the run's own recipe, one at a time."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QPlainTextEdit, QStackedWidget, QTabBar

from app.pages.monitor_words import answers, log_lines
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.log_view import LogView
from app.widgets.samples_view import SamplesView
from app.widgets.scroll import vertical_scroll
from app.widgets.seal_view import SealLine, SealList
from engine.runs.history import RunHistory

TABS = ("Answers", "Seals", "Log", "Recipe")


class MonitorSide(Card):
    """A card with tabs.

    Signals:
        open_folder_requested: the run's folder is to be shown.
    """

    open_folder_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName("Answers, seals, log and recipe")
        self.tabs = QTabBar()
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setAccessibleName("Answers, seals, log or recipe")
        for words in TABS:
            self.tabs.addTab(words)
        self.samples, self.log, self.seals = SamplesView(), LogView(), SealList()
        self.recipe = QPlainTextEdit(readOnly=True)
        self.recipe.setProperty("flat", "true")
        self.recipe.setAccessibleName("The recipe this run was started with")
        self._places = QStackedWidget()
        for widget in (self.samples, vertical_scroll(self.seals), self.log, self.recipe):
            self._places.addWidget(widget)
        self.header.insertWidget(0, self.tabs)
        folder = button(icon="folder-open", kind="ghost", compact=True, name="Open the run's folder")
        folder.clicked.connect(self.open_folder_requested)
        self.header.addWidget(folder)
        self.layout().insertLayout(0, self.header)
        self.layout().setContentsMargins(12, 8, 12, 12)
        self.body.addWidget(self._places, 1)
        self.tabs.currentChanged.connect(self._places.setCurrentIndex)
        self._follow_theme()
        current_theme().changed.connect(self._follow_theme)

    def show_run(self, history: RunHistory, generation: int) -> None:
        """Show a run's answers and log."""
        self.samples.show_answers(answers(history))
        self.log.show_lines(log_lines(history), (generation, history.log_count - len(history.log)))

    def show_seals(self, lines: Sequence[SealLine]) -> None:
        """Show what the run's seals rest on."""
        self.seals.show_seals(lines)

    def open_seals(self) -> None:
        """Go to the seals."""
        self.tabs.setCurrentIndex(TABS.index("Seals"))

    def show_recipe(self, text: str) -> None:
        """Show the recipe the run was started with."""
        self.recipe.setPlainText(text)

    def find(self) -> None:
        """Go to the filter of the log."""
        self.tabs.setCurrentIndex(TABS.index("Log"))
        self.log.filter.setFocus()

    def _follow_theme(self) -> None:
        self.recipe.setFont(current_theme().font("least", mono=True))
