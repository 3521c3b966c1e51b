"""The models on this computer as a list to choose from: what each is, and what training it needs here."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.fits import Fit
from app.pages.wizard.inquiries import ModelLine
from app.theme.style import current_theme
from app.widgets.card import Card
from app.widgets.label import TextLabel
from app.widgets.meter import Meter
from app.widgets.option_card import OptionCard
from app.widgets.pill import Pill
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
    """

    chosen = Signal(str)

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
    """Well-known sizes of model, each with the memory it needs, against this machine's."""

    def __init__(self) -> None:
        super().__init__("Which size fits this machine?")
        self.filled = False
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(14)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnStretch(1, 1)
        self.body.addLayout(self._grid)
        self.words = TextLabel("", "small", wrap=True)
        self.body.addWidget(self.words)

    def show_sizes(self, fits: list[Fit], memory: float) -> None:
        """Show one bar a size."""
        self.filled = True
        for row, fit in enumerate(fits):
            self._grid.addWidget(TextLabel(fit.name, "mono"), row, 0)
            bar = Meter(fit.bytes / memory, fit.token, 8, f"{fit.name} of this machine's memory")
            self._grid.addWidget(bar, row, 1)
            words = TextLabel(i18n.size(fit.bytes), "mono_dim")
            words.setAlignment(Qt.AlignmentFlag.AlignRight)
            words.set_token("bad" if fit.verdict == "too_large" else "dim")
            self._grid.addWidget(words, row, 2)
        self.words.setText(
            f"Memory of a run against {i18n.size(memory)}, with batch 1 and 1,024 tokens; rough estimates."
        )
