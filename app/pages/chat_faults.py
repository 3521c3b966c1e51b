"""What goes wrong in Chat: said on the page, with what mends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QFileDialog

from app.choices import Choice
from app.i18n import tr
from engine.errors import EngineError

if TYPE_CHECKING:
    from app.pages.chat import ChatPage

NO_BASE = "MODEL-07"


class ChatFaults(QObject):
    """Shows errors in the page's notice and does what a person chooses there."""

    def __init__(self, page: ChatPage) -> None:
        super().__init__(page)
        self._page = page

    def say(self, error: EngineError, actions: Any = ()) -> None:
        """Show an error with what may be done."""
        self._page.notice.show_error(error, actions)
        self._page.notice.show()

    def take_refusal(self, key: str, error: EngineError) -> None:
        """Say why somebody could not sit in a column."""
        page = self._page
        seat = page.seats.seats[key]
        actions: list[Any] = []
        if not seat.ready and seat.choice is not None:
            choice = seat.choice
            if error.code == "GPU-01":
                actions.append((tr("Answer in turn"), lambda: page.sit(choice, key, True)))
            if error.code == NO_BASE:
                ask = (tr("Choose its base…"), lambda: self._ask_base(lambda b: self._sit_on(choice, key, b)))
                actions.append(ask)
            if key != "adapter":
                actions.append((tr("Close the column"), lambda: self._close(key)))
        self.say(error, actions)

    def _sit_on(self, choice: Choice, key: str, base: str) -> None:
        self._page.seats.sit(choice, key, base=base)

    def _close(self, key: str) -> None:
        self._page.notice.hide()
        self._page.seats.close(key)

    def take_failure(self, told: dict[str, Any]) -> None:
        """Say what the child could not do."""
        page = self._page
        if page.seats.take_failure(told):
            return
        page.talk.take_failure(told)
        page.loading = False
        error = EngineError(told["message"], told.get("hint", ""), told.get("code", "APP-01"))
        actions = [(tr("Try again"), self.try_again)]
        if told.get("code") == "GPU-01" and page.device != "cpu":
            actions.insert(0, (tr("Use the CPU"), self.use_cpu))
        if told.get("code") == NO_BASE and told.get("command") == "load":
            actions.insert(0, (tr("Choose its base…"), lambda: self._ask_base(self.load_on)))
        self.say(error, actions)
        page.show_state()

    def take_death(self, cause: str) -> None:
        """The conversation stays; the last question is asked again once the child is back."""
        page = self._page
        page.talk.break_off()
        page.seats.forget()
        page.loaded, page.loading = None, False
        page.notice.show_notice(
            "warn",
            tr("The chat process ended ({cause}).").format(cause=cause),
            tr("The conversation is kept. Try again asks the last question once more."),
            [(tr("Try again"), self.try_again)],
            page.process.last_words(),
            "CHAT-01",
        )
        page.notice.show()
        page.show_state()

    def try_again(self) -> None:
        """Ask the last question again where an answer is missing, and load what is not loaded."""
        page = self._page
        shown = [seat.key for seat in page.seats.seats.values() if not seat.column.isHidden()]
        if page.turns and any(key not in page.turns[-1].replies for key in shown):
            page.ask_later(page.turns[-1].question)
            page.talk.drop_last()
        page.go_on()

    def load_on(self, base: str) -> None:
        """Load the wanted adapter on a base that a person chose."""
        self._page.seats.seats["adapter"].base = base
        self._page.loaded = None
        self.try_again()

    def _ask_base(self, act: Callable[[str], object]) -> None:
        chosen = QFileDialog.getExistingDirectory(self._page, tr("The model folder of its base"))
        if chosen:
            self._page.notice.hide()
            act(chosen)

    def use_cpu(self) -> None:
        """Load on the CPU."""
        self._page.device, self._page.loaded = "cpu", None
        self.try_again()
