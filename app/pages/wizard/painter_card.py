"""The painter in the method step: which module of which layer is adapted, with what rank, at what cost."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QHBoxLayout

from app import i18n
from app.pages.wizard.fields import counted
from app.pages.wizard.module_words import row_words
from app.pages.wizard.state import WizardState
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.rank_brush import RankBrush
from app.widgets.rank_painter import Cell, PainterGrid, RankPainter, Spot
from engine.models.facts import ModelFacts
from engine.plan.adapter_size import module_parameters, trainable_parameters
from engine.plan.rank_grid import RankGrid
from engine.recipe.adapter_options import AdapterOptions

# Methods whose modules have a rank of their own; the others are painted on and off.
RANKED = ("lora",)
OWN_TERMS = ("adapter", "gradients", "optimizer")
RANK_KEYS = "Drag to paint, the right button leaves out. Keys: arrows, Space, + −, R row, C layer, P pick."
PLAIN_KEYS = "Drag to take in or leave out. Keys: arrows, Space, 0 leaves out, R row, C layer."


class PainterCard(Card):
    """Brush, grid, and what the pointed place and the whole cost."""

    def __init__(self, state: WizardState) -> None:
        self.undo = button("Undo", "undo", "ghost", compact=True, tip="Take the last change back (Ctrl+Z)")
        super().__init__("Rank of each module in each layer", self.undo)
        self.state = state
        self.model: RankGrid | None = None
        self._facts: ModelFacts | None = None
        self._shown: tuple[Any, Any] = (None, None)
        self._costs: dict[tuple[int, int, int], int] = {}
        self.trained = 0  # values that are trained in all, as the grid is painted now
        self._beside = 0  # what is trained beside the cells: modules whole, biases
        self._spot: Spot | None = None
        self.brush = RankBrush()
        self.body.addWidget(self.brush)
        self.painter = RankPainter()
        self.body.addWidget(self.painter)
        below = QHBoxLayout()
        below.setSpacing(12)
        self.here = ElidedLabel("", "small_text")
        self.whole = TextLabel("", "small_text")
        below.addWidget(self.here, 1)
        below.addWidget(self.whole)
        self.body.addLayout(below)
        self.keys = TextLabel("", "least", wrap=True)
        self.body.addWidget(self.keys)
        self._connect()

    def _connect(self) -> None:
        self.undo.clicked.connect(self._on_undo_pressed)
        self.brush.chosen.connect(self._on_brush_chosen)
        self.painter.picked.connect(self._on_picked)
        self.painter.painted.connect(self._on_painted)
        self.painter.stroked.connect(self._say_costs)
        self.painter.pointed.connect(self._on_pointed)
        self.state.plan_changed.connect(self._on_plan_changed)

    # -- showing -------------------------------------------------------------------------------------------
    @property
    def ranked(self) -> bool:
        """Say whether the chosen method lets every module have its own rank."""
        return self.adapter.method in RANKED

    @property
    def adapter(self) -> AdapterOptions:
        """Return the adapter section as it is."""
        return self.state.recipe.adapter

    def refresh(self) -> None:
        """Show model and recipe as they are now; does nothing when neither has changed."""
        facts, adapter = self.state.facts, self.adapter
        self.setVisible(facts is not None and adapter.method != "full")
        if facts is None or adapter.method == "full" or self._shown == (facts, adapter):
            return
        if facts is not self._facts:
            self._facts, self.model = facts, RankGrid.of(facts)
            self.painter.show_grid(_painter_grid(self.model))
        before = self._shown[1]
        if before is None or (self.brush.rank == before.r and adapter.r != before.r):
            self._take_brush(adapter.r)  # the brush is the recipe's rank until another is taken
        self._shown = (facts, adapter)
        self._costs = {}
        self.set_title("Rank of each module in each layer" if self.ranked else "Modules and layers")
        self.brush.setVisible(self.ranked)
        self.keys.setText(RANK_KEYS if self.ranked else PLAIN_KEYS)
        self._show_ranks(facts)

    def _show_ranks(self, facts: ModelFacts) -> None:
        if self.model is None:
            return
        ranks = self.model.ranks(facts, self.adapter)
        inside = sum(self.cost(cell, rank) for cell, rank in ranks.items())
        self._beside = trainable_parameters(facts, self.adapter) - inside
        self.painter.show_ranks(ranks, self.ranked)
        self._say_costs(ranks)

    # -- costs ---------------------------------------------------------------------------------------------
    def cost(self, cell: Cell, rank: int) -> int:
        """Return how many values a cell trains at a rank, by the engine's own count."""
        if not rank or self.model is None:
            return 0
        linear = self.model.modules[cell]
        key = (cell[0], linear.in_features + linear.out_features, rank)
        if key not in self._costs:
            self._costs[key] = module_parameters(linear, rank, self.adapter)
        return self._costs[key]

    @property
    def bytes_each(self) -> float:
        """Return the memory of one trained value with gradient and optimizer, by the present plan."""
        plans = self.state.plans
        if plans is None or not plans.now.trainable_parameters:
            return 0.0
        return sum(plans.now.terms.get(name, 0.0) for name in OWN_TERMS) / plans.now.trainable_parameters

    def _say_costs(self, ranks: dict[Cell, int]) -> None:
        if self.model is None or self._facts is None:
            return
        columns: dict[int, float] = {}
        for cell, rank in ranks.items():
            columns[cell[1]] = columns.get(cell[1], 0.0) + self.cost(cell, rank)
        self.painter.show_costs(columns)
        used = sum(1 for rank in ranks.values() if rank)
        self.trained = trained = self._beside + round(sum(columns.values()))
        parts = [f"{counted(used, 'module', 'modules')} · {i18n.number(trained)} trained"]
        if self.bytes_each:
            parts.append(i18n.size(trained * self.bytes_each))
        self.whole.setText(" · ".join(parts))
        self._say_here(ranks)

    def _say_here(self, ranks: dict[Cell, int]) -> None:
        spot = self._spot
        if spot is None or self.model is None:
            self.here.setText("")
            return
        cells = self.painter.cells_of(spot)
        trained = sum(self.cost(cell, ranks.get(cell, 0)) for cell in cells)
        words = [_spot_words(spot, self.painter.grid)]
        if spot.row >= 0 and spot.column >= 0:
            rank = ranks.get((spot.row, spot.column), 0)
            words.append("left out" if not rank else f"rank {rank}" if self.ranked else "adapted")
        if trained:
            words.append(f"{i18n.number(trained)} trained")
            words += [i18n.size(trained * self.bytes_each)] if self.bytes_each else []
        self.here.setText(" · ".join(words))

    # -- what the person does ------------------------------------------------------------------------------
    def _on_pointed(self, spot: Spot | None) -> None:
        self._spot = spot
        self._say_here(self.painter.ranks)

    def _on_undo_pressed(self) -> None:
        self.state.undo()

    def _on_plan_changed(self) -> None:
        self._say_costs(self.painter.ranks)

    def _on_brush_chosen(self, rank: int) -> None:
        self.painter.set_brush(rank)

    def _on_picked(self, rank: int) -> None:
        self._take_brush(rank)

    def _take_brush(self, rank: int) -> None:
        self.brush.show_rank(rank)
        self.painter.set_brush(rank)

    def _on_painted(self, ranks: dict[Cell, int]) -> None:
        self.write(ranks)

    def toggle_row(self, row: int) -> None:
        """Take a kind of module in wherever it is not adapted yet, or leave it out everywhere."""
        if self.model is not None:
            self.write(self._toggled(row))

    def _toggled(self, row: int) -> dict[Cell, int]:
        cells = [cell for cell in self.painter.ranks if cell[0] == row]
        used = all(self.painter.ranks[cell] for cell in cells)
        ranks = dict(self.painter.ranks)
        for cell in cells:
            ranks[cell] = 0 if used else ranks[cell] or self.adapter.r
        return ranks

    def values_of_row(self, row: int) -> dict[str, Any]:
        """Return the fields that toggling a kind of module would set; empty where it cannot be."""
        ranks = self._toggled(row)
        return self._values(ranks) if any(ranks.values()) else {}

    def write(self, ranks: dict[Cell, int]) -> None:
        """Put the painted grid into the recipe as one change; an empty grid is refused."""
        if self.model is None or self._facts is None:
            return
        if not any(ranks.values()):
            self._show_ranks(self._facts)
            self.here.setText("At least one module has to stay.")
            return
        fault = self.state.set_values(self._values(ranks), apart=True)
        if fault:
            self.here.setText(fault)

    def _values(self, ranks: dict[Cell, int]) -> dict[str, Any]:
        if self.model is None or self._facts is None:
            return {}
        if not self.ranked:
            return self.model.places(ranks)
        before = self.model.ranks(self._facts, self.adapter)
        return self.model.fields(before, ranks, self.adapter, self.state.alpha_linked)


def _painter_grid(model: RankGrid) -> PainterGrid:
    columns = [str(layer) for layer in range(model.layers)]
    return PainterGrid(
        tuple(row_words(model)),
        tuple(columns + [""] if model.outside >= 0 else columns),
        frozenset(model.modules),
    )


def _spot_words(spot: Spot, grid: PainterGrid) -> str:
    row = grid.rows[spot.row] if spot.row >= 0 else ""
    if spot.column < 0:
        return f"{row}, all layers" if row else "All modules"
    layer = f"layer {grid.columns[spot.column]}" if grid.columns[spot.column] else "outside the layers"
    return f"{row}, {layer}" if row else layer[0].upper() + layer[1:]
