"""The models on this computer as a list to choose from: what each is, and what training it needs here."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.fits import largest_words
from app.pages.wizard.inquiries import ModelLine
from app.theme.style import current_theme
from app.widgets.card import Card
from app.widgets.label import TextLabel
from app.widgets.meter import Meter
from app.widgets.option_card import OptionCard
from app.widgets.pill import Pill
from app.widgets.size_ladder import MethodMark, Rung, SizeDrawing
from engine.models.library import STARTER

VERDICT_TOKENS = {"fits": "accent", "tight": "warn", "too_large": "bad"}


class ModelRow(OptionCard):
    """One model: name, badges, sizes, and a bar of the memory it needs against this machine."""

    def __init__(self, line: ModelLine) -> None:
        facts = line.facts
        starter = line.path == STARTER
        super().__init__("Starter model, SmolLM2-135M-Instruct" if starter else facts.name, model_words(line))
        self.line = line
        badges = [("works without a download", "ok")] if starter else []
        badges.append(("chat template", "dim") if facts.chat_template else ("no chat template", "warn"))
        for words, kind in badges:
            self.head.insertWidget(self.head.count() - 1, Pill(words, kind, None if kind == "warn" else ""))
        row = QHBoxLayout()
        row.setSpacing(10)
        whole = line.device_bytes or max(line.memory_bytes, 1.0)
        bar = Meter(line.memory_bytes / whole, VERDICT_TOKENS.get(line.verdict or "", "accent"), 6)
        bar.setAccessibleName("Memory that LoRA needs")
        row.addWidget(bar, 1)
        of = f" of {i18n.size(line.device_bytes)}" if line.device_bytes else ""
        words = TextLabel(f"LoRA needs {i18n.size(line.memory_bytes)}{of}", "least")
        words.set_token("bad" if line.verdict == "too_large" else "dim")
        words.setMinimumWidth(current_theme().px(190))
        words.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(words)
        self.column.insertLayout(2, row)


def model_words(line: ModelLine) -> str:
    """Return the line of sizes of a model."""
    facts = line.facts
    parts = [
        f"{i18n.short_number(facts.parameters)} parameters",
        facts.dtype,
        f"{i18n.size(facts.weights_bytes)} on disk",
        f"context {i18n.number(facts.max_positions)}" if facts.max_positions else "",
        facts.architecture.removesuffix("ForCausalLM"),
    ]
    return " · ".join(filter(None, parts))


class ModelList(QWidget):
    """Rows to choose from; Up and Down move, Enter chooses.

    Signals:
        chosen: the recipe's name of the model.
        looked_at: the ModelLine that pointer or keyboard is at, or None.
    """

    chosen = Signal(str)
    looked_at = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(8)
        self.rows: list[ModelRow] = []
        self._chosen, self._words = "", ""

    def show_models(self, lines: list[ModelLine]) -> None:
        """Show other models."""
        for row in self.rows:
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows = [ModelRow(line) for line in lines]
        for row in self.rows:
            row.pressed.connect(lambda r=row: self.chosen.emit(r.line.path))
            row.hovered.connect(lambda over, r=row: self.looked_at.emit(r.line if over else None))
            self._column.addWidget(row)
        self.choose(self._chosen)
        self.filter(self._words)

    def choose(self, path: str) -> None:
        """Draw one model as chosen."""
        self._chosen = path
        for row in self.rows:
            row.set_chosen(path in (row.line.path, str(row.line.facts.path)))

    def filter(self, words: str) -> int:
        """Show the models whose name holds the words; return how many do."""
        self._words = words
        wanted = words.lower().split()
        for row in self.rows:
            text = (
                f"{row.line.path} {row.line.facts.name} {row.line.facts.architecture} starter smollm2".lower()
            )
            text = text if row.line.path == STARTER else text.replace(" starter smollm2", "")
            row.setHidden(not all(word in text for word in wanted))
        return len(self.shown_rows)

    @property
    def shown_rows(self) -> list[ModelRow]:
        """Return the rows that the filter leaves."""
        return [row for row in self.rows if not row.isHidden()]

    def focus_first(self) -> None:
        """Put the keyboard on the chosen row, or on the first."""
        rows = self.shown_rows
        target = next((row for row in rows if row.chosen), rows[0] if rows else None)
        if target is not None:
            target.setFocus(Qt.FocusReason.TabFocusReason)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        pace = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(Qt.Key(event.key()))
        rows = self.shown_rows
        here = next((index for index, row in enumerate(rows) if row.hasFocus()), None)
        if pace is None or here is None:
            super().keyPressEvent(event)
        else:
            rows[max(0, min(len(rows) - 1, here + pace))].setFocus(Qt.FocusReason.TabFocusReason)


class SizeLadder(Card):
    """Well-known sizes of model, each with the memory it needs by method, against this machine's."""

    def __init__(self) -> None:
        legend = QWidget()
        self._legend = QHBoxLayout(legend)
        self._legend.setContentsMargins(0, 0, 0, 0)
        self._legend.setSpacing(5)
        super().__init__("Which size fits this machine?", legend)
        self.filled = False
        self.drawing = SizeDrawing()
        self.body.addWidget(self.drawing)
        self.words = TextLabel("", "small", wrap=True)
        self.body.addWidget(self.words)
        self._said = ""
        self.drawing.pointed.connect(self._on_pointed)

    def show_sizes(self, rungs: list[Rung], memory: float) -> None:
        """Show one rung a size."""
        if not self.filled:
            for need in rungs[0].needs:
                self._legend.addWidget(MethodMark(need.method))
                self._legend.addWidget(TextLabel(need.method, "least"))
        self.filled = True
        self.drawing.show_rungs(rungs, memory)
        self._said = f"{largest_words(rungs)} With batch 1 and 1,024 tokens, by formula."
        self._on_pointed("")

    def _on_pointed(self, words: str) -> None:
        self.words.setText(words or self._said)
