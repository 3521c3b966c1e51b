"""A choice large enough to say what it costs: title, sentence, figures; one of a group is chosen."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.label import TextLabel
from app.widgets.look import Look
from app.widgets.mark import Mark
from app.widgets.meter import Meter
from app.widgets.pill import KIND_ICONS


class OptionCard(QFrame):
    """One option.

    Signals:
        pressed: by mouse, Enter or Space.
        hovered: pointer or keyboard came to it (True) or left (False).
    """

    pressed = Signal()
    hovered = Signal(bool)

    def __init__(self, title: str, sentence: str) -> None:
        super().__init__()
        self.setObjectName("option")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        theme = current_theme()
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(theme.px(13), theme.px(11), theme.px(13), theme.px(11))
        self.column.setSpacing(3)
        self.title = TextLabel(title, "strong")
        self.sentence = TextLabel(sentence, "small", wrap=True)
        self.figures = TextLabel("", "small", wrap=True)
        self.head = QHBoxLayout()
        self.head.setSpacing(8)
        self.head.addWidget(self.title)
        self.head.addStretch(1)
        self.column.addLayout(self.head)
        self.column.addWidget(self.sentence)
        line = QHBoxLayout()
        line.setSpacing(6)
        self.mark = Mark("check", "ok", 14)
        self.mark.hide()
        line.addWidget(self.mark, 0, Qt.AlignmentFlag.AlignTop)
        line.addWidget(self.figures, 1)
        self.column.addLayout(line)
        self.column.addStretch(1)
        self.need = Meter(height=5, name="Memory it needs of this machine's")
        self.need.hide()
        self.column.addWidget(self.need)
        self.chosen, self.available = False, True
        Look(self, self.hovered.emit, self)
        self._name()

    def set_chosen(self, chosen: bool) -> None:
        """Draw it as the chosen one."""
        if chosen == self.chosen and self.property("chosen") is not None:
            return
        self.chosen = chosen
        self.setProperty("chosen", "true" if chosen else "false")
        self.style().unpolish(self)
        self.style().polish(self)
        self._name()

    def set_available(self, available: bool) -> None:
        """Let it be pressed, or say by its look that it cannot."""
        self.available = available
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus if available else Qt.FocusPolicy.NoFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor if available else Qt.CursorShape.ArrowCursor)
        self.title.set_token("text" if available else "dim")

    def show_figures(self, text: str, token: str = "dim") -> None:
        """Show what it costs."""
        self.figures.setText(text)
        self.figures.set_token(token)
        self.figures.setVisible(bool(text))
        self._name()

    def show_need(self, share: float | None, kind: str = "ok") -> None:
        """Draw the share of the machine's memory it needs, marked ok, warn or bad; None hides it."""
        self.need.setVisible(share is not None)
        self.mark.setVisible(share is not None)
        if share is not None:
            self.need.set(share, "accent" if kind == "ok" else kind)
            self.mark.set(KIND_ICONS[kind], kind)

    def _name(self) -> None:
        words = ", ".join(filter(None, (self.sentence.text(), self.figures.text())))
        self.setAccessibleName(self.title.text() + (" (chosen)" if self.chosen else ""))
        self.setAccessibleDescription(words)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self._press()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space) and not event.modifiers():
            self._press()
        else:
            super().keyPressEvent(event)

    def _press(self) -> None:
        if self.available:
            self.pressed.emit()


class OptionRow(QWidget):
    """Option cards side by side.

    Signals:
        chosen: the name of the card pressed.
        hovered: the name of the card that pointer or keyboard is at, or an empty text.
    """

    chosen = Signal(str)
    hovered = Signal(str)

    def __init__(self, options: Sequence[tuple[str, str, str]]) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        self.cards: dict[str, OptionCard] = {}
        for name, title, sentence in options:
            card = OptionCard(title, sentence)
            card.pressed.connect(lambda n=name: self.chosen.emit(n))
            card.hovered.connect(lambda over, n=name: self.hovered.emit(n if over else ""))
            row.addWidget(card, 1)
            self.cards[name] = card

    def choose(self, name: str) -> None:
        """Draw one card as chosen."""
        for other, card in self.cards.items():
            card.set_chosen(other == name)
