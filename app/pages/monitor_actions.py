"""What can be done with a run now: the buttons of the top bar, and what each does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QPoint, Qt, QTimer
from PySide6.QtWidgets import QMenu, QPushButton, QWidget

from app.widgets.button import button
from app.widgets.question import ask
from engine.errors import EngineError

if TYPE_CHECKING:
    from app.pages.monitor import MonitorPage

STOP_NOW_MS = 30_000
FROM_ADAPTER = "New run from this adapter"
# text, icon, kind, the method it calls, help
BUTTONS: dict[str, tuple[str, str | None, str, str, str]] = {
    "now": (
        "Now",
        "chevron-down",
        "secondary",
        "offer_now",
        "Save, evaluate or ask it now, between two steps",
    ),
    "pause": (
        "Pause",
        None,
        "secondary",
        "pause",
        "Saves, lets go of the model and its memory, and waits (Ctrl+Shift+P)",
    ),
    "resume": ("Resume", "play", "primary", "resume", "Goes on from the last save (Ctrl+Enter)"),
    "stop": ("Stop and save", None, "secondary", "stop", "Saves and ends; it can be resumed later"),
    "cancel": ("Cancel…", None, "danger", "cancel", "Ends at once, without a save"),
    "start": ("Start", "play", "primary", "resume", "Starts as soon as its device is free (Ctrl+Enter)"),
    "begin": (
        "Start now",
        "play",
        "secondary",
        "begin",
        "On a device that is not free: both get slower, and both need its memory",
    ),
    "dequeue": ("Take out of the queue", None, "danger", "dequeue", "It stays under Runs"),
    "chat": ("Chat with it", "chat", "primary", "chat", "Base and adapter side by side"),
    "measure": ("Evaluate", "table", "secondary", "measure", "Base and adapter on the same questions"),
    "merge": (
        "Merge, export",
        "merge",
        "secondary",
        "merge",
        "One model of base and adapter, and files for other programs",
    ),
    "again": (
        "New run",
        "chevron-down",
        "secondary",
        "again",
        "Again with changes, or from this adapter: opens in the wizard",
    ),
    "folder": ("Open folder", None, "secondary", "folder", "The run's own folder"),
}
GOING = ("now", "pause", "stop", "cancel")
NOW = (
    ("Save now", "save", "It saves after this step."),
    ("Evaluate now", "evaluate", "It evaluates after this step."),
)
SHOWN = {
    "running": GOING,
    "paused": ("resume", "stop", "cancel"),
    "queued": ("begin", "dequeue"),
    "idle": ("start", "again", "folder"),
    "finished": ("chat", "measure", "merge", "again", "folder"),
    "stopped": ("resume", "again", "folder"),
    "failed": ("resume", "again", "folder"),
    "crashed": ("resume", "again", "folder"),
    "damaged": ("again", "folder"),
}


class MonitorActions(QObject):
    """Buttons by key; `asked` is what the child was asked and has not yet done."""

    def __init__(self, page: MonitorPage) -> None:
        super().__init__(page)
        self._page = page
        self._state = ""
        self.asked = ""
        self._patience = QTimer(self, singleShot=True, interval=STOP_NOW_MS)
        self._patience.timeout.connect(self._refresh)
        self.buttons: dict[str, QPushButton] = {
            key: button(text, icon, kind, on_click=getattr(self, act), tip=tip)
            for key, (text, icon, kind, act, tip) in BUTTONS.items()
        }
        for key in ("now", "again"):  # the arrow behind the word
            self.buttons[key].setLayoutDirection(Qt.LayoutDirection.RightToLeft)
        for made in self.buttons.values():
            made.setParent(page)
            made.hide()

    def widgets(self) -> list[QWidget]:
        """Return the buttons of the present state, the dangerous one last."""
        return [self.buttons[key] for key in SHOWN.get(self._state, ())]

    def show_state(self, state: str) -> None:
        """Offer what makes sense in a state."""
        if state != self._state:
            self.asked = ""
            self._patience.stop()
        self._state = state
        self._refresh()

    def press_primary(self) -> None:
        """Press the primary button, if there is one."""
        for key in SHOWN.get(self._state, ()):
            if self.buttons[key].property("kind") == "primary" and self.buttons[key].isEnabled():
                self.buttons[key].click()
                return

    def toggle_pause(self) -> None:
        """Pause, or go on."""
        if self._state == "running":
            self.pause()
        elif self._state == "paused":
            self.resume()

    def pause(self) -> None:
        """Ask the child to save, free its memory and wait."""
        self._ask("pause")

    def offer_now(self) -> None:
        """Show what can be asked of a run between two steps."""
        place = self.buttons["now"]
        self.menu_of_orders().popup(place.mapToGlobal(QPoint(0, place.height() + 4)))

    def menu_of_orders(self) -> QMenu:
        """Return the menu of what can be asked of a run between two steps."""
        menu = QMenu(self._page)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for words, command, _ in NOW:
            menu.addAction(words, lambda command=command: self.do_now(command))
        menu.addAction("Ask it now…", self._page.side.ask)
        return menu

    def do_now(self, command: str) -> None:
        """Ask the child to save or to evaluate after the step it is at."""
        if self._send(command):
            said = next(words for _, each, words in NOW if each == command)
            self._page.services.notify(said, "info")

    def ask(self, prompt: str) -> None:
        """Let the run answer a prompt as it stands."""
        self._page.side.show_asked(prompt if self._send("sample", prompt=prompt) else "")

    def begin(self) -> None:
        """Start a waiting run beside what goes on."""
        self._page.services.run_queue.start_now(self._run)

    def stop(self) -> None:
        """Ask the child to save and end; after half a minute without an answer, end it at once."""
        if self.asked == "stop" and not self._patience.isActive():
            self._page.services.run_queue.cancel(self._run)
            return
        self._patience.start()
        self._ask("stop")

    def resume(self) -> None:
        """Let the run go on; before an ended one does, it is asked whether all is as it was."""
        if self._state in ("stopped", "failed", "crashed"):
            self._page.resuming.ask()
            return
        try:
            self._page.services.run_queue.resume(self._run)
        except EngineError as error:
            self._tell(error)
            return
        if self._state == "paused":  # the model is loaded again: that may take a while
            self.asked = "resume"
            self._refresh()

    def go_on(self) -> None:
        """Let a run go on that waits for room on the disk, or for whoever paused it."""
        if self._send("resume"):
            self._page.services.notify("It tries to save again.", "info")

    def chat(self) -> None:
        """Go and talk to the adapter."""
        self._page.go("chat")

    def measure(self) -> None:
        """Go and measure base and adapter on benchmarks."""
        self._page.go("evaluate")

    def merge(self) -> None:
        """Go and merge the adapter into its base."""
        self._page.go("merge")

    def again(self) -> None:
        """Offer the ways to another run: with this one's recipe, or from its adapter."""
        place = self.buttons["again"]
        self.menu_of_new_runs().popup(place.mapToGlobal(QPoint(0, place.height() + 4)))

    def menu_of_new_runs(self) -> QMenu:
        """Return the menu of what another run can begin with."""
        menu = QMenu(self._page)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Run again with changes", self._page.run_again)
        begin = menu.addAction(FROM_ADAPTER, self._page.run_from_adapter)
        begin.setEnabled(self._page.has_adapter)
        return menu

    def folder(self) -> None:
        """Show the run's folder in the system's file browser."""
        self._page.open_folder()

    def dequeue(self) -> None:
        """Take the run out of the queue."""
        self._page.services.run_queue.cancel(self._run)

    def cancel(self) -> None:
        """End the run at once, after asking and naming what is lost."""
        watch = self._page.watch
        if watch is None:
            return
        lost = watch.history.steps_since_checkpoint()
        last = watch.step - lost
        many = "s" if lost != 1 else ""
        since = f" (step {last})" if last else ""
        words = f"{lost} step{many} since the last save{since} will be lost."
        kept = " What came before is kept: Resume goes on from it." if last else " Nothing was saved yet."
        nothing = "Everything is saved; it can be resumed later."
        text = words + kept if lost else nothing
        if ask(self._page, f"Cancel {watch.name}?", text, "Cancel the run", "Keep training"):
            self._page.services.run_queue.cancel(watch.folder)

    @property
    def _run(self) -> object:
        return self._page.watch.folder if self._page.watch is not None else ""

    def _ask(self, command: str) -> None:
        if self._send(command):
            self.asked = command
            self._refresh()

    def _send(self, command: str, **fields: str) -> bool:
        try:
            self._page.services.run_queue.send(self._run, command, **fields)
        except EngineError as error:
            self._tell(error)
            return False
        return True

    def _tell(self, error: EngineError) -> None:
        self._page.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)

    def _refresh(self) -> None:
        pausing, stopping = self.asked == "pause", self.asked == "stop"
        late = stopping and not self._patience.isActive()
        going_on = self.asked == "resume"
        self.buttons["resume"].setText("Loading…" if going_on else "Resume")
        self.buttons["resume"].setEnabled(not going_on)
        self.buttons["now"].setEnabled(not pausing and not stopping)
        self.buttons["pause"].setText("Pausing…" if pausing else "Pause")
        self.buttons["pause"].setEnabled(not pausing and not stopping)
        self.buttons["stop"].setText("Stop now" if late else "Stopping…" if stopping else "Stop and save")
        self.buttons["stop"].setEnabled(late or not stopping)
