"""Try before writing: one question, answered by the base and with the present weights, side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from app.half_typed import Typed
from app.i18n import number, size, tr
from app.merging import Mixing
from app.theme.style import current_theme
from app.typed_keeper import TypedKeeper
from app.widgets.button import button
from app.widgets.card import Card, Inset
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.mark import Swatch
from app.widgets.notice import Notice
from app.workers.mix_process import MixProcess

REST_MS = 350
ANSWER_TOKENS = 64
SAMPLING = {"temperature": 0.0, "max_new_tokens": ANSWER_TOKENS}
LEAST_HEIGHT = 92
ANSWER_BYTES = 2.4  # a parameter in 16 bits, with a fifth for what answering takes


class _Answer(QWidget):
    """One answer with who gave it, and how."""

    def __init__(self, token: str, name: str) -> None:
        super().__init__()
        theme = current_theme()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        head = QHBoxLayout()
        head.setSpacing(6)
        self.name = TextLabel(name, "small_text")
        self.figures = ElidedLabel("", "mono_dim")
        head.addWidget(Swatch(token))
        head.addWidget(self.name)
        head.addWidget(self.figures, 1)
        column.addLayout(head)
        self.inset = Inset()
        self.inset.setMinimumHeight(theme.px(LEAST_HEIGHT))
        self.text = TextLabel("", "mono", wrap=True).make_selectable()
        self.inset.body.addWidget(self.text)
        self.inset.body.addStretch(1)
        column.addWidget(self.inset, 1)
        self.said, self.asked = "", ""
        self.show_text("", tr("not asked yet"))

    def show_text(self, text: str, instead: str = "") -> None:
        """Show an answer, or words that stand where one will be."""
        self.said = text
        self.text.setText(text or instead)
        self.text.set_token("text" if text else "dim")
        self.setAccessibleName(f"{self.name.text()}: {text or instead}")


class MergeTry(Card):
    """A question, a child that holds base and mix, and both answers; moving a weight asks again."""

    def __init__(self, process: MixProcess, free: Callable[[], float | None]) -> None:
        self.answer_button = button(tr("Answer"), "send", compact=True)
        self.stop_button = button(tr("Stop"), "stop", compact=True)
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.answer_button)
        row.addWidget(self.stop_button)
        super().__init__(tr("Try before writing"), holder)
        self.process, self._free = process, free
        self.mixing: Mixing | None = None
        self._loaded: dict[str, Any] | None = None  # the mixture that the child holds
        self._held: dict[str, Any] = {}
        self._held_base = ""
        self._system: str | None = None
        self._orders: dict[str, _Answer] = {}
        self._state = ""  # "", loading, answering
        self._device = "auto"
        self._build()
        self._rest = QTimer(self, singleShot=True, interval=REST_MS)
        self._rest.timeout.connect(self._again)
        self._connect()
        self._show()

    def _build(self) -> None:
        self.prompt = QLineEdit()
        self.prompt.setAccessibleName(tr("Question"))
        self.prompt.setPlaceholderText(tr("A question for base and mix"))
        self.typed = TypedKeeper(self, self._present, self.prompt.setText)
        self._proposed = ""
        self.typed.arrive()
        self.base, self.mix = _Answer("edge", tr("base")), _Answer("accent", tr("the mix"))
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(self.base, 1)
        row.addWidget(self.mix, 1)
        self.notice = Notice()
        self.notice.hide()
        self.verdict = TextLabel("", "small", wrap=True)
        self.verdict.hide()
        for part in (self.prompt, self.notice):
            self.body.addWidget(part)
        self.body.addLayout(row, 1)
        self.body.addWidget(self.verdict)

    def _connect(self) -> None:
        self.answer_button.clicked.connect(lambda _checked=False: self.ask())
        self.stop_button.clicked.connect(lambda _checked=False: self.stop())
        self.prompt.returnPressed.connect(self.ask)
        self.prompt.textEdited.connect(lambda _: self._on_edited())
        self.process.loaded.connect(self._on_loaded)
        self.process.token_arrived.connect(self._on_token)
        self.process.answered.connect(self._on_answered)
        self.process.replied.connect(self._on_replied)
        self.process.failed.connect(self._on_failed)
        self.process.died.connect(self._on_died)

    def _present(self) -> Typed:
        """Return the question, where a person wrote it."""
        text = self.prompt.text()
        return Typed("merge", "" if text == self._proposed else text)

    def _on_edited(self) -> None:
        self.typed.touch()
        self._show()

    @property
    def busy(self) -> bool:
        """Return whether something is being loaded or said, or is about to be."""
        return bool(self._state) or self._rest.isActive()

    # -- what the board says -------------------------------------------------------------------------------
    def show_mixing(self, mixing: Mixing | None) -> None:
        """Take what is on the board now; an answer that stands is given anew after a moment."""
        same = mixing is not None and self.mixing is not None and mixing.mixture() == self.mixing.mixture()
        self.mixing = mixing
        if mixing is None:
            self.let_go()
            self.base.asked = self.mix.asked = ""
        elif not same and self.mix.asked:
            self._rest.start()
        self._show()

    def propose(self, question: str) -> None:
        """Put a question into an empty field."""
        if not self.prompt.text():
            self.prompt.setText(question)
            self._proposed = self.prompt.text()
            self.prompt.setCursorPosition(0)
            self._show()

    def ask(self) -> None:
        """Let base and mix answer the question."""
        if self.mixing is None or not self.prompt.text().strip():
            self.prompt.setFocus()
            return
        self.notice.hide()
        if self.process.alive or not self._refuses():
            self._ask()

    def _ask(self) -> None:
        self.notice.hide()
        if self.base.asked != self.prompt.text().strip():
            self.base.asked = ""
        self.mix.asked = self.prompt.text().strip()
        self._again()

    def _refuses(self) -> bool:
        """Return whether the base has no room in memory now, and say so; it may be tried all the same."""
        assert self.mixing is not None
        free, needed = self._free(), self.mixing.base.parameters * ANSWER_BYTES
        if free is None or needed <= free:
            return False
        title = tr("{base} has no room beside what is going on.").format(base=self.mixing.base.name)
        words = tr("It needs about {needed} to answer, and {free} are free. Merging needs far less.")
        actions = [(tr("Try it all the same"), self._ask)]
        self.notice.show_notice("warn", title, words.format(needed=size(needed), free=size(free)), actions)
        self.notice.show()
        return True

    def stop(self) -> None:
        """End the answers that are being made, or the loading."""
        self._rest.stop()
        if self._state == "loading":
            self.let_go()
            self.mix.show_text("", tr("stopped"))
        else:
            self.process.stop()

    def let_go(self) -> None:
        """End the child and give its memory back; what was said stays."""
        self._rest.stop()
        self._state, self._loaded = "", None
        self._orders.clear()
        self.process.drop()
        self._show()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc stops what is being said."""
        if event.key() == Qt.Key.Key_Escape and self._state:
            self.stop()
        else:
            super().keyPressEvent(event)

    # -- the child -----------------------------------------------------------------------------------------
    def _again(self) -> None:
        """Bring the child to what is on the board, then ask."""
        if self.mixing is None:
            return
        wanted, held = self.mixing.mixture(), self._loaded
        if self._state == "loading":
            self._rest.start()
            return
        if self._orders:
            self.process.stop()
            self._orders.clear()
        if held is None or {**held, "weights": None} != {**wanted, "weights": None}:
            self._state, self._loaded = "loading", None
            self.mix.show_text("", tr("loading base and adapters"))
            if self._held_base != str(self.mixing.base.path):
                self.base.asked = ""
            self._held, self._held_base = wanted, str(self.mixing.base.path)
            self.process.load_mix(wanted, self._held_base, self._device)
        else:
            if held["weights"] != wanted["weights"]:
                self.process.order("mix", weights=wanted["weights"])
            self._loaded = wanted
            self._generate()
        self._show()

    def _on_loaded(self, told: dict[str, Any]) -> None:
        self._loaded, self._system = self._held, told.get("system_prompt") or None
        self._state = ""
        if self.mixing is not None and self.mixing.mixture() != self._loaded:
            self._again()
        else:
            self._generate()
        self._show()

    def _generate(self) -> None:
        question = self.mix.asked
        messages = [{"role": "system", "content": self._system}] if self._system else []
        messages.append({"role": "user", "content": question})
        self._state = "answering"
        answers = [("adapter", self.mix)]
        if self.base.asked != question:
            answers.insert(0, ("base", self.base))
        for who, answer in answers:
            answer.asked = question
            answer.show_text("", tr("waiting"))
            answer.figures.setText("")
            self._orders[self.process.generate(who, messages, SAMPLING)] = answer
        self.verdict.hide()

    def _on_token(self, told: dict[str, Any]) -> None:
        answer = self._orders.get(str(told.get("id")))
        if answer is not None:
            answer.show_text(answer.said + str(told.get("text", "")))

    def _on_answered(self, told: dict[str, Any]) -> None:
        answer = self._orders.pop(str(told.get("id")), None)
        if answer is None:
            return
        text = str(told.get("text", ""))
        answer.show_text(text.strip(), tr("nothing was said"))
        speed = told.get("tokens_per_second")
        figures = tr("{n} tok").format(n=told.get("tokens", 0))
        answer.figures.setText(f"{figures} · {number(speed)} tok/s" if speed else figures)
        if told.get("ended") == "stopped":
            answer.asked = "" if answer is self.base else answer.asked
        if not self._orders:
            self._state = ""
            self._show_verdict()
        self._show()

    def _on_replied(self, told: dict[str, Any]) -> None:
        if told.get("type") == "mixed":
            self.mix.figures.setText(str(told.get("fingerprint", "")))

    def _on_failed(self, told: dict[str, Any]) -> None:
        answer = self._orders.pop(str(told.get("id")), None)
        if answer is not None:
            answer.show_text("", tr("no answer"))
        actions = [(tr("Try again"), self.ask)]
        if told.get("code") == "GPU-01" and self._device != "cpu":
            actions.insert(0, (tr("Use the CPU"), self._on_cpu))
        text, code = str(told.get("hint", "")), str(told.get("code", ""))
        self.notice.show_notice("bad", str(told.get("message", "")), text, actions, code=code)
        self.notice.show()
        self._state = "answering" if self._orders else ""
        if told.get("command") == "load":
            self._loaded = None
            self.mix.show_text("", tr("no answer"))
        self._show()

    def _on_cpu(self) -> None:
        self._device = "cpu"
        self.ask()

    def _on_died(self, how: str) -> None:
        self._state, self._loaded = "", None
        self._orders.clear()
        self.mix.show_text("", tr("no answer"))
        words = tr("The process that answers ended: {how}.").format(how=how)
        hint = tr("There may be too little memory. Close other programs, or merge without trying.")
        actions = [(tr("Try again"), self.ask)]
        self.notice.show_notice("bad", words, hint, actions, self.process.last_words())
        self.notice.show()
        self._show()

    # -- looks ---------------------------------------------------------------------------------------------
    def _show_verdict(self) -> None:
        if not self.base.said or not self.mix.said:
            return
        same = self.base.said == self.mix.said
        words = tr("Both say the same.") if same else tr("The mix answers otherwise than the base.")
        self.verdict.setText(words + " " + tr("Greedy, {n} tokens at most.").format(n=ANSWER_TOKENS))
        self.verdict.show()

    def _show(self) -> None:
        going = bool(self._state)
        self.stop_button.setVisible(going)
        self.answer_button.setVisible(not going)
        self.answer_button.setText(tr("Answer again") if self.mix.said else tr("Answer"))
        self.answer_button.setAccessibleName(self.answer_button.text())
        self.answer_button.setEnabled(self.mixing is not None and bool(self.prompt.text().strip()))
