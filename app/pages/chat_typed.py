"""The half-typed message of Chat: kept by its conversation, or by who it is for before there is one."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject

from app import half_typed
from app.choices import Choice, choice_for
from app.half_typed import Typed
from app.i18n import tr
from app.pages.chat_saved import Kept, read_kept, run_of
from app.typed_keeper import TypedKeeper
from engine.errors import EngineError

if TYPE_CHECKING:
    from app.pages.chat import ChatPage

TO_SOMEBODY, IN_A_TALK = "chat with ", "chat in "


class ChatTyped(QObject):
    """Follows the page's message field; a question that waits for its model counts as not sent."""

    def __init__(self, page: ChatPage) -> None:
        super().__init__(page)
        self._page = page
        self.keeper = TypedKeeper(self, self._present, page.message.setPlainText)
        page.message.textChanged.connect(self.keeper.touch)

    def _present(self) -> Typed:
        page = self._page
        target = page._wanted.target if page._wanted is not None else ""
        talk = page.keeping.identity
        place = f"{IN_A_TALK}{talk}" if talk else f"{TO_SOMEBODY}{target}"
        return Typed(place, page.message.toPlainText() or page._waiting_question, target)

    # -- at the first visit --------------------------------------------------------------------------------
    def first_choice(self) -> Choice | None:
        """Return whom the newest kept message is for, None where none is kept or they are gone."""
        typed = half_typed.newest("chat ")
        if typed is None or not typed.target:
            return None
        if typed.place.startswith(IN_A_TALK):
            self._look_for_talk(typed)
        return self._page.chooser.find(typed.target)

    def _look_for_talk(self, typed: Typed) -> None:
        """Offer the conversation in which something was typed and not sent."""
        try:
            run = run_of(choice_for(Path(typed.target)))
        except EngineError:
            run = None
        identity = typed.place.removeprefix(IN_A_TALK)

        def offer(found: list[Kept]) -> None:
            for kept in found:
                if kept.conversation.id == identity:
                    self._offer(kept)

        self._page.services.background.run(partial(read_kept, run), offer, lambda _error: None)

    def _offer(self, kept: Kept) -> None:
        notice = self._page.notice
        title = tr("A message was typed and not sent in “{title}”.").format(title=kept.conversation.title)
        actions = [
            (tr("Open the conversation"), lambda: (notice.hide(), self._page.keeping.show(kept))),
            (tr("Not now"), notice.hide),
        ]
        notice.show_notice("info", title, tr("It is kept there."), actions)
        notice.show()
