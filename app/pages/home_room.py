"""What Home says of a disk that runs full while a run goes on."""

from __future__ import annotations

from app.services import Services
from app.widgets.notice import Notice


class RoomNote(Notice):
    """Shown while there is too little room; `refresh` reads what was found last."""

    def __init__(self, services: Services) -> None:
        super().__init__("warn")
        self._services = services
        self._told: object = None
        self.hide()

    def refresh(self) -> None:
        """Show what is known of the room now."""
        low = self._services.room.low if self._services.room is not None else None
        if low == self._told:
            return
        self._told = low
        self.setHidden(low is None)
        if low is None:
            return
        from app.room import actions_of, words_of  # not needed for the first paint

        open_run = ("Open the run", lambda: self._services.navigate("monitor", {"run": low.run.folder}))
        actions = [*actions_of(low, self._services, self)[:2], open_run]
        self.show_notice("warn", *words_of(low), actions, code="DISK-01")
