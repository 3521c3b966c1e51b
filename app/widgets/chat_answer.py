"""One answer of a chat: its text, how it ended, who really gave it, and what can be done with it."""

from __future__ import annotations

import json
from typing import Any

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QHBoxLayout, QVBoxLayout, QWidget

from app.i18n import tr
from app.theme.icons import draw_icon
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Inset
from app.widgets.chances_view import ChancesView
from app.widgets.flow import FlowLayout
from app.widgets.label import TextLabel, set_tip
from app.widgets.words_view import WordsView

SHOWN_CHARACTERS = 20_000


class _Mark(QWidget):
    """An icon with a word, in one colour."""

    def __init__(self, icon: str, token: str, text: str) -> None:
        super().__init__()
        self._icon, self._token = icon, token
        theme = current_theme()
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(16), theme.px(5), 0, theme.px(5))
        label = TextLabel(text, "least")
        label.set_token(token)
        row.addWidget(label)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        side = theme.px(12)
        draw_icon(QPainter(self), self._icon, QRectF(0, (self.height() - side) / 2, side, side), self._token)


class AnswerBlock(QWidget):
    """One answer: grows while it is made, then says how it ended.

    Signals:
        chances_asked: the chance of each token is wanted.
        keep_asked: the question is to be kept as a test.
    """

    chances_asked = Signal()
    keep_asked = Signal()

    def __init__(self, speaker: str) -> None:
        super().__init__()
        self._speaker = speaker
        self.text = ""
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self.plain = WordsView(tr("waiting"), "dim")
        self.inset = Inset()
        self.code = WordsView("", "mono")
        self.inset.body.addWidget(self.code)
        self.inset.hide()
        self.chances = ChancesView()
        self.chances.hide()
        self._marks = QWidget()
        self._marks_row = FlowLayout(self._marks, spacing=8)
        self.acts = self._build_acts()
        self._foot = QWidget()
        foot = QHBoxLayout(self._foot)
        foot.setContentsMargins(0, 0, 0, 0)
        foot.setSpacing(4)
        foot.addWidget(self._marks, 1)
        foot.addWidget(self.acts, 0, Qt.AlignmentFlag.AlignTop)
        self._foot.hide()
        self.who = TextLabel("", "mono_dim").make_selectable()
        set_tip(self.who, tr("Who answered: the base's digest, and the adapter's after the plus sign."))
        self.who.hide()
        for widget in (self.plain, self.inset, self.chances, self._foot):
            column.addWidget(widget)
        column.addWidget(self.who)

    def _build_acts(self) -> QWidget:
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self.chances_button = button(
            icon="chart",
            kind="ghost",
            compact=True,
            name=tr("Show how likely each token was"),
            on_click=self._on_chances_pressed,
        )
        self.keep_button = button(
            icon="flask",
            kind="ghost",
            compact=True,
            name=tr("Keep as test"),
            tip=tr("Keep as test: the question becomes part of your own tests"),
            on_click=self.keep_asked.emit,
        )
        self.copy_button = button(
            icon="copy",
            kind="ghost",
            compact=True,
            name=tr("Copy the answer"),
            on_click=lambda: QApplication.clipboard().setText(self.text),
        )
        for each in (self.chances_button, self.keep_button, self.copy_button):
            row.addWidget(each)
        holder.hide()
        return holder

    def say(self, text: str) -> None:
        """Add what was just said."""
        if not self.text:
            self.plain.set_role("body")
        self.text += text
        self._show(self.text)

    def finish(self, text: str, ended: str, limit: int, fingerprint: str) -> None:
        """Show the whole answer and its marks: valid JSON, how it ended, who answered."""
        self.text = text
        self.chances.hide()
        self.plain.set_role("body" if text else "dim")
        self._show(pretty(text) or text if text else tr("nothing was said"))
        self._clear_marks()
        if looks_like_json(text):
            good = pretty(text) is not None
            self._mark(
                "check" if good else "triangle",
                "ok" if good else "warn",
                tr("valid JSON" if good else "not valid JSON"),
            )
        ends = {
            "eos": ("check", "ok", tr("ended by itself")),
            "length": ("triangle", "warn", tr("cut at {n} tokens").format(n=limit)),
            "stopped": ("stop", "dim", tr("stopped")),
        }
        self._mark(*ends.get(ended, ("octagon", "bad", ended)))
        self.who.setText(fingerprint)
        self.who.setAccessibleName(f"{tr('Fingerprint of who answered')}: {fingerprint}")
        self.who.show()
        self._foot.show()
        self.acts.setHidden(not text)
        self.setAccessibleName(f"{self._speaker}: {text[:300]}")

    def fail(self, words: str) -> None:
        """Say that no answer came, or that it broke off."""
        self._clear_marks()
        self.who.hide()
        if not self.text:
            self.plain.setText("")
            self.plain.hide()
        self._mark("octagon", "bad", words)
        self._foot.show()

    def show_chances(self, tokens: list[dict[str, Any]]) -> None:
        """Show the answer token by token in the place of its text."""
        self.chances.show_tokens(tokens)
        self._swap(True)

    def _on_chances_pressed(self) -> None:
        if self.chances.isHidden():
            self.chances_asked.emit()
        else:
            self._swap(False)

    def _swap(self, chances: bool) -> None:
        self.chances.setVisible(chances)
        if chances:
            self.plain.hide()
            self.inset.hide()
        else:
            self._show(pretty(self.text) or self.text)
        words = tr("Show the plain answer") if chances else tr("Show how likely each token was")
        self.chances_button.setAccessibleName(words)
        set_tip(self.chances_button, words)

    def _show(self, text: str) -> None:
        shown = text if len(text) <= SHOWN_CHARACTERS else "…" + text[-SHOWN_CHARACTERS:]
        code = looks_like_json(text)
        self.inset.setVisible(code)
        self.plain.setVisible(not code)
        (self.code if code else self.plain).setText(shown)

    def _mark(self, icon: str, token: str, text: str) -> None:
        self._marks_row.addWidget(_Mark(icon, token, text))

    def _clear_marks(self) -> None:
        while (item := self._marks_row.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()


def looks_like_json(text: str) -> bool:
    """Return whether an answer is meant as JSON: it begins with a brace or a bracket."""
    return text.lstrip()[:1] in ("{", "[")


def pretty(text: str) -> str | None:
    """Return valid JSON laid out over lines, None for anything else."""
    if not looks_like_json(text):
        return None
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None
