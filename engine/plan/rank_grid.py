"""The adapter as a grid of modules by layers: read from a recipe, and written back as its fields.

A row is a kind of module (`self_attn.q_proj`), a column is a layer, a last column holds modules outside all
layers. What is written trains exactly the painted cells by peft's rules for names: a kind that is adapted
in all layers by its name, one that is adapted in some by the names of those modules (`layers.3.self_attn.
q_proj`). The keys of one pattern never take the same module twice, because peft sorts them when it saves.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.models.facts import Linear, ModelFacts, is_head
from engine.plan.adapter_size import Number, adapted_linears, head_of, pattern_values
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.targets import ALL_LINEAR, GROUPS, fits, in_group

Cell = tuple[int, int]
_INSIDE = re.compile(r"^(?P<stack>(?:.*?\.)?)(?P<start>layers|h|blocks|layer)\.\d+\.(?P<kind>.+)$")


@dataclass(frozen=True)
class Row:
    """One kind of module: its path inside a layer, and the one name that takes all of it and nothing else.

    `target` is empty where no such name exists; its modules are then named one by one.
    """

    kind: str
    target: str

    @property
    def leaf(self) -> str:
        """Return the last part of the kind's name, such as q_proj."""
        return self.kind.rpartition(".")[2]


@dataclass(frozen=True)
class RankGrid:
    """The cells of a model: `modules` holds those that exist; `outside` is the last column, or -1.

    `names` are the shortest usual names, from the list of layers on, that take one module alone; `ends` are
    all the ends that names have.
    """

    rows: tuple[Row, ...]
    layers: int
    outside: int
    modules: Mapping[Cell, Linear]
    names: Mapping[Cell, str]
    ends: frozenset[str]

    @property
    def columns(self) -> int:
        """Return the number of columns: the layers, and one more where modules stand outside of them."""
        return self.layers + (1 if self.outside >= 0 else 0)

    @staticmethod
    def of(facts: ModelFacts) -> RankGrid:
        """Return the grid of a model, its output head included, which `all-linear` leaves out."""
        linears = [*facts.linears, Linear(head_of(facts), facts.hidden_size, facts.vocab_size)]
        places: dict[tuple[str, str], dict[int, Linear]] = {}
        for linear in linears:
            column = facts.layers if linear.layer is None else linear.layer
            places.setdefault(_place_of(linear), {})[column] = linear
        ordered = sorted(places, key=lambda place: facts.layers in places[place])
        rows = tuple(Row(place[1], _target_of(place[1], places[place], linears)) for place in ordered)
        modules = {(n, c): linear for n, place in enumerate(ordered) for c, linear in places[place].items()}
        outside = facts.layers if any(linear.layer is None for linear in linears) else -1
        ends = _ends_of(modules.values())
        return RankGrid(rows, facts.layers, outside, modules, _short_names(modules, ends), frozenset(ends))

    def strays(self, entries: Iterable[str]) -> list[str]:
        """Return the entries of `target_modules` that mean no module of this model."""

        def means_any(entry: str) -> bool:
            if entry in GROUPS:
                return any(in_group(row.kind, entry) for row in self.rows)
            return entry == ALL_LINEAR or entry in self.ends

        return [entry for entry in entries if not means_any(entry)]

    def ranks(self, facts: ModelFacts, adapter: AdapterOptions) -> dict[Cell, int]:
        """Return the rank of every cell, 0 where no adapter is."""
        adapted = {linear.name: rank for linear, rank in adapted_linears(facts, adapter)}
        return {cell: adapted.get(linear.name, 0) for cell, linear in self.modules.items()}

    def fields(
        self, before: Mapping[Cell, int], after: Mapping[Cell, int], adapter: AdapterOptions, linked: bool
    ) -> dict[str, Any]:
        """Return the fields that train exactly the cells of `after` with their ranks.

        A cell whose rank stays keeps its alpha; a painted one gets twice its rank where alpha is `linked`.
        """
        r = _usual_rank(after, adapter.r)
        names = [self.modules[cell].name for cell in after]
        present = pattern_values(adapter.alpha_pattern, names, adapter.lora_alpha)
        alphas: dict[Cell, int | float] = dict(zip(after, present, strict=True))
        alpha = 2 * r if linked and r != adapter.r else adapter.lora_alpha
        if linked:
            alphas |= {cell: 2 * rank for cell, rank in after.items() if rank and rank != before.get(cell)}
        used = {cell for cell, rank in after.items() if rank}
        return {
            **self.places(after),
            "adapter.r": r,
            "adapter.lora_alpha": alpha,
            "adapter.rank_pattern": self._pattern({cell: after[cell] for cell in used}, r),
            "adapter.alpha_pattern": self._pattern({cell: alphas[cell] for cell in used}, alpha),
        }

    def places(self, ranks: Mapping[Cell, int]) -> dict[str, Any]:
        """Return the fields that adapt exactly the cells whose rank is not 0, whatever their ranks."""
        used = {cell for cell, rank in ranks.items() if rank}
        layers = {column for _, column in used if column != self.outside}
        outside = {row for row, column in used if column == self.outside}
        active = sorted({row for row, _ in used})
        even = all(
            ((row, column) in used) == (column in layers)
            for row, column in self.modules
            if row in active and column != self.outside
        )
        every = all(
            column in layers for row, column in self.modules if row in active and column != self.outside
        )
        if not even or (outside and not every) or any(not self.rows[row].target for row in active):
            return self._named(used, active)
        inner = {row for row, column in self.modules if not is_head(self.rows[row].kind)}
        if not every:
            inner = {row for row, column in self.modules if column != self.outside}
        names = [self.rows[row].target for row in active]
        return {
            "adapter.target_modules": ALL_LINEAR if set(active) == inner else names,
            "adapter.layers_to_transform": None if every else sorted(layers),
        }

    def _named(self, used: set[Cell], active: list[int]) -> dict[str, Any]:
        names: list[str] = []
        for row in active:
            columns = {column for each, column in self.modules if each == row}
            chosen = sorted(column for each, column in used if each == row)
            if self.rows[row].target and set(chosen) == columns:
                names.append(self.rows[row].target)
            else:
                names += [self.names[row, column] for column in chosen]
        return {"adapter.target_modules": names, "adapter.layers_to_transform": None}

    def _pattern(self, values: Mapping[Cell, Number], usual: Number) -> dict[str, Number]:
        """Return the keys for all cells whose value is not the usual one; no two of them take one module."""
        pattern: dict[str, Number] = {}
        for number, row in enumerate(self.rows):
            here = {column: value for (each, column), value in values.items() if each == number}
            kinds = set(here.values())
            if len(kinds) == 1 and row.target:
                if kinds != {usual}:
                    pattern[row.target] = kinds.pop()
                continue
            pattern |= {self.names[number, c]: v for c, v in sorted(here.items()) if v != usual}
        return pattern


