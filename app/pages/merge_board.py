"""The arithmetic board: which adapters count how often, put together how, and what is made of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout

from app.i18n import size, tr
from app.merging import LEAST_WEIGHT, MOST_WEIGHT, Mixing, usable_method
from app.pages.merge_method import MergeMethod
from app.pages.merge_result import MergeResult
from app.theme.tokens import SERIES
from app.widgets.card import Card
from app.widgets.label import TextLabel, hairline
from app.widgets.weight_row import WeightRow
from engine.errors import EngineError
from engine.models.merging import Judgement


def token_of(place: int) -> str:
    """Return the colour of an adapter on the board."""
    return SERIES[place % len(SERIES)]


class MergeBoard(Card):
    """Weights, method and result, of one `Mixing`.

    Signals:
        changed: what is on the board is another mix now.
        refused: adapters that do not go together at all, as an EngineError.
    """

    changed = Signal()
    refused = Signal(object)

    def __init__(self) -> None:
        super().__init__(tr("Weights"))
        self.mixing = Mixing()
        self.judged: Judgement | None = None
        self._wanted = "linear"  # the method that a person chose; it comes back where it can be used again
        self.rows: list[WeightRow] = []
        self._rows = QVBoxLayout()
        self._rows.setSpacing(6)
        self.note = TextLabel("", "small", wrap=True)
        self.method, self.result = MergeMethod(), MergeResult()
        self.body.addLayout(self._rows)
        self.body.addWidget(self.note)
        self.body.addWidget(hairline())
        self.body.addWidget(self.method)
        self.body.addWidget(hairline())
        self.body.addWidget(self.result)
        self.body.addStretch(1)
        self.method.chosen.connect(self._on_method)
        self.method.numbers_changed.connect(self._on_numbers)
        self.result.changed.connect(self._on_result)

    @property
    def ready(self) -> bool:
        """Return whether the board can be merged as it stands."""
        judged = self.judged
        return bool(self.mixing.sources) and judged is not None and judged.methods[self.mixing.method] is None

    def show_mixing(self, mixing: Mixing) -> None:
        """Show other adapters."""
        self.mixing = mixing
        self._build_rows()
        self._judge()

    def set_busy(self, busy: bool) -> None:
        """Lock what a running merge was started with."""
        for part in (*self.rows, self.method, self.result):
            part.setEnabled(not busy)

    # -- rows ----------------------------------------------------------------------------------------------
    def _build_rows(self) -> None:
        for row in self.rows:
            self._rows.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows = []
        for place, source in enumerate(self.mixing.sources):
            facts = f"{source.adapter.label} · {size(source.adapter.bytes)}"
            row = WeightRow(source.name, facts, token_of(place), LEAST_WEIGHT, MOST_WEIGHT)
            row.show_weight(self.mixing.weights[place])
            row.changed.connect(lambda weight, place=place: self._on_weight(place, weight))
            row.removed.connect(lambda place=place: self.show_mixing(self.mixing.without(place)))
            self.rows.append(row)
            self._rows.addWidget(row)
        said = [
            tr("{name}: not used from its file: {fields}.").format(name=source.name, fields=source.note)
            for source in self.mixing.sources
            if source.note
        ]
        self.note.setText(" ".join(said))
        self.note.setHidden(not said)

    def _on_weight(self, place: int, weight: float) -> None:
        weights = list(self.mixing.weights)
        weights[place] = weight
        self.mixing = replace(self.mixing, weights=tuple(weights))
        self.changed.emit()

    # -- method and result ---------------------------------------------------------------------------------
    def _on_method(self, name: str) -> None:
        self._wanted = name
        self._judge()

    def _on_numbers(self) -> None:
        self.mixing = replace(self.mixing, **self.method.numbers())
        self._judge()

    def _on_result(self) -> None:
        chosen: dict[str, Any] = {"adapter_only": self.result.adapter_only, "dtype": self.result.dtype}
        self.mixing = replace(self.mixing, **chosen)
        self._judge()

    def _judge(self) -> None:
        """Ask the engine what each method makes of the board, and show it."""
        self.judged = None
        try:
            if self.mixing.sources:
                self.judged = self.mixing.judged()
        except EngineError as error:
            self.refused.emit(error)
        if self.judged is not None:
            method = usable_method(self.judged, self._wanted)
            self.mixing = replace(self.mixing, method=method)
            self.method.show_judged(self.judged, method, self._wanted)
        self.result.show_result(self.mixing, self.judged)
        self.changed.emit()
