"""What Home says of the queue: what waits, and why nothing starts where it is on hold."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QHBoxLayout

from app.services import Services
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import ElidedLabel
from app.widgets.mark import Mark
from engine.errors import EngineError

NAMED = 3


class QueueNote(Card):
    """One line, shown while something waits or the queue is on hold."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services = services
        row = QHBoxLayout()
        row.setSpacing(12)
        self._mark = Mark("clock", "dim")
        self.words = ElidedLabel("", "body")
        self.release_button = button("Let it go on", "play", "primary", compact=True, on_click=self._release)
        self.open_button = button(
            "See the queue", compact=True, on_click=lambda: services.navigate("runs", None)
        )
        row.addWidget(self._mark)
        row.addWidget(self.words, 1)
        row.addWidget(self.release_button)
        row.addWidget(self.open_button)
        self.body.addLayout(row)
        self.hide()

    def refresh(self) -> None:
        """Show the queue as it is."""
        queue = self._services.run_queue
        waiting = queue.queued() if queue is not None else []
        held = queue.held if queue is not None else ""
        self.setHidden(not (waiting or held))
        if not waiting and not held:
            return
        words = names(waiting)
        if held:
            words = f"The queue is on hold: {held}" + (f" Waiting: {words}" if words else "")
        else:
            words = f"Then: {words}" if queue.active() else f"Waiting: {words}"
        self.words.setText(words)
        self._mark.set("triangle" if held else "clock", "warn" if held else "dim")
        self.release_button.setVisible(bool(held))
        self.setAccessibleName(words)

    def _release(self) -> None:
        try:
            self._services.run_queue.release()
        except EngineError as error:
            self._services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)
        self.refresh()


def names(waiting: list[Path]) -> str:
    """Return the first waiting runs by name, and how many more there are."""
    from engine.runs.advance import name_of  # not needed for the first paint

    told = ", ".join(name_of(folder) for folder in waiting[:NAMED])
    more = len(waiting) - NAMED
    return f"{told} and {more} more" if more > 0 else told
