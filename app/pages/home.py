"""Home: what is running, the last runs, whether this machine is ready, and ways to begin."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QModelIndex, Qt, QTimer
from PySide6.QtGui import QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from app.i18n import clock, loss
from app.pages.home_cards import DraftCard, FitsCard, ReadinessCard, StorageCard, TipCard
from app.pages.home_queue import QueueNote
from app.pages.home_room import RoomNote
from app.pages.page import Page, padded_column, scrolled
from app.seals import lines
from app.services import Services
from app.tables.runs import HOME, RunsModel, state_token, state_words
from app.theme.style import current_theme
from app.theme.tokens import GAP
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.cells import RowTable
from app.widgets.help_card import HelpCard, Paint, paint_format, paint_language, paint_style
from app.widgets.label import ElidedLabel, TextLabel, text_label
from app.widgets.loss_curve import LossCurve
from app.widgets.meter import Meter
from app.widgets.pill import Pill
from app.widgets.seal_view import SealRow
from app.widgets.spark import Sparkline
from app.widgets.way import WayDrawing
from engine.paths import resources

if TYPE_CHECKING:
    from engine.runs.store import RunSummary

MOST_RUNS = 8
FEW_RUNS = 5
REFRESH_MS = 3000
SIDE_WIDTH = 330
WIDTHS = {"name": 200, "curve": 150, "seals": 84, "best": 76, "date": 140}
LEAST_STATE = 150


class RunningCard(Card):
    """The one run that is going on: name, bar, curve, time left. Pressing it opens the run."""

    def __init__(self) -> None:
        super().__init__(emphasis=True)
        self.make_pressable("Running")
        row = QHBoxLayout()
        row.setSpacing(20)
        words = QVBoxLayout()
        words.setSpacing(7)
        head = QHBoxLayout()
        head.setSpacing(8)
        self.name = TextLabel("", "heading")
        self.state = Pill("Training", "accent")
        head.addWidget(self.name)
        head.addWidget(self.state)
        self.seals = SealRow(words=False)
        head.addWidget(self.seals)
        head.addStretch(1)
        words.addLayout(head)
        self.facts = ElidedLabel("", "small")
        words.addWidget(self.facts)
        self.bar = Meter(0.0, "accent", name="Progress")
        words.addWidget(self.bar)
        row.addLayout(words, 5)
        self.curve = Sparkline((), "accent", 200, 48)
        row.addWidget(self.curve, 2)
        right = QVBoxLayout()
        right.setSpacing(4)
        right.addStretch(1)
        self.left = TextLabel("", "number")
        self.left.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.until = TextLabel("", "least")
        self.until.setAlignment(Qt.AlignmentFlag.AlignRight)
        right.addWidget(self.left)
        right.addWidget(self.until)
        right.addStretch(1)
        row.addLayout(right)
        self.body.addLayout(row)
        self.run: RunSummary | None = None

    def show_run(self, run: RunSummary, seconds_left: float | None) -> None:
        """Show a run that is going on."""
        self.run = run
        from engine.runs.eta import spoken_eta  # not needed for the first paint

        self.name.setText(run.name)
        paused = run.state == "paused"
        self.state.set(
            "Paused" if paused else "Training", "warn" if paused else "accent", "pause" if paused else None
        )
        parts = [f"Step {run.step} of {run.total_steps}" if run.total_steps else "Preparing"]
        if run.loss is not None:
            parts.append(f"loss {loss(run.loss)}")
        if run.best_validation is not None:
            parts.append(f"best validation {loss(run.best_validation)} at {run.best_step}")
        self.facts.setText(" · ".join(parts))
        self.seals.show_seals(lines(run.seals))
        self.bar.set(run.step / run.total_steps if run.total_steps else 0.0)
        self.curve.set(run.curve)
        self.left.setText("" if paused else spoken_eta(seconds_left))
        self.until.setText(
            f"done at {clock(time.time() + seconds_left)}" if seconds_left and not paused else ""
        )
        self.setAccessibleName(f"{run.name}, {state_words(run)}, {self.facts.text()}")


class LastRuns(Card):
    """The last runs with their curves; Enter opens the one in focus."""

    def __init__(self) -> None:
        super().__init__("Last runs")
        self.away = ElidedLabel("", "small")
        self.away.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.header.addWidget(self.away, 10)
        self.model = RunsModel(HOME, self)
        self.table = RowTable("Last runs")
        self.table.setModel(self.model)
        self.table.setSelectionMode(RowTable.SelectionMode.SingleSelection)
        self.table.setEditTriggers(RowTable.EditTrigger.NoEditTriggers)
        self.table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.table.resized.connect(self._fit_columns)
        current_theme().changed.connect(self._fit_columns)
        self.body.addWidget(self.table)
        # While there are few runs the room below them shows the newest one's loss.
        self.curve_name = text_label("", "small")
        self.curve = LossCurve()
        self.body.addWidget(self.curve_name)
        self.body.addWidget(self.curve, 1)
        self.body.addStretch(0)

    def _fit_columns(self) -> None:
        """Give the state what the others leave; the date and the best value go where that is too little."""
        theme, room = current_theme(), self.table.viewport().width()
        widths = {key: theme.px(width) for key, width in WIDTHS.items()}
        for key in ("date", "best"):
            short = room - sum(widths.values()) < theme.px(LEAST_STATE)
            self.table.setColumnHidden(self.model.column(key), short)
            if short:
                del widths[key]
        for key, width in widths.items():
            self.table.setColumnWidth(self.model.column(key), width)
        self.table.setColumnWidth(self.model.column("state"), max(theme.px(60), room - sum(widths.values())))

    def show_runs(self, runs: list[RunSummary]) -> None:
        """Show the newest runs, as many as Home has room for."""
        self.model.show_runs(runs[:MOST_RUNS])
        self.table.setFixedHeight(self.table.height_for(len(self.model.runs)))
        newest = next((run for run in runs if run.curve), None)
        roomy = newest is not None and len(self.model.runs) <= FEW_RUNS
        self.curve_name.setVisible(roomy)
        self.curve.setVisible(roomy)
        if roomy and newest is not None:
            self.curve_name.setText(f"Loss of {newest.name}")
            self.curve.show_curve(newest.curve, newest.step, state_token(newest))

    def show_away(self, runs: list[RunSummary], since: float) -> None:
        """Say what finished while the window was closed."""
        from engine.jobs.process import exit_of

        for run in runs:
            end = exit_of(run.folder) or {}
            ended = end.get("time")
            if since and isinstance(ended, int | float) and ended > since and run.state == "finished":
                best = f", best {loss(run.best_validation)}" if run.best_validation is not None else ""
                self.away.setText(f"While you were away: {run.name} finished {clock(ended)}{best}")
                return
        self.away.setText("")


class FirstSteps(Card):
    """What Home shows before the first run: the way, and the example as the thing to do."""

    def __init__(self, page: Page) -> None:
        super().__init__()
        column = self.body
        column.setSpacing(14)
        column.addStretch(1)
        centre = Qt.AlignmentFlag.AlignHCenter
        heading = text_label("Teach a language model something of your own", "title", wrap=True)
        heading.setAlignment(centre)
        column.addWidget(heading)
        self.way = WayDrawing()
        self.way.station_pressed.connect(self._on_station_pressed)
        column.addSpacing(6)
        column.addWidget(self.way, 0, centre)
        sentence = text_label(
            "Your runs will be here. The example runs on the small starter model, in about 5 minutes.",
            "dim",
            wrap=True,
        )
        sentence.setAlignment(centre)
        column.addWidget(sentence)
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addStretch(1)
        self.example = button("Try the example", "play", "primary", on_click=lambda: _try_example(page))
        row.addWidget(self.example)
        row.addWidget(
            button("New run", "plus", on_click=lambda: page.navigate_requested.emit("wizard", None))
        )
        row.addStretch(1)
        column.addLayout(row)
        column.addStretch(1)
        self._page = page

    def _on_station_pressed(self, station: str) -> None:
        goals: dict[str, tuple[str, Any]] = {
            "model": ("wizard", {"step": "model"}),
            "data": ("wizard", {"step": "data"}),
            "run": ("runs", None),
            "chat": ("chat", None),
        }
        self._page.navigate_requested.emit(*goals[station])


def _try_example(page: Page) -> None:
    page.navigate_requested.emit("wizard", {"example": True})


class HomePage(Page):
    """The page the window opens with."""

    title = "Home"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._loaded = self._asking = False
        self._actions: list[QWidget] = []
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self.refresh)

    def _build(self) -> None:
        inner = QWidget()
        column = padded_column(inner)
        self._columns = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._columns.setSpacing(GAP)
        left = QVBoxLayout()
        left.setSpacing(GAP)
        self.running = RunningCard()
        self.running.hide()
        self.running.pressed.connect(lambda: self._open_run(self.running.run))
        self.last_runs = LastRuns()
        self.last_runs.hide()
        self.last_runs.table.activated.connect(self._on_run_activated)
        self.last_runs.table.clicked.connect(self._on_run_activated)
        self.first_steps = FirstSteps(self)
        self.draft = DraftCard(self.services)
        self.queue = QueueNote(self.services)
        self.room = RoomNote(self.services)
        for widget in (self.room, self.running, self.queue, self.draft):
            left.addWidget(widget)
        left.addWidget(self.last_runs, 3)
        left.addWidget(self.first_steps, 3)
        left.addLayout(self._help_cards(), 2)
        self._columns.addLayout(left, 1)
        self._columns.addWidget(self._side_column())
        column.addLayout(self._columns)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner))

    def _help_cards(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(GAP)
        manual = resources("examples", "manual", "pump-manual.md")
        cards: tuple[tuple[str, str, Paint, dict[str, object]], ...] = (
            (
                "Answer in a format",
                "Messages in, JSON out. A few minutes here.",
                paint_format,
                {"example": "support"},
            ),
            ("Teach a style", "Your own texts, letters, posts.", paint_style, {"example": "formal"}),
            (
                "A field's language",
                "Books, manuals, Markdown: continued pretraining.",
                paint_language,
                {"data": manual, "example": "text"},
            ),
        )
        for place, (title, sentence, paint, example) in enumerate(cards):
            card = HelpCard(title, sentence, paint)
            goal = {**example, "step": "data"}
            card.pressed.connect(lambda goal=goal: self.navigate_requested.emit("wizard", goal))
            grid.addWidget(card, 0, place)
            grid.setColumnStretch(place, 1)
        return grid

    def _side_column(self) -> QWidget:
        side = QWidget()
        side.setFixedWidth(current_theme().px(SIDE_WIDTH))
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(GAP)
        self.readiness = ReadinessCard(self.services)
        self.fits = FitsCard(self.services)
        self.storage = StorageCard(self.services)
        self.tip = TipCard(self.services)
        for card in (self.readiness, self.fits, self.storage, self.tip):
            column.addWidget(card)
        column.addStretch(1)
        self._side = side
        return side

    def top_bar_actions(self) -> list[QWidget]:
        to, window_open = self.navigate_requested.emit, getattr(self.window(), "open_anything", None)
        self._actions = self._actions or [
            button("Import…", "download", on_click=window_open, tip="Ctrl+O"),
            button("Open a run", "folder", on_click=lambda: to("runs", None)),
            button("New run", "plus", "primary", on_click=lambda: to("wizard", None), tip="Ctrl+N"),
        ]
        return list(self._actions)

    def shown(self) -> None:
        self._timer.start()
        # After the paint that is due: reading folders would take the processor from it.
        QTimer.singleShot(0 if self._loaded else 90, self, self._refresh_all)

    def _refresh_all(self) -> None:
        if not self._loaded:
            for card in (self.readiness, self.storage, self.fits):
                card.refresh()
        self.draft.refresh()
        self.refresh()

    def hidden_(self) -> None:
        self._timer.stop()

    def settled(self) -> bool:
        return self._loaded

    def refresh(self) -> None:
        """Read the runs again, in the background."""
        if not self._asking:
            self._asking = True
            self.services.background.run(_list_runs, self._on_runs_listed, self._on_failed)

    def _on_failed(self, error: Any) -> None:
        self._asking, self._loaded = False, True
        self.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)

    def _on_runs_listed(self, runs: list[RunSummary]) -> None:
        first, self._asking, self._loaded = not self._loaded, False, True
        self.first_steps.setVisible(not runs)
        self.last_runs.setVisible(bool(runs))
        self.last_runs.show_runs(runs)
        if first:
            self.last_runs.show_away(runs, self.services.settings.value.last_seen)
        self.queue.refresh()
        self.room.refresh()
        going = [run for run in runs if run.state in ("running", "paused")]
        self.running.setVisible(bool(going))
        if going:
            self.running.show_run(going[0], self._seconds_left(going[0].folder))

    def _seconds_left(self, folder: Path) -> float | None:
        queue = self.services.run_queue
        for run in queue.active() if queue is not None else []:
            if Path(run.folder) == folder:
                left: float | None = run.seconds_left
                return left
        return None

    def _on_run_activated(self, index: QModelIndex) -> None:
        self._open_run(self.last_runs.model.run_at(index.row()))

    def _open_run(self, run: RunSummary | None) -> None:
        if run is not None:
            self.navigate_requested.emit("monitor", {"run": run.folder})

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self.running.hasFocus():
            self._open_run(self.running.run)
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        narrow = self.width() < current_theme().px(900)
        direction = QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight
        if self._columns.direction() != direction:
            self._columns.setDirection(direction)
            self._side.setFixedWidth(16777215 if narrow else current_theme().px(SIDE_WIDTH))


def _list_runs() -> list[RunSummary]:
    # Imported in the background: the first paint does not wait for the store.
    from engine.runs.store import list_runs

    return list_runs()
