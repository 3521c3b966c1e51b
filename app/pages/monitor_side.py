"""The right side of the monitor: answers, log and the run's own recipe, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QStackedWidget,
    QTabBar,
    QVBoxLayout,
    QWidget,
)

from app.pages.monitor_words import answers, log_lines
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.log_view import LogView
from app.widgets.samples_view import SamplesView
from app.widgets.scroll import vertical_scroll
from app.widgets.seal_view import SealLine, SealList
from engine.runs.history import RunHistory

LONGEST_QUESTION = 4000
TABS = ("Answers", "Seals", "Log", "Recipe")


class MonitorSide(Card):
    """A card with tabs.

    Signals:
        open_folder_requested: the run's folder is to be shown.
        ask_requested: the run shall answer this prompt now.
    """

    open_folder_requested = Signal()
    ask_requested = Signal(str)

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
        self._asked = ""
        self._unfilled: dict[str, Callable[[], None]] = {}
        self._question_place = self._build_question()
        self._question_place.hide()
        answered = QWidget()
        column = QVBoxLayout(answered)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.samples, 1)
        column.addWidget(self._question_place)
        self._places = QStackedWidget()
        for widget in (answered, vertical_scroll(self.seals), self.log, self.recipe):
            self._places.addWidget(widget)
        self.header.insertWidget(0, self.tabs)
        folder = button(icon="folder-open", kind="ghost", compact=True, name="Open the run's folder")
        folder.clicked.connect(self.open_folder_requested)
        self.header.addWidget(folder)
        self.layout().insertLayout(0, self.header)
        self.layout().setContentsMargins(12, 8, 12, 12)
        self.body.addWidget(self._places, 1)
        self.tabs.currentChanged.connect(self._on_tab_changed)
        self._follow_theme()
        current_theme().changed.connect(self._follow_theme)

    def _build_question(self) -> QWidget:
        """Make the line in which a going run is asked something."""
        place = QWidget()
        row = QHBoxLayout(place)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.question = QLineEdit()
        self.question.setPlaceholderText("Ask it now")
        self.question.setAccessibleName("Ask it now")
        self.question.setAccessibleDescription("The run answers after the step it is at, as it stands then")
        self.question.setMaxLength(LONGEST_QUESTION)
        self.question.returnPressed.connect(self._on_asked)
        self.send = button(icon="send", kind="secondary", name="Ask it now", on_click=self._on_asked)
        row.addWidget(self.question, 1)
        row.addWidget(self.send)
        return place

    def _on_asked(self) -> None:
        prompt = self.question.text().strip()
        if prompt and self.question.isEnabled():
            self.ask_requested.emit(prompt)

    def ask(self) -> None:
        """Go to the line in which a run is asked something."""
        self.tabs.setCurrentIndex(TABS.index("Answers"))
        self.question.setFocus()

    def show_asked(self, prompt: str) -> None:
        """Show that the run was asked, until its answer is there; an empty text: it was not, or has ended."""
        self._asked = prompt
        self.question.setEnabled(not prompt)
        self.send.setEnabled(not prompt)
        if prompt:
            self.question.clear()
        self.question.setPlaceholderText("It answers after this step…" if prompt else "Ask it now")

    def show_going(self, going: bool) -> None:
        """Offer to ask while the run can answer."""
        self._question_place.setVisible(going)
        if not going and self._asked:
            self.show_asked("")

    def _on_tab_changed(self, index: int) -> None:
        fill = self._unfilled.pop(TABS[index], None)
        if fill is not None:
            fill()
        self._places.setCurrentIndex(index)

    def _when_seen(self, tab: str, fill: Callable[[], None]) -> None:
        """Fill a tab as soon as it is in front: to lay out what nobody sees takes time from what is seen."""
        if TABS[self.tabs.currentIndex()] == tab:
            fill()
        else:
            self._unfilled[tab] = fill

    def show_run(self, history: RunHistory, generation: int) -> None:
        """Show a run's answers and log."""
        found = answers(history)
        self.samples.show_answers(found)
        if self._asked and any(a.prompt == self._asked and max(a.by_step) > 0 for a in found):
            self.samples.show_prompt(self._asked)
            self.show_asked("")
        mark = (generation, history.log_count - len(history.log))
        self._when_seen("Log", lambda: self.log.show_lines(log_lines(history), mark))

    def show_seals(self, lines: Sequence[SealLine]) -> None:
        """Show what the run's seals rest on."""
        self._when_seen("Seals", lambda: self.seals.show_seals(lines))

    def open_seals(self) -> None:
        """Go to the seals."""
        self.tabs.setCurrentIndex(TABS.index("Seals"))

    def show_recipe(self, text: str) -> None:
        """Show the recipe the run was started with."""
        self._when_seen("Recipe", lambda: self.recipe.setPlainText(text))

    def find(self) -> None:
        """Go to the filter of the log."""
        self.tabs.setCurrentIndex(TABS.index("Log"))
        self.log.filter.setFocus()

    def _follow_theme(self) -> None:
        self.recipe.setFont(current_theme().font("least", mono=True))