def _ends_of(linears: Iterable[Linear]) -> Counter[str]:
    ends: Counter[str] = Counter()
    for linear in linears:
        parts = linear.name.split(".")
        ends.update(".".join(parts[n:]) for n in range(len(parts)))
    return ends


def _short_names(modules: Mapping[Cell, Linear], ends: Counter[str]) -> dict[Cell, str]:
    found = {}
    for cell, linear in modules.items():
        inside = _INSIDE.match(linear.name)
        short = linear.name if inside is None else linear.name[inside.start("start") :]
        found[cell] = short if ends[short] == 1 else linear.name
    return found


def _place_of(linear: Linear) -> tuple[str, str]:
    """Return the stack of layers a module is in and its path inside its layer."""
    found = _INSIDE.match(linear.name)
    if linear.layer is None or found is None:
        return "", linear.name
    return found["stack"], found["kind"]


def _target_of(kind: str, here: Mapping[int, Linear], linears: list[Linear]) -> str:
    """Return the shortest end of the kind's path that takes these modules and no others."""
    names = {linear.name for linear in here.values()}
    parts = kind.split(".")
    for count in range(1, len(parts) + 1):
        end = ".".join(parts[-count:])
        if {linear.name for linear in linears if fits(linear.name, end)} == names:
            return end
    return ""


def _usual_rank(ranks: Mapping[Cell, int], present: int) -> int:
    """Return the recipe's rank while any cell has it, else the one most cells have."""
    counts = Counter(rank for rank in ranks.values() if rank)
    if not counts or present in counts:
        return present
    return max(counts, key=lambda rank: (counts[rank], -rank))
