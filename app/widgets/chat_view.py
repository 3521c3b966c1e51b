"""One speaker's side of a conversation: who it is, what it may be set to, questions and answers."""

from __future__ import annotations

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QPainter, QPainterPath, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from app.i18n import number, tr
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.chat_answer import AnswerBlock, looks_like_json, pretty
from app.widgets.dial_row import DialRow
from app.widgets.label import ElidedLabel, TextLabel, hairline, set_tip
from app.widgets.speed_strip import SpeedStrip
from app.widgets.words_view import WordsView
from engine.paths import show_text

__all__ = ["AnswerBlock", "Bubble", "ChatColumn", "looks_like_json", "pretty"]
STRENGTH_STEPS = 100  # a strength of 1 on the slider
MOST_STRENGTH = 1.5
WIDEST = "9,999"  # what the dials' values have room for
NARROW = 330  # a column below it shows its figures in a line of their own


class Bubble(QWidget):
    """What a person wrote: at the right, on the accent's background."""

    def __init__(self, text: str) -> None:
        super().__init__()
        theme = current_theme()
        column = QVBoxLayout(self)
        column.setContentsMargins(theme.px(12), theme.px(8), theme.px(12), theme.px(9))
        self.label = WordsView(text)
        column.addWidget(self.label)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        width = max((theme.metrics("body").horizontalAdvance(line) for line in text.split("\n")), default=0)
        self.setMaximumWidth(width + theme.px(26))
        self.setAccessibleName(show_text(f"{tr('You')}: {text[:200]}"))

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


