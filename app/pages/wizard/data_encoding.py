"""Choosing how the bytes of an old text file are read, with its first lines in each way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout

from app.services import Services
from app.widgets.card import Card
from app.widgets.label import TextLabel
from app.widgets.notice import Notice
from app.widgets.option_card import OptionCard
from engine.errors import EngineError
from engine.paths import show_name

OFFERED = 6
LINES, LONGEST_LINE, BEFORE = 3, 36, 12


@dataclass(frozen=True)
class EncodingChoice:
    """One way to read a file: its name for a person, the codec, and the first telling lines."""

    label: str
    codec: str
    lines: tuple[str, ...]


def look_at_encodings(file: str) -> list[EncodingChoice]:
    """Return the likeliest ways to read a file, the best guess first.

    Raises EngineError for a file that cannot be opened.
    """
    from engine.data.encodings import encoding_choices, encoding_preview
    from engine.data.source import peek

    found: list[EncodingChoice] = []
    for label, codec in [*encoding_choices(peek(file).head), ("UTF-8", "utf-8")]:
        lines = tuple(encoding_preview(file, codec, LINES))
        # Encodings that differ in nothing here need not be told apart.
        if all(lines != other.lines for other in found):
            found.append(EncodingChoice(label, codec, lines))
        if len(found) >= OFFERED:
            break
    return found


def telling_part(line: str) -> str:
    """Return the part of a line around its first letter beyond ASCII, short enough for one line of a card."""
    at = next((place for place, char in enumerate(line) if char > "\x7f"), 0)
    start = max(0, at - BEFORE) if len(line) > LONGEST_LINE else 0
    begin = "…" if start else ""
    return begin + show_name(line[start:], LONGEST_LINE - len(begin))


class EncodingPanel(Card):
    """A few candidates side by side; pressing one reads the file so.

    Signals:
        chosen: (file, codec).
    """

    chosen = Signal(str, str)

    def __init__(self, services: Services) -> None:
        self.count = TextLabel("", "small")
        super().__init__("How is this file written?", self.count)
        self._services = services
        self.words = TextLabel("Choose the one in which the words read as they should.", "small", wrap=True)
        self.body.addWidget(self.words)
        self._grid = QGridLayout()
        self._grid.setSpacing(8)
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnStretch(1, 1)
        self.body.addLayout(self._grid)
        self.error = Notice("bad")
        self.error.hide()
        self.body.addWidget(self.error)
        self.cards: dict[str, OptionCard] = {}
        self.file = ""
        self._looking = 0
        self.hide()

    def settled(self) -> bool:
        """Say whether the candidates of the file are known."""
        return not self._looking

    def open_for(self, file: str, codec: str | None = None) -> None:
        """Show the candidates of a file; `codec` is the one in force."""
        self.show()
        if file == self.file and self.cards:
            self._mark(codec)
            return
        self.file = file
        self.set_title(f"How is {show_name(file.rpartition('/')[2], 60)} written?")
        self._looking += 1

        def taken(choices: Sequence[EncodingChoice]) -> None:
            self._looking -= 1
            if file == self.file:
                self.show_choices(choices)
                self._mark(codec)

        def failed(error: EngineError) -> None:
            self._looking -= 1
            self.error.show_error(error)
            self.error.show()

        self._services.background.run(lambda: look_at_encodings(file), taken, failed)

    def put_away(self) -> None:
        """Hide the candidates."""
        self.file = ""
        self.hide()

    def show_choices(self, choices: Sequence[EncodingChoice]) -> None:
        """Show these candidates."""
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.error.hide()
        self.cards = {}
        for number, choice in enumerate(choices):
            shown = "\n".join(telling_part(line) for line in choice.lines)
            card = OptionCard(choice.label, shown)
            card.sentence.set_role("small_text")
            card.pressed.connect(lambda c=choice.codec: self.chosen.emit(self.file, c))
            self._grid.addWidget(card, number // 2, number % 2)
            self.cards[choice.codec] = card
        self.count.setText("the likeliest first")

    def focus_first(self) -> None:
        """Put the cursor on the likeliest one."""
        if self.cards:
            next(iter(self.cards.values())).setFocus()

    def _mark(self, codec: str | None) -> None:
        for name, card in self.cards.items():
            card.set_chosen(name == codec)
