"""What Chat keeps: conversations by themselves, a question as a test or all as Markdown on request."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication, QFileDialog, QMenu, QWidget

from app.choices import choice_for
from app.i18n import tr
from app.pages.chat_keep import KeepTestCard
from app.pages.chat_parts import Turn
from app.pages.chat_saved import ConversationList, Kept, read_kept, record, run_of
from app.widgets.button import button
from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.runs import conversations
from engine.runs.conversations import Conversation
from engine.runs.tests_kept import keep_test, take_back

if TYPE_CHECKING:
    from app.pages.chat import ChatPage


class ChatKeeping(QObject):
    """The page's memory; `button` opens its menu."""

    def __init__(self, page: ChatPage) -> None:
        super().__init__(page)
        self._page = page
        self._identity, self._created = "", 0.0
        self._wanted: Kept | None = None
        self.list: ConversationList | None = None
        self.button = button(icon="more", name=tr("Conversations and copies"), on_click=self._open_menu)
        page.talk.answered.connect(self.keep)
        page.talk.keep_asked.connect(self._on_keep_asked)

    # -- conversations -------------------------------------------------------------------------------------
    def begin_anew(self) -> None:
        """Know that the next question begins another conversation."""
        self._identity = ""

    @property
    def identity(self) -> str:
        """Return the id of the conversation, an empty text before its first answer."""
        return self._identity

    def present(self) -> Conversation | None:
        """Return the conversation as it stands, None before the first answer."""
        page = self._page
        choice = page._wanted
        if choice is None or not any(turn.replies for turn in page.turns):
            return None
        if not self._identity:
            self._identity, self._created = conversations.new_id(), time.time()
        seats = [seat for seat in page.seats.seats.values() if not seat.column.isHidden()]
        system = page.settings.system_prompt
        return record(self._identity, self._created, choice, seats, page.turns, system)

    def keep(self) -> None:
        """Write the conversation, off this thread."""
        told, run = self.present(), run_of(self._page._wanted)
        if told is not None:
            self._page.services.background.run(lambda: conversations.save(told, run), None, self._say)

    def _say(self, error: EngineError) -> None:
        self._page.services.notify(f"{error.message} ({error.code})", "bad", None, error.hint)

    def open_list(self) -> None:
        """Show the kept conversations."""
        run = run_of(self._page._wanted)
        self._page.services.background.run(lambda: read_kept(run), self._show_list, self._say)

    def _show_list(self, found: list[Kept]) -> None:
        self.list = ConversationList(self.button, found)
        self.list.opened.connect(self.show)
        self.list.deleted.connect(self._on_deleted)
        self.list.destroyed.connect(self._on_list_gone)
        self.list.open()

    def _on_list_gone(self) -> None:
        self.list = None

    def show(self, kept: Kept) -> None:
        """Open a kept conversation with those it was had with, as far as they are still here."""
        page, told = self._page, kept.conversation
        self._wanted = kept
        page.typed.keeper.leave()
        target = Path(told.target)
        try:
            if told.target != "starter" and not target.exists():
                raise EngineError(
                    f"{target.name} is not there any more.", "It is shown without it.", "DISK-03"
                )
            if page._wanted is None or page._wanted.target != told.target or page.loaded is None:
                page._partner = None
                page.begin_anew()
                page._want(page.chooser.find(told.target) or choice_for(target))
                return
        except EngineError as error:
            page.faults.say(error)
        self.show_wanted()

    def show_wanted(self) -> None:
        """Show the conversation that waits for its speakers to be loaded."""
        kept, self._wanted = self._wanted, None
        if kept is None:
            return
        page, told = self._page, kept.conversation
        page.typed.keeper.leave()
        page.talk.show([])
        for speaker in told.speakers:
            known = page.seats.seats.get(speaker.name)
            if known is None and (speaker.target == "starter" or Path(speaker.target).exists()):
                page.seats.sit(choice_for(Path(speaker.target)), speaker.name, answers=False)
        page.settings.set_system_prompt(told.system)
        page.talk.show([Turn(turn.question, dict(turn.replies)) for turn in told.turns])
        page.prompts.hide()
        self._identity, self._created = told.id, told.created
        page.typed.keeper.arrive()

    def _on_deleted(self, kept: Kept) -> None:
        try:
            conversations.delete(kept.conversation.id, kept.run)
        except EngineError as error:
            self._say(error)
            return
        if kept.conversation.id == self._identity:
            self.begin_anew()
        text = tr("Conversation deleted.")
        self._page.services.notify(text, "info", (tr("Undo"), lambda: self._restore(kept)))

    def _restore(self, kept: Kept) -> None:
        try:
            conversations.restore(kept.conversation.id, kept.run)
        except EngineError as error:
            self._say(error)

    # -- menu ----------------------------------------------------------------------------------------------
    def _open_menu(self) -> None:
        menu = QMenu(self._page)
        menu.addAction(tr("Conversations…"), self.open_list)
        menu.addSeparator()
        copy = menu.addAction(tr("Copy as Markdown"), self.copy_markdown)
        save = menu.addAction(tr("Save as Markdown…"), self._save_markdown)
        for action in (copy, save):
            action.setEnabled(bool(self._page.turns))
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(self.button.mapToGlobal(self.button.rect().bottomLeft()))

    def copy_markdown(self) -> None:
        """Put the conversation into the clipboard."""
        told = self.present()
        if told is not None:
            QApplication.clipboard().setText(conversations.as_markdown(told))
            self._page.services.notify(tr("The conversation is copied as Markdown."), "ok")

    def _save_markdown(self) -> None:
        told = self.present()
        if told is None:
            return
        proposed = f"{paths.slug(told.title, 'conversation')}.md"
        chosen, _ = QFileDialog.getSaveFileName(
            self._page, tr("Save as Markdown"), proposed, "Markdown (*.md)"
        )
        if chosen:
            try:
                durable.write_file(Path(chosen), conversations.as_markdown(told))
            except OSError as error:
                self._say(from_os_error(error, chosen))

    # -- tests ---------------------------------------------------------------------------------------------
    def _on_keep_asked(self, question: str, answer: str, block: QWidget) -> None:
        run = run_of(self._page._wanted)
        place = run if run is not None else paths.home()
        name = run.name if run is not None else tr("this computer")

        def keep(expected: str | None, check: str) -> None:
            line = keep_test(place, question, expected, check)
            text = tr("Kept as a test of {name}; evaluations ask it.").format(name=name)
            undo = (tr("Undo"), lambda: self._take_back(place, line))
            self._page.services.notify(text, "ok", undo)

        anchor = getattr(block, "keep_button", block)
        self.card = KeepTestCard(anchor, question, answer, keep)
        self.card.open()

    def _take_back(self, place: Path, line: bytes) -> None:
        try:
            take_back(place, line)
        except EngineError as error:
            self._say(error)
