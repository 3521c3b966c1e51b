"""One speaker's side of a conversation: question, answer, how fast, how it ended, and who it really was."""

from __future__ import annotations

import json

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from app.i18n import tr
from app.theme.icons import draw_icon
from app.theme.style import current_theme
from app.widgets.card import Card, Inset
from app.widgets.label import ElidedLabel, TextLabel, set_tip

SHOWN_CHARACTERS = 20_000


class Bubble(QWidget):
    """What a person wrote: at the right, on the accent's background."""

    def __init__(self, text: str) -> None:
        super().__init__()
        theme = current_theme()
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(12), theme.px(8), theme.px(12), theme.px(9))
        self.label = TextLabel(text, wrap=True).make_selectable()
        column.addWidget(self.label)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        width = max((theme.metrics("body").horizontalAdvance(line) for line in text.split("\n")), default=0)
        self.setMaximumWidth(width + theme.px(26))
        self.setAccessibleName(f"{tr('You')}: {text[:200]}")

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        radius = float(theme.px(10))
        body = QRectF(self.rect())
        path = QPainterPath()
        path.addRoundedRect(body, radius, radius)
        # The corner at the speaker's side is square.
        path.addRect(QRectF(body.right() - radius, body.bottom() - radius, radius, radius))
        path.setFillRule(Qt.FillRule.WindingFill)
        painter.fillPath(path, theme.color("accentbg"))


class _Mark(QWidget):
    """An icon with a word, in one colour."""

    def __init__(self, icon: str, token: str, text: str) -> None:
        super().__init__()
        self._icon, self._token = icon, token
        theme = current_theme()
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.px(16), 0, 0, 0)
        label = TextLabel(text, "least")
        label.set_token(token)
        row.addWidget(label)

    def paintEvent(self, event: QPaintEvent) -> None:
        theme = current_theme()
        side = theme.px(12)
        draw_icon(QPainter(self), self._icon, QRectF(0, (self.height() - side) / 2, side, side), self._token)


class AnswerBlock(QWidget):
    """One answer: grows while it is made, then says how it ended."""

    def __init__(self, speaker: str) -> None:
        super().__init__()
        self._speaker = speaker
        self.text = ""
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        self.plain = TextLabel(tr("waiting"), "dim", wrap=True)
        self.inset = Inset()
        self.code = TextLabel("", "mono", wrap=True).make_selectable()
        self.inset.body.addWidget(self.code)
        self.inset.hide()
        self._marks = QWidget()
        self._marks_row = QHBoxLayout(self._marks)
        self._marks_row.setContentsMargins(0, 0, 0, 0)
        self._marks_row.setSpacing(10)
        self._marks.hide()
        for widget in (self.plain, self.inset, self._marks):
            column.addWidget(widget)

    def say(self, text: str) -> None:
        """Add what was just said."""
        if not self.text:
            self.plain.set_role("body")
            self.plain.make_selectable()
        self.text += text
        self._show(self.text)

    def finish(self, text: str, ended: str, limit: int, fingerprint: str) -> None:
        """Show the whole answer and its marks: valid JSON, how it ended, who answered."""
        self.text = text
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
        self._marks_row.addStretch(1)
        who = ElidedLabel(fingerprint, "least")
        who.setFont(current_theme().font("least", mono=True))
        who.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        who.setAccessibleName(f"{tr('Fingerprint of who answered')}: {fingerprint}")
        set_tip(who, tr("Who answered: the base's digest, and the adapter's after the plus sign."))
        self._marks_row.addWidget(who, 2)
        self._marks.show()
        self.setAccessibleName(f"{self._speaker}: {text[:300]}")

    def fail(self, words: str) -> None:
        """Say that no answer came, or that it broke off."""
        self._clear_marks()
        if not self.text:
            self.plain.setText("")
            self.plain.hide()
        self._mark("octagon", "bad", words)
        self._marks_row.addStretch(1)
        self._marks.show()

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
                widget.deleteLater()


class ChatColumn(Card):
    """A speaker: name, figures, and the conversation, which keeps to its end while it grows."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token
        self.blocks: list[AnswerBlock] = []
        outer = self.layout()
        head = QHBoxLayout()
        head.setSpacing(8)
        self.dot = _Dot(token)
        self.name = ElidedLabel("", "heading")
        self.figures = TextLabel("", "mono_dim")
        head.addWidget(self.dot)
        head.addWidget(self.name, 1)
        head.addWidget(self.figures)
        assert isinstance(outer, QVBoxLayout)
        outer.insertLayout(0, head)
        self._inner = QWidget()
        self.column = QVBoxLayout(self._inner)
        self.column.setContentsMargins(0, 4, 8, 4)
        self.column.setSpacing(current_theme().px(12))
        self.column.addStretch(1)
        self.hint = TextLabel("", "dim", wrap=True)
        self.hint.setAlignment(Qt.AlignmentFlag.AlignHCenter)
        self.area = QScrollArea()
        self.area.setWidgetResizable(True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setWidget(self._inner)
        self.body.addWidget(self.hint)
        self.body.addWidget(self.area, 1)
        self._at_end = True
        bar = self.area.verticalScrollBar()
        bar.valueChanged.connect(lambda value: self._note(value))
        bar.rangeChanged.connect(lambda least, most: self._keep_end(most))

    def show_speaker(self, name: str) -> None:
        """Say whose column it is."""
        self.name.setText(name)
        self.setAccessibleName(name)

    def show_hint(self, text: str) -> None:
        """Say what will stand here, until the first question."""
        self.hint.setText(text)

    def show_figures(self, tokens: int, per_second: float | None) -> None:
        """Show how much was said, and how fast."""
        speed = f" · {per_second:.1f} tok/s" if per_second else ""
        self.figures.setText(f"{tokens} tok{speed}")

    def ask(self, text: str) -> AnswerBlock:
        """Add a question and the place of its answer."""
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(Bubble(text), 6)
        holder = QWidget()
        row.setContentsMargins(0, 0, 0, 0)
        holder.setLayout(row)
        block = AnswerBlock(self.name.text())
        self.hint.hide()
        at = self.column.count() - 1
        self.column.insertWidget(at, holder)
        self.column.insertWidget(at + 1, block)
        self.blocks.append(block)
        self._at_end = True
        return block

    def drop_last(self) -> None:
        """Take the last question and answer away."""
        if self.blocks:
            self.blocks.pop()
            for _ in range(2):
                self._remove(self.column.count() - 2)
            self.hint.setHidden(bool(self.blocks))

    def clear(self) -> None:
        """Begin anew."""
        self.blocks = []
        while self.column.count() > 1:
            self._remove(0)
        self.figures.setText("")
        self.hint.show()

    def _remove(self, index: int) -> None:
        item = self.column.takeAt(index)
        widget = item.widget() if item is not None else None
        if widget is not None:
            widget.hide()
            widget.deleteLater()

    def _note(self, value: int) -> None:
        self._at_end = value >= self.area.verticalScrollBar().maximum() - current_theme().px(24)

    def _keep_end(self, most: int) -> None:
        if self._at_end:
            self.area.verticalScrollBar().setValue(most)


class _Dot(QWidget):
    """The colour of a speaker."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self._token = token
        side = current_theme().px(10)
        self.setFixedSize(side, side)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(current_theme().color(self._token))
        painter.drawEllipse(QRectF(self.rect()))


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
