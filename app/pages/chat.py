"""Chat: the base and your adapter answer the same message side by side, from one loaded model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from app.choices import Choice, choice_for, read_choices, read_prompts, stamp_of
from app.i18n import tr
from app.pages.chat_message import MessageField
from app.pages.chat_parts import PromptChips, Turn, in_a_row, messages_for, nobody_yet, state_words
from app.pages.chat_settings import ChatSettings
from app.pages.page import Page, padded_column
from app.services import Services
from app.theme.style import current_theme
from app.theme.tokens import GAP, PAGE_PADDING
from app.widgets.button import button
from app.widgets.chat_view import AnswerBlock, ChatColumn
from app.widgets.notice import Notice
from app.workers.chat_process import ChatProcess
from engine.errors import EngineError

SPEAKERS = ("base", "adapter")
STARTER = Choice("starter", "starter", "starter", False)


class ChatPage(Page):
    """Two columns, a message field, sampling, and the child that answers."""

    title = "Chat"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.turns: list[Turn] = []
        self.process: ChatProcess = services.chat or ChatProcess(services.background)
        services.chat = self.process
        self._choices: list[Choice] = []
        self._wanted: Choice | None = None
        self._partner: tuple[str, float] | None = None
        self._loaded: dict[str, Any] | None = None
        self._loading = False
        self._reading = False
        self._open: dict[str, tuple[str, AnswerBlock]] = {}
        self._waiting_question = ""
        self._device = "auto"
        self._build()
        self._connect()
        self._show_state()

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
        row = QHBoxLayout()
        row.setSpacing(GAP)
        self.columns = {"base": ChatColumn("dim"), "adapter": ChatColumn("accent")}
        for who in SPEAKERS:
            row.addWidget(self.columns[who], 1)
        self.settings = ChatSettings()
        row.addWidget(self.settings)
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
        self.target = QComboBox()
        self.target.setMinimumWidth(current_theme().px(250))
        self.target.setAccessibleName(tr("What to chat with"))
        self.clear_button = button(tr("Clear"), on_click=self.clear, tip=tr("Begin a new conversation"))
        self._actions = in_a_row(self.target, self.clear_button)

    def _build_footer(self) -> QFrame:
        footer = QFrame()
        footer.setObjectName("footer")
        row = QHBoxLayout(footer)
        row.setContentsMargins(PAGE_PADDING, 12, PAGE_PADDING, 12)
        row.setSpacing(10)
        self.message = MessageField()
        self.send_button = button(tr("Send to both"), "send", "primary", on_click=self.send)
        self.stop_button = button(tr("Stop"), "stop", on_click=self.stop, tip=tr("Stop generating (Esc)"))
        self.stop_button.hide()
        row.addWidget(self.message, 1)
        row.addWidget(self.stop_button)
        row.addWidget(self.send_button)
        return footer

    def _connect(self) -> None:
        self.target.activated.connect(self._on_target_chosen)
        self.message.sent.connect(self.send)
        self.prompts.chosen.connect(self._on_prompt_pressed)
        self.message.last_asked_for.connect(self._on_edit_last)
        self.process.loading.connect(self._show_state)
        self.process.loaded.connect(self._on_loaded)
        self.process.token_arrived.connect(self._on_token)
        self.process.answered.connect(self._on_answered)
        self.process.failed.connect(self._on_failed)
        self.process.died.connect(self._on_died)
        for keys, act in ((Qt.Key.Key_Escape, self.stop), ("Ctrl+R", self.answer_again)):
            shortcut = QShortcut(QKeySequence(keys), self)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)

    # -- what the window asks ------------------------------------------------------------------------------
    def top_bar_actions(self) -> list[QWidget]:
        return [self._actions]

    def open_with(self, argument: dict[str, Any]) -> None:
        for name in ("run", "adapter", "model"):
            if argument.get(name):
                try:
                    self._want(choice_for(Path(argument[name])))
                except EngineError as error:
                    self._say_error(error)
                return

    def shown(self) -> None:
        self._reading = True
        self.services.background.run(read_choices, self._on_choices, self._on_choices_failed)
        self.message.setFocus()

    def settled(self) -> bool:
        return not (self._loading or self._reading or self._open)

    def primary_action(self) -> None:
        self.send()

    def handle_drop(self, path: Path) -> bool:
        if (path / "adapter_config.json").is_file():
            self.open_with({"adapter": path})
            return True
        return False

    # -- choosing ------------------------------------------------------------------------------------------
    def _on_choices(self, choices: list[Choice]) -> None:
        self._reading = False
        self._choices = choices
        if self._wanted is not None and all(c.target != self._wanted.target for c in choices):
            self._choices = [self._wanted, *choices]
        self._fill_target()
        if self._wanted is None and self._choices:
            self._wanted = self._choices[0]
            self._show_wanted()
        self._show_state()

    def _on_choices_failed(self, error: EngineError) -> None:
        self._reading = False
        self._say_error(error)

    def _say_error(self, error: EngineError) -> None:
        self.notice.show_error(error)
        self.notice.show()

    def _fill_target(self) -> None:
        self.target.clear()
        for choice in self._choices:
            self.target.addItem(f"{choice.label} · {choice.base}" if choice.has_adapter else choice.label)
        if self._wanted is not None:
            targets = [choice.target for choice in self._choices]
            self.target.setCurrentIndex(targets.index(self._wanted.target))

    def _on_target_chosen(self, index: int) -> None:
        if 0 <= index < len(self._choices):
            self._want(self._choices[index])

    def _want(self, choice: Choice) -> None:
        """Take another partner: the conversation so far was with somebody else."""
        partner = (choice.target, stamp_of(choice))
        if partner == self._partner and (self._loaded is not None or self._loading):
            return
        if self._partner is not None:
            self.clear()
        self._partner, self._wanted = partner, choice
        if all(known.target != choice.target for known in self._choices):
            self._choices = [choice, *self._choices]
        self._fill_target()
        self._show_wanted()
        self._load()

    def _show_wanted(self) -> None:
        assert self._wanted is not None
        choice = self._wanted
        self.columns["base"].show_speaker(
            f"{tr('Base')} · {choice.base}" if choice.has_adapter else choice.label
        )
        self.columns["adapter"].show_speaker(choice.label)
        self.columns["adapter"].setVisible(choice.has_adapter)
        self.columns["base"].show_hint(tr("The base, without the adapter, answers here."))
        self.columns["adapter"].show_hint(tr("The same message, answered with your adapter."))
        if not choice.has_adapter:
            self.columns["base"].show_hint(tr("This model answers alone: it has no adapter beside it."))
        self.send_button.setText(tr("Send to both") if choice.has_adapter else tr("Send"))
        target = choice.target
        self.services.background.run(lambda: read_prompts(target), self.prompts.show_prompts)
        self._show_state()

    def _on_prompt_pressed(self, prompt: str) -> None:
        self.message.setPlainText(prompt)
        self.send()

    # -- loading -------------------------------------------------------------------------------------------
    def _load(self) -> None:
        if self._wanted is None:
            return
        self._loaded, self._loading = None, True
        self.notice.hide()
        self.process.load(self._wanted.target, self._device)
        self._show_state()

    def _on_loaded(self, told: dict[str, Any]) -> None:
        self._loaded, self._loading = told, False
        self.columns["base"].show_speaker(
            f"{tr('Base')} · {told['base']}" if told["adapter"] else told["name"]
        )
        if told["adapter"]:
            step = f" · {tr('step')} {told['step']}" if told.get("step") else ""
            self.columns["adapter"].show_speaker(f"{told['name']}{step}")
        self.settings.show_trained_prompt(told.get("system_prompt"), known=bool(told.get("run")))
        self.set_heading(facts=f"{told['dtype']} · {told['device']}")
        self._show_state()
        if self._waiting_question:
            question, self._waiting_question = self._waiting_question, ""
            self._ask(question)

    # -- speaking ------------------------------------------------------------------------------------------
    def send(self) -> None:
        """Send what is in the field to both; loads the model first where that was not done yet."""
        question = self.message.toPlainText().strip()
        if not question or self._open or self._waiting_question:
            return
        if self.settings.read() is None:
            return
        self.message.clear()
        if self.message.take_edited():
            self._drop_last()
        if self._loaded is None:
            self._waiting_question = question
            if not self._loading:
                self._load()
            self._show_state()
            return
        self._ask(question)

    def _ask(self, question: str) -> None:
        sampling = self.settings.read()
        if sampling is None:
            self.message.setPlainText(question)
            return
        self.notice.hide()
        turn = Turn(question)
        self.turns.append(turn)
        self.prompts.hide()
        # The adapter's answer is short as a rule: both columns have something to read soonest this way round.
        for who in ("adapter", "base") if self._has_adapter else ("base",):
            block = self.columns[who].ask(question)
            identity = self.process.generate(who, self._messages(who), sampling)
            self._open[identity] = (who, block)
        self._show_state()

    def _messages(self, who: str) -> list[dict[str, str]]:
        return messages_for(self.turns, who, self.settings.system_prompt)

    @property
    def _has_adapter(self) -> bool:
        return bool(self._loaded and self._loaded["adapter"])

    def _on_token(self, told: dict[str, Any]) -> None:
        known = self._open.get(str(told.get("id")))
        if known is None:
            return
        who, block = known
        block.say(told["text"])
        seconds = float(told["seconds"])
        self.columns[who].show_figures(told["tokens"], told["tokens"] / seconds if seconds > 0.2 else None)

    def _on_answered(self, told: dict[str, Any]) -> None:
        known = self._open.pop(str(told.get("id")), None)
        if known is None:
            return
        who, block = known
        block.finish(told["text"], told["ended"], told["tokens"], told["fingerprint"])
        self.columns[who].show_figures(told["tokens"], told["tokens_per_second"])
        if self.turns:
            self.turns[-1].answers[who] = told["text"]
        self._show_state()

    def stop(self) -> None:
        """End what is being said."""
        if self._open:
            self.process.stop()

    def answer_again(self) -> None:
        """Ask the last question once more."""
        if self.turns and not self._open:
            question = self.turns[-1].question
            self._drop_last()
            self.message.setPlainText(question)
            self.send()

    def _on_edit_last(self) -> None:
        if self.turns and not self._open:
            self.message.edit(self.turns[-1].question)

    def _drop_last(self) -> None:
        if self.turns:
            self.turns.pop()
            for column in self.columns.values():
                column.drop_last()

    def clear(self) -> None:
        """Begin a new conversation."""
        self.process.stop()
        self._open.clear()
        self.turns = []
        self._waiting_question = ""
        for column in self.columns.values():
            column.clear()
        self.prompts.show()
        self.notice.hide()
        self._show_state()

    # -- what goes wrong -----------------------------------------------------------------------------------
    def _on_failed(self, told: dict[str, Any]) -> None:
        known = self._open.pop(str(told.get("id")), None)
        if known is not None:
            known[1].fail(tr("no answer"))
        self._loading = False
        error = EngineError(told["message"], told.get("hint", ""), told.get("code", "APP-01"))
        actions = [(tr("Try again"), self._try_again)]
        if told.get("code") == "GPU-01" and self._device != "cpu":
            actions.insert(0, (tr("Use the CPU"), self._use_cpu))
        self.notice.show_error(error, actions)
        self.notice.show()
        self._show_state()

    def _on_died(self, cause: str) -> None:
        """The conversation stays; the last question is asked again once the child is back."""
        for _, block in self._open.values():
            block.fail(tr("broken off"))
        self._open.clear()
        self._loaded, self._loading = None, False
        self.notice.show_notice(
            "warn",
            tr("The chat process ended: {cause}.").format(cause=cause),
            tr("The conversation is kept."),
            [(tr("Try again"), self._try_again)],
            self.process.last_words(),
            "CHAT-01",
        )
        self.notice.show()
        self._show_state()

    def _try_again(self) -> None:
        unanswered = bool(self.turns) and len(self.turns[-1].answers) < (2 if self._wanted_adapter else 1)
        if unanswered:
            self._waiting_question = self.turns[-1].question
            self._drop_last()
        if self._loaded is None:
            self._load()
        elif self._waiting_question:
            question, self._waiting_question = self._waiting_question, ""
            self._ask(question)

    @property
    def _wanted_adapter(self) -> bool:
        return self._wanted is not None and self._wanted.has_adapter

    def _use_cpu(self) -> None:
        self._device, self._loaded = "cpu", None
        self._try_again()

    # -- looks ---------------------------------------------------------------------------------------------
    def _show_state(self) -> None:
        busy = bool(self._open)
        nobody = self._wanted is None and not self._reading
        self.empty.setVisible(nobody)
        for part in (self.upper, self.footer, self.target, self.clear_button):
            part.setHidden(nobody)
        self.send_button.setVisible(not busy)
        self.stop_button.setVisible(busy)
        loaded = self._loaded is not None
        pill = state_words(nobody, self._loading, busy, loaded, self._has_adapter)
        self.state_pill.set(*pill)
        self.heading_changed.emit()
