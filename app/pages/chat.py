"""Chat: base, adapter and others answer the same message side by side, from as few models as they need."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from app.choices import PLAIN_PROMPTS, Choice, choice_for, read_prompts, stamp_of
from app.i18n import tr
from app.pages.chat_chooser import ChatChooser
from app.pages.chat_device import Place
from app.pages.chat_faults import ChatFaults
from app.pages.chat_keeping import ChatKeeping
from app.pages.chat_message import MessageField
from app.pages.chat_parts import PromptChips, Turn, in_a_row, nobody_yet, state_words
from app.pages.chat_saved import run_of
from app.pages.chat_seats import ChatSeats
from app.pages.chat_settings import ChatSettings
from app.pages.chat_talk import Talk
from app.pages.chat_typed import ChatTyped
from app.pages.page import Page, padded_column
from app.partners import with_base
from app.services import Services
from app.theme.style import current_theme
from app.theme.tokens import GAP, PAGE_PADDING
from app.widgets.button import button
from app.widgets.notice import Notice
from app.workers.chat_process import ChatProcess
from engine.errors import EngineError
from engine.models.library import add_adapter

STARTER = Choice("starter", "starter", "starter", False)
LEAST_COLUMN = 215  # narrower than this the settings give their room to the columns


class ChatPage(Page):
    """Columns, a message field, sampling, and the child that answers."""

    title = "Chat"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.process: ChatProcess = services.chat or ChatProcess(services.background)
        services.chat = self.process
        self._partner: tuple[str, float] | None = None
        self.loaded: dict[str, Any] | None = None
        self.loading = False
        self._waiting_question = ""
        self.device = "auto"
        self._settings_wanted: bool | None = None
        self._build()
        self._connect()
        self.show_state()

    # -- making --------------------------------------------------------------------------------------------
    def _build(self) -> None:
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        upper = QWidget()
        column = padded_column(upper)
        self.notice = Notice()
        self.notice.hide()
        column.addWidget(self.notice)
        self.place = Place(self.services, self.notice, self)
        row = QHBoxLayout()
        row.setSpacing(GAP)
        self.settings = ChatSettings()
        row.addWidget(self.settings)
        self.seats = ChatSeats(self.services, self.process, row, self)
        self.talk = Talk(self.process, self.seats, self.settings)
        column.addLayout(row, 1)
        self.prompts = PromptChips()
        column.addWidget(self.prompts)
        self.upper, self.footer = upper, self._build_footer()
        self.empty = nobody_yet(
            lambda: self.navigate_requested.emit("wizard", {"example": True}), lambda: self._want(STARTER)
        )
        outer.addWidget(self.empty, 1)
        outer.addWidget(upper, 1)
        outer.addWidget(self.footer)
        self._build_actions()

    def _build_actions(self) -> None:
        self.chooser = ChatChooser(self.services, self)
        self.add_button = button(
            tr("Column"), "plus", on_click=lambda: self._offer(""), tip=tr("One more who answers")
        )
        self.keeping, self.faults, self.typed = ChatKeeping(self), ChatFaults(self), ChatTyped(self)
        self.settings_button = button(
            icon="sliders",
            name=tr("Sampling and system prompt"),
            on_click=lambda: self._show_settings(self.settings.isHidden()),
        )
        self.clear_button = button(tr("Clear"), on_click=self.clear, tip=tr("Begin a new conversation"))
        self._actions = in_a_row(
            self.chooser.target, self.add_button, self.keeping.button, self.settings_button, self.clear_button
        )

    def _build_footer(self) -> QFrame:
        footer = QFrame()
        footer.setObjectName("footer")
        row = QHBoxLayout(footer)
        row.setContentsMargins(PAGE_PADDING, 12, PAGE_PADDING, 12)
        row.setSpacing(10)
        self.message = MessageField()
        self.send_button = button(tr("Send to both"), "send", "primary", on_click=self.send)
        self.again_button = button(
            icon="refresh",
            name=tr("Answer again"),
            tip=tr("Answer again (Ctrl+R)"),
            on_click=self.answer_again,
        )
        self.stop_button = button(tr("Stop"), "stop", on_click=self.stop, tip=tr("Stop generating (Esc)"))
        self.stop_button.hide()
        row.addWidget(self.message, 1)
        for each in (self.again_button, self.stop_button, self.send_button):
            row.addWidget(each)
        return footer

    def _connect(self) -> None:
        self.chooser.chosen.connect(self._want)
        self.chooser.seated.connect(self.sit)
        self.chooser.known.connect(self._on_known)
        self.chooser.unread.connect(self.faults.say)
        self.message.sent.connect(self.send)
        self.message.last_asked_for.connect(self._on_edit_last)
        self.prompts.chosen.connect(self._on_prompt_pressed)
        self.settings.template_chosen.connect(lambda name: self.process.order("template", template=name))
        self.settings.reading_asked.connect(self._ask_reading)
        process, talk, seats = self.process, self.talk, self.seats
        process.loading.connect(self.show_state)
        process.loaded.connect(self._on_loaded)
        process.token_arrived.connect(talk.take_token)
        process.answered.connect(talk.take_answer)
        process.replied.connect(self._on_replied)
        process.failed.connect(self.faults.take_failure)
        process.died.connect(self.faults.take_death)
        talk.changed.connect(self.show_state)
        seats.changed.connect(self.show_state)
        seats.refused.connect(self.faults.take_refusal)
        seats.saved.connect(self._on_saved)
        self.place.freed.connect(self._load)
        self.place.changed.connect(self.show_state)
        self.place.cpu_chosen.connect(self.faults.use_cpu)
        seats.choice_asked.connect(self._offer)
        for keys, act in ((Qt.Key.Key_Escape, self.stop), ("Ctrl+R", self.answer_again)):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)

    # -- what the window asks ------------------------------------------------------------------------------
    @property
    def _wanted(self) -> Choice | None:
        return self.chooser.wanted

    @property
    def turns(self) -> list[Turn]:
        """Return the questions so far with their replies."""
        return self.talk.turns

    def top_bar_actions(self) -> list[QWidget]:
        return [self._actions]

    def open_with(self, argument: dict[str, Any]) -> None:
        for name in ("run", "adapter", "model"):
            if argument.get(name):
                try:
                    self._want(choice_for(Path(argument[name])))
                except EngineError as error:
                    self.faults.say(error)
                return

    def shown(self) -> None:
        self.chooser.read()
        self.message.setFocus()

    def finish(self) -> None:
        self.typed.keeper.finish()

    def settled(self) -> bool:
        return not (self.loading or self.chooser.reading or self.talk.busy or self.seats.waiting)

    def primary_action(self) -> None:
        self.send()

    def handle_drop(self, path: Path) -> bool:
        if (path / "adapter_config.json").is_file():
            self.services.background.run(lambda: add_adapter(path), None, self.faults.say)
            self.open_with({"adapter": path})
            return True
        return False

    # -- choosing ------------------------------------------------------------------------------------------
    def _on_known(self) -> None:
        if self._wanted is None and self.chooser.choices:
            self.chooser.want(self.typed.first_choice() or self.chooser.choices[0])
            self._show_wanted()
        self.show_state()

    def _want(self, choice: Choice) -> None:
        """Take another partner: the conversation so far was with somebody else."""
        self.place.give_up()
        partner = (choice.target, stamp_of(choice))
        if partner == self._partner and (self.loaded is not None or self.loading):
            return
        if self._partner is not None:
            self.begin_anew()
        self._partner = partner
        self.chooser.want(choice)
        self._show_wanted()
        self._load()

    def _show_wanted(self) -> None:
        assert self._wanted is not None
        self.loaded = None
        self.seats.begin(self._wanted)
        target, of_run = self._wanted.target, run_of(self._wanted) is not None

        def show(prompts: list[str]) -> None:
            self.prompts.show_prompts(prompts, of_run and prompts != list(PLAIN_PROMPTS))

        self.services.background.run(lambda: read_prompts(target), show)
        self.typed.keeper.arrive()
        self.show_state()

    def _on_prompt_pressed(self, prompt: str) -> None:
        self.message.setPlainText(prompt)
        self.send()

    def _offer(self, key: str) -> None:
        """Show who could sit in a column, a new one without a key."""
        anchor = self.seats.columns[key].choose_button if key else self.add_button
        base = str(Path(self.loaded["base_path"]).resolve()) if self.loaded else ""
        self.chooser.offer(anchor, base, key)

    def sit(self, choice: Choice, key: str = "", in_turn: bool = False) -> None:
        """Let somebody answer in a column, a new one without a key."""
        self.notice.hide()
        self.seats.sit(choice, key, in_turn=in_turn)

    # -- loading -------------------------------------------------------------------------------------------
    def _load(self) -> None:
        if self._wanted is None:
            return
        if self.place.refuses(self._wanted, self.device):
            return
        self.loaded, self.loading = None, True
        self.notice.hide()
        self.seats.device = device = self.place.device_of(self._wanted, self.device)
        adapter = self.seats.seats["adapter"]
        self.process.load(self._wanted.target, device, adapter.strength, adapter.base)
        self.show_state()

    def _on_loaded(self, told: dict[str, Any]) -> None:
        self.loaded, self.loading = told, False
        self.seats.take_loaded(told)
        self.seats.rejoin()
        self.settings.show_trained_prompt(told.get("system_prompt"), known=bool(told.get("run")))
        self.settings.show_proposed(told["sampling"])
        self.settings.show_template(told["template"], told["template_guessed"])
        self.set_heading(facts=f"{told['dtype']} · {told['device']}")
        self.keeping.show_wanted()
        self.show_state()
        self.go_on()

    # -- speaking ------------------------------------------------------------------------------------------
    def send(self) -> None:
        """Send what is in the field to all; loads the model first where that was not done yet."""
        question = self.message.toPlainText().strip()
        if not question or self.talk.open or self._waiting_question or self.settings.read() is None:
            return
        self.message.clear()
        if self.message.take_edited():
            self.talk.drop_last()
        if self.loaded is None:
            self.ask_later(question)
            if not self.loading:
                self._load()
            self.show_state()
            return
        self._ask(question)

    def _ask(self, question: str) -> None:
        sampling = self.settings.read()
        if sampling is None:
            self.message.setPlainText(question)
            return
        self.notice.hide()
        self.prompts.hide()
        self.talk.ask(question, sampling)
        self.typed.keeper.touch()

    def stop(self) -> None:
        """End what is being said."""
        self.talk.stop()

    def answer_again(self) -> None:
        """Ask the last question once more."""
        if self.turns and not self.talk.open:
            question = self.turns[-1].question
            self.talk.drop_last()
            self.message.setPlainText(question)
            self.send()

    def _on_edit_last(self) -> None:
        if self.turns and not self.talk.open:
            self.message.edit(self.turns[-1].question)

    def clear(self) -> None:
        """Begin a new conversation; what is typed goes along."""
        self.begin_anew()
        self.typed.keeper.arrive()

    def begin_anew(self) -> None:
        """Put the conversation away."""
        self.talk.clear()
        self.keeping.begin_anew()
        self._waiting_question = ""
        self.prompts.show()
        self.notice.hide()
        self.show_state()

    def ask_later(self, question: str) -> None:
        """Ask a question once there is somebody to answer it."""
        self._waiting_question = question
        self.typed.keeper.touch()

    def go_on(self) -> None:
        """Load what is wanted, or ask what waits."""
        if self.loaded is None:
            self._load()
        elif self._waiting_question:
            question, self._waiting_question = self._waiting_question, ""
            self._ask(question)

    def _ask_reading(self) -> None:
        """Ask how the conversation is written for the model, with a question where there is none yet."""
        if self.loaded is not None:
            turns = self.turns or [Turn(tr("your message"))]
            who = "adapter" if self.loaded["adapter"] else "base"
            self.process.order("render", who=who, messages=self.talk.messages(who, turns))

    # -- what the child says -------------------------------------------------------------------------------
    def _on_replied(self, told: dict[str, Any]) -> None:
        if told["type"] == "chances":
            self.talk.take_chances(told)
        elif told["type"] == "rendered":
            self.settings.show_reading(told["text"])
        else:
            self.seats.take_reply(told)

    def _on_saved(self, path: str) -> None:
        choice = with_base(choice_for(Path(path)))
        text = tr("Saved as {name}.").format(name=Path(path).name)
        self.services.notify(text, "ok", (tr("Chat with it"), lambda: self.sit(choice)), path)
        self.chooser.read()

    # -- looks ---------------------------------------------------------------------------------------------
    def _show_settings(self, shown: bool) -> None:
        self._settings_wanted = shown
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """Let the columns have the settings' room where all would be too narrow."""
        columns = len([c for c in self.seats.columns.values() if not c.isHidden()])
        theme = current_theme()
        room = self.width() - 2 * PAGE_PADDING - self.settings.width() - columns * GAP
        roomy = room >= columns * theme.px(LEAST_COLUMN)
        self.settings.setVisible(roomy if self._settings_wanted is None else self._settings_wanted)

    def show_state(self) -> None:
        """Draw what has changed: buttons, pill, columns."""
        busy = bool(self.talk.open)
        nobody = self._wanted is None and not self.chooser.reading
        self.empty.setVisible(nobody)
        acts = (self.add_button, self.keeping.button, self.settings_button, self.clear_button)
        for part in (self.upper, self.footer, self.chooser.target, *acts):
            part.setHidden(nobody)
        shown = [seat for seat in self.seats.seats.values() if not seat.column.isHidden()]
        self.send_button.setText({1: tr("Send"), 2: tr("Send to both")}.get(len(shown), tr("Send to all")))
        self.send_button.setVisible(not busy)
        self.again_button.setVisible(bool(self.turns) and not busy)
        self.stop_button.setVisible(busy)
        self.add_button.setEnabled(self.loaded is not None and len(shown) < 4)
        loaded, waiting = self.loaded is not None, self.place.waiting
        words = state_words(nobody, self.loading, waiting, busy, loaded, len(shown), self.seats.models)
        self.state_pill.set(*words)
        self._fit()
        self.heading_changed.emit()
