"""One run: where it stands, its curves, its answers, its log; and what can be done with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer, QUrl
from PySide6.QtGui import QDesktopServices, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from app.pages import monitor_notice
from app.pages.monitor_actions import MonitorActions
from app.pages.monitor_charts import MonitorCharts
from app.pages.monitor_damage import MonitorDamage
from app.pages.monitor_place import MonitorPlace
from app.pages.monitor_resume import MonitorResume
from app.pages.monitor_side import MonitorSide
from app.pages.monitor_words import (
    PREPARING,
    facts,
    phases,
    resuming_words,
    show_strip,
    stage_progress,
    state_words,
    waiting_words,
)
from app.pages.page import Page, padded_column
from app.seals import lines
from app.services import Services
from app.theme.tokens import GAP
from app.widgets.card import Card
from app.widgets.empty import EmptyState
from app.widgets.label import TextLabel
from app.widgets.notice import Notice
from app.widgets.phase_view import PhaseView
from app.widgets.run_strip import RunStrip
from app.widgets.seal_view import SealRow
from app.workers.run_watch import RunWatch
from engine.errors import EngineError
from engine.paths import read_head
from engine.recipe.recipe import Recipe
from engine.runs import store
from engine.runs.check import has_adapter
from engine.runs.remarks import remarks
from engine.runs.seals import judge

DRAW_MS, TELL_MS = 100, 10
LOOK_MS = 5000


class _Place(QStackedWidget):
    """Takes the height it is given: a remark that wraps must not push the charts below out of the page."""

    def hasHeightForWidth(self) -> bool:
        return False


class MonitorPage(Page):
    """The page of a run: its own stored recipe, live, replayed or after a crash."""

    title = "Run monitor"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.watch: RunWatch | None = None
        self.recipe: Recipe | None = None
        self._visible = self._silent = False
        self.put_away: set[str] = set()  # what was read and need not be said again
        self._told: tuple[str, ...] = ()
        self.actions_bar = MonitorActions(self)
        self.place, self.resuming = MonitorPlace(self), MonitorResume(self)
        self.damage = MonitorDamage(self)
        self._build()
        self._connect()
        self._show_nothing()

    # -- building ------------------------------------------------------------------------------------------
    def _build(self) -> None:
        self._places = QStackedWidget()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self._places)
        self._board = QWidget()
        column = padded_column(self._board)
        self.notice = Notice("bad")
        self.notice.hide()
        self.strip = RunStrip()
        self.charts = MonitorCharts()
        self.side = MonitorSide()
        self.seals = SealRow()
        self.seals.chosen.connect(lambda _name: self.side.open_seals())
        self.strip.body.addWidget(self.seals)
        self.phases = PhaseView()
        self._phase_card = Card()
        self._phase_card.body.addWidget(self.phases)
        self.remark = TextLabel("", "small", wrap=True).make_selectable()
        self.remark.hide()
        self.charts.loss.body.addWidget(self.remark)
        self._loss_place = _Place()
        self._loss_place.addWidget(self.charts.loss)
        self._loss_place.addWidget(self._phase_card)
        column.addWidget(self.notice)
        column.addWidget(self.strip)
        column.addLayout(self._build_grid(), 1)
        self._places.addWidget(self._board)
        self.empty = EmptyState(
            "chart",
            "The curves, answers and log of a run stand here while it learns, and after.",
            ("New run", lambda: self.navigate_requested.emit("wizard", None)),
            ("All runs", lambda: self.navigate_requested.emit("runs", None)),
            title="No run is open",
        )
        self._places.addWidget(self.empty)

    def _build_grid(self) -> QHBoxLayout:
        """Loss over three small charts at the left; memory over answers at the right."""
        small, left, right, both = QHBoxLayout(), QVBoxLayout(), QVBoxLayout(), QHBoxLayout()
        for card in (self.charts.learning_rate, self.charts.grad_norm, self.charts.speed):
            small.addWidget(card, 1)
        left.addWidget(self._loss_place, 64)
        left.addLayout(small, 36)
        right.addWidget(self.charts.memory, 30)
        right.addWidget(self.side, 70)
        both.addLayout(left, 62)
        both.addLayout(right, 38)
        for layout in (small, left, right, both):
            layout.setSpacing(GAP)
        for card in (self._loss_place, self.side, *self.charts.cards):
            card.setMinimumSize(1, 1)
        return both

    def _connect(self) -> None:
        self._draw = QTimer(self, singleShot=True, interval=DRAW_MS)
        self._draw.timeout.connect(self.refresh)
        self._tell = QTimer(self, singleShot=True, interval=TELL_MS)
        self._tell.timeout.connect(self._show_state)
        self._look = QTimer(self, interval=LOOK_MS)
        self._look.timeout.connect(self._look_for_silence)
        self._look.start()
        self.charts.loss.chart.chosen.connect(self.side.samples.show_step)
        self.side.open_folder_requested.connect(self.open_folder)
        self.side.ask_requested.connect(self.actions_bar.ask)
        pause = QShortcut("Ctrl+Shift+P", self)
        pause.activated.connect(self.actions_bar.toggle_pause)
        if self.services.run_queue is not None:
            self.services.run_queue.run_changed.connect(self._on_run_changed)
            self.services.run_queue.queue_changed.connect(self._on_queue_changed)

    # -- the page ------------------------------------------------------------------------------------------
    def top_bar_actions(self) -> list[QWidget]:
        return self.actions_bar.widgets()

    def open_with(self, argument: dict[str, Any]) -> None:
        run = argument.get("run")
        if run is not None:
            self.open_run(Path(run))

    def shown(self) -> None:
        self._visible = True
        if self.watch is None and self.services.run_queue is not None:
            active = self.services.run_queue.active()
            if active:
                self.open_run(active[0].folder)
        self.refresh()

    def hidden_(self) -> None:
        self._visible = False

    def settled(self) -> bool:
        if self.watch is None:
            return True
        read = (
            self.watch.whole
            and not self.charts.busy
            and (self.watch.state != "")
            and not (self._draw.isActive() or self._tell.isActive())
        )
        ended = self.watch.ending is not None or not self.watch.over
        return read and ended and self.damage.reading is None

    def primary_action(self) -> None:
        self.actions_bar.press_primary()

    def find(self) -> None:
        self.side.find()

    def log_folder(self) -> Path | None:
        return self.watch.folder if self.watch is not None else None

    # -- the run -------------------------------------------------------------------------------------------
    def open_run(self, folder: Path) -> None:
        """Show a run, whatever state it is in."""
        try:
            watch: RunWatch = self.services.run_queue.attach(folder)
        except EngineError as error:
            self._show_nothing()
            self.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
            return
        if watch is not self.watch:
            self._leave()
            self.watch = watch
            watch.changed.connect(self._on_changed)
            watch.state_changed.connect(self._on_state_changed)
            watch.ended.connect(self._on_ended)
            self._read_recipe()
            self.charts.group.show_stretch(None)
            self.charts.group.point(None)
        self._places.setCurrentWidget(self._board)
        self.actions_bar.asked = ""
        self._on_state_changed(watch.state)
        self._show_state()
        if self._visible:
            self.refresh()  # else it is drawn once it is shown
        self.damage.look()

    def _leave(self) -> None:
        if self.watch is not None:
            self.watch.changed.disconnect(self._on_changed)
            self.watch.state_changed.disconnect(self._on_state_changed)
            self.watch.ended.disconnect(self._on_ended)
            self.watch = None

    def _read_recipe(self) -> None:
        assert self.watch is not None
        try:
            self.recipe = store.load_recipe(self.watch.folder)
            text = read_head(self.watch.folder / "recipe.yaml").decode("utf-8", "replace")
        except (EngineError, OSError) as error:
            told = error.message if isinstance(error, EngineError) else error.strerror
            self.recipe, text = None, f"The recipe of this run cannot be read: {told}"
        self.side.show_recipe(text)

    def _show_nothing(self) -> None:
        self._leave()
        self._places.setCurrentWidget(self.empty)
        self.state_pill.set("")
        self.set_heading("Run monitor", "")
        self.actions_changed.emit()

    def _on_run_changed(self, run: str) -> None:
        if self.watch is None or run != self.watch.id:
            return
        if self.services.run_queue.attach(self.watch.folder) is not self.watch:
            self.open_run(self.watch.folder)  # it had been put away meanwhile
        self._on_state_changed(self.watch.state)

    def _on_queue_changed(self) -> None:
        self._tell.start()
        self._on_changed()

    def _on_changed(self) -> None:
        if self._visible and not self._draw.isActive():
            self._draw.start()

    def _on_state_changed(self, state: str) -> None:
        self.actions_bar.show_state("damaged" if self.damage.told() else self.shown_state(state))
        self._tell.start()  # once for all that is heard at a moment: state, end, place in the queue
        self._on_changed()

    def _show_state(self) -> None:
        """Show the buttons of the run's state, and say what is to be said over it."""
        self.actions_changed.emit()
        self.show_notice()

    def _on_ended(self, _ending: dict[str, Any]) -> None:
        self.damage.look()
        self._tell.start()
        self._on_changed()

    def shown_state(self, state: str) -> str:
        """A run that waits in the queue is shown as waiting, also while its last attempt is over.

        One that never began and does not wait is `idle`.
        """
        queue = self.services.run_queue
        if queue is None or self.watch is None or state == "gone":
            return state
        if self.watch.folder in queue.queued():
            return "queued"
        return "idle" if state == "queued" and not queue.expects(self.watch.folder) else state

    # -- drawing -------------------------------------------------------------------------------------------
    def refresh(self) -> None:
        """Show the run as it is now."""
        watch = self.watch
        if watch is None:
            return
        history, state = watch.history, self.shown_state(watch.state)
        waits = watch.marks.waits is not None and watch.going
        pill = "waits" if waits else "damaged" if self.damage.told() else state
        word, kind, icon = state_words(pill, history)
        heading = (watch.name, facts(self.recipe, history), word)
        if heading != (self.title, self.facts, self.state_pill.text):
            self.state_pill.set(word, kind, icon)
            self.set_heading(watch.name, facts(self.recipe, history))
        show_strip(self.strip, "waits" if waits else state, history)
        ready = history.has_stepped or state not in ("running", "queued", "idle")
        self._loss_place.setCurrentIndex(0 if ready else 1)
        if not ready:
            self.phases.title.setText(PREPARING.get(state, "Getting ready"))
            self.phases.show_phases(phases(history))
            waits = waiting_words(self.services.run_queue, watch.folder) if state == "queued" else ""
            self.phases.show_progress(*((None, waits) if waits else stage_progress(history)))
        limit = self.recipe.training.max_grad_norm if self.recipe else None
        self.charts.show(history, watch.generation, limit)
        self._show_remark(limit)
        self.side.show_run(history, watch.generation)
        self.side.show_going(state == "running" and history.has_stepped)
        self.show_notice()
        judged = lines(judge(history))
        self.seals.show_seals(judged)
        self.side.show_seals(judged)
        self.setAccessibleDescription(history.text_summary())

    def _show_remark(self, limit: float | None) -> None:
        assert self.watch is not None
        found = remarks(self.watch.history, limit)
        words = resuming_words(self.watch.state, self.watch.history)
        ended = self.watch.history.finished
        words = words or (ended.reason if ended is not None else "") or (found[0].text if found else "")
        if words != self.remark.text():
            self.remark.setText(words)
            self.remark.set_token("warn" if found and found[0].kind == "warn" else "dim")
        self.remark.setHidden(not words)

    def show_notice(self) -> None:
        """Say what ended a run that did not end well, what it waits for, and what repairs it."""
        told = monitor_notice.told_of(self)
        if self._told == (looks := told.looks() if told is not None else ()):
            return
        self._told = looks
        if told is not None:
            self.notice.show_notice(told.kind, told.title, told.hint, told.actions, told.details, told.code)
        self.notice.setHidden(told is None)

    def _look_for_silence(self) -> None:
        silent = self.watch is not None and self.watch.silent_seconds > 0
        if self._visible and (silent or self._silent):
            self.show_notice()
        self._silent = silent

    def show_damage(self) -> None:
        """Say what is known by now of the run's result."""
        if self.watch is not None:
            self._on_state_changed(self.watch.state)

    def put(self, key: str) -> None:
        """Put a remark away that has been read."""
        self.put_away.add(key)
        self.show_notice()

    # -- ways to elsewhere -----------------------------------------------------------------------------------
    def open_folder(self) -> None:
        """Show the run's folder in the system's file browser."""
        if self.watch is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.watch.folder)))

    def run_again(self) -> None:
        """Go to the wizard with this run's recipe."""
        if self.watch is not None:
            self.navigate_requested.emit("wizard", {"recipe": self.watch.folder / "recipe.yaml"})

    @property
    def has_adapter(self) -> bool:
        """Return whether the run in front has an adapter that another one can begin from."""
        return self.watch is not None and has_adapter(self.watch.folder)

    def run_from_adapter(self) -> None:
        """Go to the wizard with a new run that begins from this run's adapter."""
        self.go("wizard", "adapter")

    def go(self, page: str, what: str = "run") -> None:
        """Go to another page with this run."""
        if self.watch is not None:
            self.navigate_requested.emit(page, {what: self.watch.folder})