class ChatColumn(Card):
    """A speaker: name, figures, dials, and the conversation, which keeps to its end while it grows.

    Signals:
        choice_asked: somebody else is to sit here.
        close_asked: the column is to go.
        strength_rested: the adapter's strength, 0 to 1.5.
        checkpoint_rested: the place in the list of checkpoints.
        save_asked: the adapter is to be saved at the present strength.
    """

    choice_asked = Signal()
    close_asked = Signal()
    strength_rested = Signal(float)
    checkpoint_rested = Signal(int)
    save_asked = Signal()

    def __init__(self, token: str, *, chosen_here: bool = False) -> None:
        super().__init__()
        self.token = token
        self.blocks: list[AnswerBlock] = []
        self._asked: list[str] = []
        self._steps: list[int] = []
        outer = self.layout()
        assert isinstance(outer, QVBoxLayout)
        outer.insertLayout(0, self._build_head(token, chosen_here))
        self._build_talk()
        outer.addWidget(self._build_dials())

    def _build_head(self, token: str, chosen_here: bool) -> QVBoxLayout:
        rows = QVBoxLayout()
        rows.setSpacing(2)
        head = QHBoxLayout()
        head.setSpacing(8)
        self.dot = _Dot(token)
        self.name = ElidedLabel("", "heading")
        self.figures = TextLabel("", "mono_dim")
        self.speed = SpeedStrip(token)
        self.figures_below = TextLabel("", "mono_dim")
        self.figures_below.hide()
        self.choose_button = self._head_button("chevron-down", tr("Choose who answers here"))
        self.choose_button.clicked.connect(lambda _checked=False: self.choice_asked.emit())
        self.choose_button.setVisible(chosen_here)
        self.close_button = self._head_button("x", tr("Close this column"))
        self.close_button.clicked.connect(lambda _checked=False: self.close_asked.emit())
        self.close_button.hide()
        head.addStrut(current_theme().px(30))  # as high with buttons as without: answers stand side by side
        head.addWidget(self.dot)
        head.addWidget(self.name, 1)
        for widget in (self.speed, self.figures, self.choose_button, self.close_button):
            head.addWidget(widget)
        rows.addLayout(head)
        rows.addWidget(self.figures_below)
        return rows

    def _head_button(self, icon: str, name: str) -> QPushButton:
        return button(icon=icon, kind="ghost", compact=True, name=name)

    def _build_dials(self) -> QWidget:
        self.dials = QWidget()
        column = QVBoxLayout(self.dials)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(hairline())
        column.addSpacing(current_theme().px(6))
        self.strength = DialRow(
            tr("Strength"),
            lambda value: f"{value / STRENGTH_STEPS:.2f}",
            WIDEST,
            tr("How much the adapter counts: 0 is the base, 1 as trained."),
        )
        self.strength.show_range(0, round(MOST_STRENGTH * STRENGTH_STEPS), STRENGTH_STEPS, 10)
        self.save_button = button(
            icon="save",
            kind="ghost",
            compact=True,
            name=tr("Save scaled"),
            tip=tr("Save scaled: write a new adapter with this strength folded in"),
            on_click=self.save_asked.emit,
        )
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self.strength, 1)
        row.addWidget(self.save_button)
        column.addLayout(row)
        self.checkpoint = DialRow(
            tr("Step"), self._step_words, WIDEST, tr("Which checkpoint of the run answers.")
        )
        self.checkpoint.hide()
        steps = QHBoxLayout()
        steps.setSpacing(0)
        steps.addWidget(self.checkpoint, 1)
        steps.addSpacing(self.save_button.sizeHint().width() + row.spacing())
        column.addLayout(steps)
        self.dials.hide()
        self.strength.rested.connect(lambda value: self.strength_rested.emit(value / STRENGTH_STEPS))
        self.checkpoint.rested.connect(self.checkpoint_rested)
        return self.dials

    def _build_talk(self) -> None:
        self._inner = QWidget()
        self.column = QVBoxLayout(self._inner)
        self.column.setContentsMargins(0, 4, 0, 4)
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

    # -- who and how ---------------------------------------------------------------------------------------
    def show_speaker(self, name: str, more: str = "") -> None:
        """Say whose column it is; `more` on hover."""
        self.name.setText(name)
        self.setAccessibleName(show_text(name))
        if more:
            set_tip(self.name, f"{name}\n{more}")

    def show_hint(self, text: str) -> None:
        """Say what will stand here, until the first question."""
        self.hint.setText(text)

    def show_figures(self, tokens: int, per_second: float | None) -> None:
        """Show how much was said, and how fast."""
        speed = f" · {number(per_second, 1)} tok/s" if per_second else ""
        self.speed.add(tokens)
        self._show_figures(f"{number(tokens)} tok{speed}")

    def _show_figures(self, text: str) -> None:
        narrow = self.width() < current_theme().px(NARROW)
        self.figures.setText("" if narrow else text)
        self.figures.setHidden(narrow)
        self.speed.setHidden(narrow or not text)
        self.figures_below.setText(text if narrow else "")
        self.figures_below.setHidden(not (narrow and text))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._show_figures(self.figures.text() or self.figures_below.text())

    def show_dials(self, shown: bool, steps: list[int] | None = None, at: int = 0) -> None:
        """Offer the strength of an adapter, and the checkpoints of its run where there are several."""
        self._steps = steps or []
        self.dials.setVisible(shown)
        self.checkpoint.setVisible(shown and len(self._steps) > 1)
        self.checkpoint.show_range(0, max(0, len(self._steps) - 1), at)

    def show_strength(self, strength: float) -> None:
        """Show a strength without telling anybody."""
        most = round(MOST_STRENGTH * STRENGTH_STEPS)
        self.strength.show_range(0, most, round(strength * STRENGTH_STEPS), 10)

    def _step_words(self, index: int) -> str:
        return number(self._steps[index]) if index < len(self._steps) else ""

    # -- what is said --------------------------------------------------------------------------------------
    def ask(self, text: str) -> AnswerBlock:
        """Add a question and the place of its answer."""
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(Bubble(text), 6)
        holder = QWidget()
        row.setContentsMargins(0, 0, 0, 0)
        holder.setLayout(row)
        block = AnswerBlock(self.name.text())
        self._asked.append(text)
        self.speed.begin()
        self.hint.hide()
        at = self.column.count() - 1
        self.column.insertWidget(at, holder)
        self.column.insertWidget(at + 1, block)
        self.blocks.append(block)
        self._at_end = True
        return block

    @property
    def asked(self) -> str:
        """Return the last question that stands here."""
        return self._asked[-1] if self._asked else ""

    def drop_last(self) -> None:
        """Take the last question and answer away."""
        if self.blocks:
            self.blocks.pop()
            self._asked.pop()
            for _ in range(2):
                self._remove(self.column.count() - 2)
            self.hint.setHidden(bool(self.blocks))

    def clear(self) -> None:
        """Begin anew."""
        self.blocks, self._asked = [], []
        while self.column.count() > 1:
            self._remove(0)
        self._show_figures("")
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
        self.column.setContentsMargins(0, 4, current_theme().px(8) if most else 0, 4)
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
