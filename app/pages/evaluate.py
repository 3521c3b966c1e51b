"""Evaluate: base and adapter on the same questions; what got better, what changed, what was forgotten."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QShortcut
from PySide6.QtWidgets import QApplication, QMenu, QStackedWidget, QWidget

from app.choices import Choice
from app.drop import kind_of
from app.evaluating import markdown
from app.i18n import number
from app.notices import job_over
from app.pages.evaluate_choice import ChoicePanel
from app.pages.evaluate_files import OwnFiles
from app.pages.evaluate_going import GoingCard
from app.pages.evaluate_measuring import Measuring
from app.pages.evaluate_place import EvaluatePlace
from app.pages.evaluate_reading import RunRead, items_of, offers_of, read_run, read_runs
from app.pages.evaluate_results import ResultsView
from app.pages.page import Page, padded_column
from app.services import Services
from app.tables.runs import state_icon, state_token, state_word
from app.widgets.button import button
from app.widgets.empty import EmptyState
from app.widgets.notice import Notice
from engine.benchmarks.spec import GENERAL, OWN_TESTS
from engine.errors import EngineError
from engine.jobs import process
from engine.runs.evaluation_offers import Offers
from engine.runs.evaluations import Evaluation, Item

DIED = "The evaluation ended without a closing note: its process died."
MOST_RUNS = 30
KEPT = "What was answered is kept; going on asks only the rest."


class EvaluatePage(Page):
    """The evaluations of one run: what to measure, or what was found."""

    title = "Evaluate"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.run: Path | None = None
        self.read: RunRead | None = None
        self.offers = Offers()
        self.evaluation: Evaluation | None = None
        self.choosing = False
        self.measuring, self.files, self.place = Measuring(self), OwnFiles(self), EvaluatePlace(self)
        self._runs: list[Choice] | None = None
        self._reading = 0
        self._build()
        self._connect()
        self._show()

    # -- making --------------------------------------------------------------------------------------------
    def _build(self) -> None:
        column = padded_column(self)
        self.notice = Notice()
        self.notice.hide()
        self.going_card = GoingCard()
        self.going_card.hide()
        self.choice, self.results = ChoicePanel(), ResultsView()
        self.empty = EmptyState(
            ("file", "chip", "table"),
            "Scores of base and adapter on the same questions will be here, the answers that changed, and "
            "whether something was forgotten. Train an adapter first.",
            ("New run", lambda: self.navigate_requested.emit("wizard", None)),
            ("Try the example", lambda: self.navigate_requested.emit("wizard", {"example": True})),
            title="Nothing to measure yet",
        )
        self._blank = QWidget()
        self.places = QStackedWidget()
        for widget in (self._blank, self.empty, self.choice, self.results):
            self.places.addWidget(widget)
        column.addWidget(self.notice)
        column.addWidget(self.going_card)
        column.addWidget(self.places, 1)
        self.runs_button = button("Another run", "chevron-down", on_click=self._on_runs_pressed)
        self.runs_button.setLayoutDirection(Qt.LayoutDirection.RightToLeft)  # the arrow behind the word
        self.copy_button = button("Copy", "copy", on_click=self._on_copy, tip="The scores as Markdown")
        self.what_button = button("What to measure…", "list", on_click=self._on_what)
        self.run_button = button("Run evaluation", "play", "primary", on_click=self.start, tip="Ctrl+Enter")

    def _connect(self) -> None:
        self.going_card.cancel_requested.connect(self._on_cancel)
        self.measuring.changed.connect(self._on_going)
        self.measuring.ended.connect(self._on_ended)
        self.choice.file_requested.connect(self.files.ask_for)
        self.choice.file_dropped.connect(lambda file: self.files.take(OWN_TESTS, file))
        self.choice.file_removed.connect(self.files.remove)
        self.choice.download_requested.connect(self.files.download)
        self.results.evaluation_chosen.connect(self._on_evaluation_chosen)
        self.results.check_requested.connect(lambda: self.choose(GENERAL))
        self.results.step_requested.connect(self._on_step_requested)
        self.results.chat_requested.connect(lambda: self._go("chat"))
        for key, by in (("J", 1), ("K", -1)):
            QShortcut(key, self).activated.connect(lambda by=by: self.results.move(by))

    # -- what the window asks ------------------------------------------------------------------------------
    def top_bar_actions(self) -> list[QWidget]:
        found: list[QWidget] = [self.runs_button] if len(self._runs or ()) > 1 else []
        if self.run is None:
            return found
        scored = self.evaluation is not None and self.evaluation.results is not None
        if scored and self.places.currentWidget() is self.results:
            found.append(self.copy_button)
        if self.evaluation is not None:
            found.append(self.what_button)
        return [*found, self.run_button] if self.measuring.of(self.run) is None else found

    def open_with(self, argument: dict[str, Any]) -> None:
        if argument.get("run"):
            self.open_run(Path(argument["run"]))

    def shown(self) -> None:
        self._ask(read_runs, self._on_runs)
        self.refresh()

    def settled(self) -> bool:
        return not self._reading

    def primary_action(self) -> None:
        self.start()

    def log_folder(self) -> Path | None:
        going = self.measuring.of(self.run)
        if going is not None:
            return going.folder
        return self.evaluation.folder if self.evaluation is not None else self.run

    def drop_words(self, path: Path) -> str:
        usable = self.run is not None and path.is_file() and kind_of(path) == "data"
        return "Measure on this file" if usable else ""

    def handle_drop(self, path: Path) -> bool:
        if self.drop_words(path):
            self.files.take(OWN_TESTS, path)
            return True
        return False

    def finish(self) -> None:
        self.measuring.look_away()

    # -- reading -------------------------------------------------------------------------------------------
    def _ask(self, work: Callable[[], Any], then: Callable[[Any], object], run: Path | None = None) -> None:
        """Read in the background; an answer for a run that is no longer shown is let go."""
        self._reading += 1

        def done(answer: Any) -> None:
            self._reading -= 1
            if run is None or run == self.run:
                then(answer)

        def failed(error: EngineError) -> None:
            self._reading -= 1
            self.say_error(error)
            self._show()

        self.services.background.run(work, done, failed)

    def open_run(self, run: Path) -> None:
        """Show the evaluations of a run."""
        run = run.resolve()
        if run != self.run:
            self.run, self.read, self.evaluation, self.offers = run, None, None, Offers()
            self.choosing, self.files.chosen = False, {}
            self.notice.hide()
            self.choice.show_downloading("")
        self._show()

    def refresh(self) -> None:
        """Read the run, its evaluations and what it can be measured on again."""
        run, files = self.run, dict(self.files.chosen)
        if run is not None:
            self._ask(lambda: read_run(run), self._on_read, run)
            self._ask(lambda: offers_of(run, files), self._on_offers, run)

    def _on_runs(self, runs: list[Choice]) -> None:
        self._runs = runs
        if self.run is None and runs:
            self.open_run(Path(runs[0].target))
            self.refresh()
        self._show()

    def menu_of_runs(self) -> QMenu:
        """Return the menu of the runs that can be measured, the newest first."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for run in (self._runs or [])[:MOST_RUNS]:
            menu.addAction(
                run.label.replace("&", "&&"), lambda target=run.target: self._on_run_chosen(target)
            )
        return menu

    def _on_runs_pressed(self) -> None:
        corner = self.runs_button.mapToGlobal(QPoint(0, self.runs_button.height() + 4))
        self.menu_of_runs().popup(corner)

    def _on_run_chosen(self, target: str) -> None:
        self.open_run(Path(target))
        self.refresh()

    def _on_read(self, read: RunRead) -> None:
        assert self.run is not None
        if self.read is None:
            self.choice.show_run(self.run, read.steps)
            self.choice.show_offers(self.offers)
            self.choosing = read.newest < 0
        self.read = read
        self.results.show_steps([(step, str(folder)) for step, folder in read.steps])
        if read.going and self.measuring.of(self.run) is None:
            self.measuring.follow(self.run, read.going[0])
        if not read.has_weights:
            actions = [("Open the run", lambda: self._go("monitor"))]
            words = "It can be measured once it has saved for the first time, or has finished."
            self.notice.show_notice("info", "This run has no saved result yet", words, actions)
            self.notice.show()
        folders = [each.folder for each in read.evaluations]
        shown = self.evaluation.folder if self.evaluation is not None else None
        self._show_evaluation(folders.index(shown) if shown in folders else max(0, read.newest))
        self._show()

    def _on_offers(self, offers: Offers) -> None:
        self.offers = offers
        if self.read is not None:
            self.choice.show_offers(offers)

    # -- choosing ------------------------------------------------------------------------------------------
    def choose(self, name: str = "") -> None:
        """Show what can be measured, with one benchmark more ticked."""
        if name:
            self.choice.tick(name)
        self.choosing = True
        self._show()

    def _on_what(self) -> None:
        self.choosing = not self.choosing
        self._show()

    def _on_step_requested(self, folder: str) -> None:
        self.choice.choose_target(folder)
        self.choose(GENERAL)

    def _on_evaluation_chosen(self, place: int) -> None:
        self.notice.hide()
        self._show_evaluation(place)
        self._show()

    # -- measuring -----------------------------------------------------------------------------------------
    def start(self) -> None:
        """Start an evaluation of what is chosen in a child; it goes on without the page."""
        if self.run is None or self.read is None or self.measuring.of(self.run) is not None:
            return
        if self.choice.problem or not self.read.has_weights:
            self.choose()
            self.choice.show_problem()
            return
        self.place.find(self._begin)

    def _begin(self, environment: dict[str, str]) -> None:
        self.notice.hide()
        if self.run is None or self.measuring.of(self.run) is not None:
            return
        try:
            self.measuring.start(self.run, self.choice, self.files.chosen, environment)
            self.choosing = False
        except EngineError as error:
            self.say_error(error, [("Try again", self.start)])
        self._show()

    def _go_on(self, evaluation: Evaluation) -> None:
        self.place.find(partial(self._begin_again, evaluation))

    def _begin_again(self, evaluation: Evaluation, environment: dict[str, str]) -> None:
        self.notice.hide()
        if self.run is not None and self.measuring.of(self.run) is None:
            self.measuring.go_on(self.run, evaluation, self.offers, environment)
        self._show()

    def _on_cancel(self) -> None:
        going = self.measuring.of(self.run)
        if going is not None:
            going.stop()

    def _on_going(self, run: Path) -> None:
        if run == self.run:
            self.going_card.show_going(self.measuring.of(run))
            self._show_state()

    def _on_ended(self, run: Path, folder: Path, note: dict[str, Any]) -> None:
        good = note.get("status") == "finished"
        if run == self.run:
            self.choosing = self.choosing and not good
            self._ask(lambda: read_run(run), lambda read: self._on_measured(read, folder, note), run)
        name = next((each.label for each in self._runs or () if Path(each.target) == run), run.name)
        words = f"{name} is measured." if good else f"The evaluation of {name} did not come to its end."
        needs, cause = note.get("status") not in ("finished", "stopped"), str(note.get("message") or "")
        job_over(self.services, folder, (words, cause), needs, "evaluate", run=run)
        if run != self.run or not self.isVisible():
            see = ("See it", lambda: self.services.navigate("evaluate", {"run": run}))
            self.services.notify(words, "ok" if good else "warn", see)
        self._show()

    def _on_measured(self, read: RunRead, folder: Path, note: dict[str, Any]) -> None:
        """Show the evaluation that has just ended, or why it did not end well."""
        self.evaluation = next((each for each in read.evaluations if each.folder == folder), None)
        self._on_read(read)
        if self.evaluation is not None and note.get("status") not in ("finished", "stopped"):
            self._show_broken(self.evaluation, note)
        run, files = self.run, dict(self.files.chosen)
        if run is not None:  # its times are measured now
            self._ask(lambda: offers_of(run, files), self._on_offers, run)

    # -- looks ---------------------------------------------------------------------------------------------
    def _show_evaluation(self, place: int) -> None:
        found = self.read.evaluations if self.read is not None else ()
        self.evaluation = found[place] if found else None
        self.results.show_history(found, place)
        if self.evaluation is None:
            return
        evaluation, going = self.evaluation, self.measuring.of(self.run)
        if evaluation.results is not None:
            self._ask(lambda: items_of(evaluation), lambda items: self._on_items(evaluation, items), self.run)
        else:
            self.results.show_none(evaluation)
            if going is None or going.folder != evaluation.folder:
                self._show_broken(evaluation, process.exit_of(evaluation.folder) or {})

    def _on_items(self, evaluation: Evaluation, items: list[Item]) -> None:
        if self.evaluation is not None and evaluation.folder == self.evaluation.folder:
            self.results.show_results(evaluation, items)

    def _show_broken(self, evaluation: Evaluation, note: dict[str, Any]) -> None:
        """Say how an evaluation without results ended, and let it go on."""
        stopped, died = evaluation.state == "stopped", evaluation.state == "crashed"
        words = DIED if died else str(note.get("message") or evaluation.problem or DIED)
        words = "This evaluation was stopped" if stopped else words
        hint = KEPT if died else f"{note.get('hint') or ''} {KEPT}".strip()
        actions = [("Go on", lambda: self._go_on(evaluation)), ("Choose anew", self.choose)]
        details, code = str(note.get("words", "")), str(note.get("code", ""))
        self.notice.show_notice("info" if stopped else "bad", words, hint, actions, details, code)
        self.notice.show()

    def say_error(self, error: EngineError, actions: Sequence[tuple[str, Callable[[], object]]] = ()) -> None:
        """Show an error as a card over the page."""
        self.notice.show_error(error, actions)
        self.notice.show()

    def _show(self) -> None:
        """Show what there is: nothing, what to measure, or what was found; and what goes on."""
        nothing = self.run is None and self._runs is not None and not self._runs
        place: QWidget = self.empty if nothing else self._blank
        if self.read is not None:
            place = self.choice if self.choosing or self.evaluation is None else self.results
        self.places.setCurrentWidget(place)
        self.what_button.setText("See the results" if place is self.choice else "What to measure…")
        self.what_button.setAccessibleName(self.what_button.text())
        self.run_button.setEnabled(self.read is not None and self.read.has_weights)
        self.going_card.show_going(self.measuring.of(self.run))
        queue = self.services.run_queue
        training = [each.name for each in queue.active()] if queue is not None else []
        self.choice.show_busy(f"{training[0]} is training" if training else "")
        self._show_state()
        self.actions_changed.emit()

    def _show_state(self) -> None:
        going = self.measuring.of(self.run)
        if self.read is None:
            self.state_pill.set("")
            self.set_heading("Evaluate", "")
            return
        summary, count = self.read.summary, len(self.read.evaluations)
        if going is not None:
            self.state_pill.set(f"Measuring {100 * going.share:.0f} %", "accent")
        else:
            self.state_pill.set(state_word(summary), state_token(summary), state_icon(summary))
        told = "1 evaluation" if count == 1 else f"{number(count)} evaluations"
        parts = ("Evaluate", summary.base, told if count else "not measured yet")
        self.set_heading(summary.name, " · ".join(part for part in parts if part))

    def _on_copy(self) -> None:
        if self.evaluation is not None and self.evaluation.results is not None:
            QApplication.clipboard().setText(markdown(self.evaluation))
            self.services.notify("The scores are in the clipboard.", "info")

    def _go(self, page: str) -> None:
        if self.run is not None:
            self.navigate_requested.emit(page, {"run": self.run})
