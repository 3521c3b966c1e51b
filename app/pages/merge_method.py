"""How adapters are put together: a card for each method, what refuses it, and the numbers it uses."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QSpinBox, QVBoxLayout, QWidget

from app.i18n import tr
from app.merging import refusals
from app.theme.style import current_theme
from app.widgets.dial_row import DialRow
from app.widgets.flow import FlowLayout
from app.widgets.label import TextLabel, set_tip
from app.widgets.mix_drawing import MixDrawing
from app.widgets.option_card import OptionCard
from engine.models.adapter_facts import MAX_RANK
from engine.models.merging import DENSITY, DRAWN, METHODS, THINNING, Judgement

WORDS = {
    "linear": "The weighted sum of what the adapters add.",
    "cat": "The same sum, exact for any ranks; as an adapter the ranks add up.",
    "svd": "Of the sum, the largest directions that one rank can hold.",
    "ties": "Keeps the largest values, lets signs vote, sums those that agree.",
    "dare_linear": "Drops values by lot, scales the others up, sums them.",
    "dare_ties": "Drops values by lot, then lets signs vote.",
    "magnitude_prune": "Keeps the largest values of each, then sums them.",
}
MOST_SEED = 2**31 - 1


class MergeMethod(QWidget):
    """Cards and numbers.

    Signals:
        chosen: the name of a method.
        numbers_changed: density, seed or rank are others now.
    """

    chosen = Signal(str)
    numbers_changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 2, 0, 2)
        column.setSpacing(8)
        column.addWidget(TextLabel(tr("Method"), "heading"))
        holder = QWidget()
        policy = holder.sizePolicy()
        policy.setHeightForWidth(True)
        holder.setSizePolicy(policy)
        flow = FlowLayout(holder, spacing=8)
        self.cards: dict[str, OptionCard] = {}
        self._drawings: dict[str, MixDrawing] = {}
        for name in METHODS:
            flow.addWidget(self._build_card(name))
        self._fit_cards()
        current_theme().changed.connect(self._fit_cards)
        column.addWidget(holder)
        self.words = TextLabel("", "small", wrap=True)
        column.addWidget(self.words)
        column.addWidget(self._build_numbers())

    def _build_card(self, name: str) -> OptionCard:
        theme = current_theme()
        card = OptionCard(name, tr(WORDS[name]))
        card.sentence.hide()
        card.figures.hide()
        card.column.setContentsMargins(theme.px(9), theme.px(8), theme.px(9), theme.px(6))
        card.title.set_role("small_text")
        drawing = MixDrawing(name)
        card.column.insertWidget(0, drawing, 0, Qt.AlignmentFlag.AlignHCenter)
        card.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        card.pressed.connect(lambda: self.chosen.emit(name))
        self.cards[name], self._drawings[name] = card, drawing
        return card

    def _fit_cards(self) -> None:
        """Make all cards as wide as the longest name needs."""
        theme = current_theme()
        widest = max(theme.metrics("small").horizontalAdvance(name) for name in METHODS)
        for card in self.cards.values():
            card.setFixedWidth(widest + theme.px(24))

    def _build_numbers(self) -> QWidget:
        self.numbers_row = QWidget()
        row = QHBoxLayout(self.numbers_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(16)
        tip = tr("The share of values that stay")
        self.density = DialRow(tr("Density"), lambda value: f"{value / 100:.2f}", "0.00", tip)
        self.density.show_range(5, 100, round(DENSITY * 100), 10)
        self.density.rested.connect(lambda _: self.numbers_changed.emit())
        self.seed = QSpinBox()
        self.seed.setRange(0, MOST_SEED)
        self.rank = QSpinBox()
        self.rank.setRange(0, MAX_RANK)
        self.rank.setSpecialValueText(tr("largest"))
        for words, field in ((tr("Seed"), self.seed), (tr("Rank"), self.rank)):
            field.setAccessibleName(words)
            field.lineEdit().setAccessibleName(words)
            field.lineEdit().setTextMargins(current_theme().px(8), 0, 0, 0)
            field.setKeyboardTracking(False)
            field.setFixedWidth(current_theme().px(96))
            field.valueChanged.connect(lambda _: self.numbers_changed.emit())
        self.seed_holder = _labelled(tr("Seed"), self.seed, tr("Draws what is kept; the same seed, the same"))
        self.rank_holder = _labelled(tr("Rank"), self.rank, tr("Of the result; 0 is the largest of them"))
        row.addWidget(self.density, 1)
        row.addWidget(self.seed_holder)
        row.addWidget(self.rank_holder)
        row.addStretch(1)
        return self.numbers_row

    def numbers(self) -> dict[str, Any]:
        """Return density, seed and svd_rank as they stand."""
        return {
            "density": self.density.slider.value() / 100,
            "seed": self.seed.value(),
            "svd_rank": self.rank.value() or None,
        }

    def show_judged(self, judged: Judgement, method: str, wanted: str) -> None:
        """Grey what cannot be used, with the reason and the way out; show the numbers of the method."""
        for name, card in self.cards.items():
            reason = judged.methods[name]
            card.set_available(reason is None)
            card.set_chosen(name == method)
            self._drawings[name].set_faint(reason is not None)
            said = tr(WORDS[name]) if reason is None else _sentence(reason)
            set_tip(card, said)
            card.setAccessibleDescription(said)
        first = tr(WORDS[method])
        if method != wanted:
            first += " " + tr("It was taken in place of {wanted}.").format(wanted=wanted)
        lines = [first]
        lines += [f"{', '.join(names)}: {reason}" for names, reason in refusals(judged)]
        self.words.setText("\n".join(lines))
        self.density.setVisible(method in THINNING)
        self.seed_holder.setVisible(method in DRAWN)
        self.rank_holder.setVisible(method == "svd")
        self.numbers_row.setVisible(method in THINNING or method == "svd")


def _sentence(reason: str) -> str:
    return tr("Not here: {reason}").format(reason=reason)


def _labelled(words: str, field: QWidget, tip: str) -> QWidget:
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(8)
    row.addWidget(TextLabel(words, "small"))
    row.addWidget(field)
    set_tip(field, tip)
    return holder
