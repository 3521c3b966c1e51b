"""Step 3: how the model is adapted, and how much of it."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QHBoxLayout, QWidget

from app import i18n
from app.pages.wizard.begin_card import BeginCard
from app.pages.wizard.fields import is_offered, step_of
from app.pages.wizard.method_advice import advice_of
from app.pages.wizard.methods import (
    MAIN,
    METHODS,
    OTHERS,
    has_field,
    later_method,
    method_values,
    obeys,
)
from app.pages.wizard.module_words import row_places, row_words
from app.pages.wizard.painter_card import PainterCard
from app.pages.wizard.state import WizardState
from app.pages.wizard.step import Step, take_focus
from app.theme.icons import set_icon
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.form import LEVELS, FieldRow, Form
from app.widgets.label import TextLabel, set_tip
from app.widgets.method_drawing import MethodDrawing
from app.widgets.module_map import BoxState, MapBox, ModulesEditor
from app.widgets.option_card import OptionCard, OptionRow
from app.widgets.plan_figures import VERDICTS, Advice
from app.widgets.rank_editor import RankEditor
from engine.plan.rank_grid import RankGrid
from engine.plan.taken import fields_taken
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.fields import field_spec
from engine.recipe.method_names import TITLES, method_key
from engine.recipe.targets import ALL_LINEAR, named

# Shown at every level, for they are what their method is about.
OWN_FIELDS = frozenset({"adapter.target_r", "adapter.oft_block_size", "model.load_in_4bit"})
ADVANCED = (
    "adapter.init_lora_weights",
    "adapter.use_rslora",
    "adapter.bias",
    "adapter.modules_to_save",
    "adapter.layers_to_transform",
    "adapter.rank_pattern",
    "adapter.alpha_pattern",
    "training.gradient_checkpointing",
    "model.load_in_8bit",
    "model.dtype",
    "model.bnb_4bit_quant_type",
    "model.bnb_4bit_use_double_quant",
)


TAKEN, UNKNOWN = "Taken from the adapter.", "Known once the adapter can be read with this base."
NOT_TAKEN = "Not with this adapter"


class MethodStep(Step):
    """Cards of the methods, the fields of the chosen one, its modules as a block, and the painter."""

    name = "method"

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        self._left: dict[str, Any] = {}  # what a method chosen since does not obey, for the way back
        self._boxes: RankGrid | None = None
        self._opened = False
        self.begin = BeginCard(state)
        self.column.addWidget(self.begin)
        self.column.addWidget(self._build_methods())
        self.adapter = self._build_adapter()
        self.column.addWidget(self.adapter)
        self.painter = PainterCard(state)
        self.column.addWidget(self.painter)
        self.advanced, _ = self.form_card("Advanced", ADVANCED)
        self.column.addWidget(self.advanced)
        self.column.addStretch(1)
        self._connect()
        self.set_level("simple")
        self.show_method()
        self.show_model()
        self._show_taken()

    # -- building ------------------------------------------------------------------------------------------
    def _build_methods(self) -> Card:
        card = Card("How to adapt the model")
        self.options, self.others = OptionRow(MAIN), OptionRow(OTHERS)
        self.cards: dict[str, OptionCard] = {**self.options.cards, **self.others.cards}
        for name, option in self.cards.items():
            drawing = MethodDrawing(name)
            if name in self.options.cards:
                option.head.addWidget(drawing)
            else:
                # Five in a row have no room beside the title, and are narrower than a label asks for.
                option.column.insertWidget(0, drawing)
                option.sentence.setMinimumWidth(1)
                option.figures.setMinimumWidth(1)
            option.set_available(not later_method(name))
        card.body.addWidget(self.options)
        self.more = button("Other methods", "chevron-down", "link", on_click=self._on_more_pressed)
        card.body.addWidget(self.more)
        card.body.addWidget(self.others)
        self.base = self.add_form(Form([field_spec("model.load_in_4bit")], self.rules))
        card.body.addWidget(self.base)
        return card

    def _build_adapter(self) -> Card:
        card = Card("Adapter")
        form = Form([], self.rules)
        rank, targets = field_spec("adapter.r"), field_spec("adapter.target_modules")
        form.add_row(FieldRow(rank, self.rules, RankEditor(rank), hint=""))
        form.add_row(FieldRow(field_spec("adapter.target_r"), self.rules))
        form.add_row(self._alpha_row())
        form.add_row(FieldRow(field_spec("adapter.oft_block_size"), self.rules))
        form.add_row(FieldRow(field_spec("adapter.lora_dropout"), self.rules, hint=""))
        self.modules = ModulesEditor(targets)
        form.add_row(FieldRow(targets, self.rules, self.modules, hint=""))
        form.add_widget(self.modules.map)
        self.add_form(form)
        card.body.addWidget(form)
        return card

    def _alpha_row(self) -> FieldRow:
        beside = QWidget()
        row = QHBoxLayout(beside)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        self.link = button("", "link", "ghost", on_click=self._on_link_pressed)
        self.scaling = TextLabel("", "small")
        row.addWidget(self.link)
        row.addWidget(self.scaling)
        return FieldRow(field_spec("adapter.lora_alpha"), self.rules, hint="", beside=beside)

    def _connect(self) -> None:
        for options in (self.options, self.others):
            options.chosen.connect(self._on_method_chosen)
            options.hovered.connect(self._on_method_hovered)
        self.modules.toggled.connect(self.painter.toggle_row)
        self.modules.map.looked_at.connect(self._on_module_looked_at)
        self.modules.stray_dropped.connect(self._on_stray_dropped)
        self.state.model_changed.connect(self.show_model)
        self.state.plan_changed.connect(self.show_plans)
        self.begin.changed.connect(self._show_taken)

    # -- showing -------------------------------------------------------------------------------------------
    @property
    def method(self) -> str:
        """Return the card that the recipe stands on: lora, qlora, full, dora, adalora, vera, ia3 or oft."""
        return method_key(self.state.recipe)

    def set_level(self, level: str) -> None:
        super().set_level(level)
        self.begin.set_level(level)
        self._show_fields()

    def _show_fields(self) -> None:
        """Show only the fields that the chosen method obeys, and of those the ones of the level."""
        recipe = self.state.recipe
        for path, row in self.rows.items():
            told = path in OWN_FIELDS or row.spec.level in LEVELS[self.level]
            row.setVisible(bool(row.fault) or (told and is_offered(row.spec) and has_field(recipe, path)))
        self.base.setVisible(not self.rows["model.load_in_4bit"].isHidden())
        self.adapter.setVisible(recipe.adapter.method != "full")
        self.advanced.setVisible(any(not self.rows[path].isHidden() for path in ADVANCED))
        among = self.method in self.others.cards
        shown = among or self._opened or self.level == "all"
        self.others.setVisible(shown)
        self.more.setVisible(not among and self.level != "all")
        set_icon(self.more, "chevron-up" if shown else "chevron-down", "accent")

    def on_values(self, paths: frozenset[str]) -> None:
        if any(step_of(path) == "method" for path in paths):
            self.show_method()
            self._show_fields()
            self._show_modules()

    def show_method(self) -> None:
        """Show the chosen method, the link of alpha and the scaling."""
        self.options.choose(self.method)
        self.others.choose(self.method)
        linked = self.state.alpha_linked
        set_icon(self.link, "link" if linked else "unlink", "accent" if linked else "dim")
        words = (
            "Alpha follows 2 x rank; press to set it by itself"
            if linked
            else "Press to keep alpha at 2 x rank"
        )
        self.link.setAccessibleName(words)
        set_tip(self.link, words)
        rank, alpha = self.state.value("adapter.r"), self.state.value("adapter.lora_alpha")
        scaling = alpha / rank**0.5 if self.state.value("adapter.use_rslora") else alpha / rank
        kept = "kept at 2 × r · " if linked else ""
        self.scaling.setText(f"{kept}scaling {i18n.number(scaling, 1 if scaling >= 0.1 else 3)}")

    def _show_taken(self) -> None:
        """Let what is the adapter's stand still while one is gone on with, and say whose it is."""
        taken = fields_taken(self.state.recipe.adapter.method) if self.begin.chosen else ()
        words = UNKNOWN if self.begin.beginning.error is not None else TAKEN
        for path, row in self.rows.items():
            row.lock(words if path in taken else "")
        for card in (self.modules, self.modules.map, self.painter, self.link):
            card.setEnabled(not taken)
        self.show_plans()

    def _not_taken(self, name: str) -> str:
        """Return why a method cannot be chosen beside the adapter that is gone on with, or an empty text."""
        adapter = self.state.recipe.adapter
        wanted = {"adapter.method": adapter.method, "adapter.use_dora": adapter.use_dora}
        differs = any(METHODS[name].get(path, value) != value for path, value in wanted.items())
        return NOT_TAKEN if self.begin.chosen and differs else ""

    def show_model(self) -> None:
        """Offer the modules of the chosen model."""
        self._show_modules()
        self.advice_changed.emit()

    def _show_modules(self) -> None:
        """Draw grid and block as the recipe has them, and say what they come to."""
        self.painter.refresh()
        grid, facts = self.painter.model, self.state.facts
        if grid is None or facts is None or self.method == "full":
            self.modules.show_words("Shown once a model is chosen.")
            self.modules.map.show_boxes([])
            self._boxes = None
            return
        if grid is not self._boxes:
            self._boxes = grid
            rows = enumerate(zip(row_words(grid), row_places(grid), grid.rows, strict=True))
            self.modules.map.show_boxes([MapBox(n, w, place, row.kind) for n, (w, place, row) in rows])
        ranks = self.painter.painter.ranks
        states = {}
        for number in range(len(grid.rows)):
            here = [rank for cell, rank in ranks.items() if cell[0] == number]
            used = [rank for rank in here if rank]
            states[number] = BoxState(len(used), len(here), min(used, default=0), max(used, default=0))
        self.modules.map.show_states(states, self.painter.ranked)
        self.modules.show_strays(grid.strays(named(self.state.value("adapter.target_modules"))))
        kinds = sum(1 for each in states.values() if each.used)
        adapted = sum(each.used for each in states.values())
        share = 100 * self.painter.trained / max(1, facts.parameters)
        self.modules.show_words(
            f"{kinds} kinds of module, {i18n.number(adapted)} in all · "
            f"{i18n.number(self.painter.trained)} trained, {i18n.number(share, 2)} %"
        )

    def show_plans(self) -> None:
        """Say on each card what its method would need."""
        plans = self.state.plans
        for name, card in self.cards.items():
            plan = plans.methods.get(name) if plans is not None else None
            later = later_method(name) or self._not_taken(name)
            card.set_available(not later)
            main = plan is not None and not later and name in self.options.cards
            device = plan.device_memory_bytes if plan is not None and main else None
            kind = VERDICTS.get(plan.verdict or "", ("", "ok"))[1] if plan is not None else "ok"
            card.show_need(plan.memory_bytes / device if plan is not None and device else None, kind)
            if later:
                need = f"Would need {i18n.size(plan.memory_bytes)}. " if plan and later != NOT_TAKEN else ""
                card.show_figures(f"{need}{later}.")
            elif plan is None:
                card.show_figures("")
            elif plan.verdict == "too_large":
                card.show_figures(f"{i18n.size(plan.memory_bytes)}: does not fit.", "bad")
            else:
                time = i18n.duration(plan.seconds) if plan.seconds and name in self.options.cards else ""
                size = i18n.size(plan.memory_bytes)
                parts, between = ((size, time), " · ")
                if plan.verdict == "tight":
                    parts, between = ((f"{size}: tight.", time), "\n")
                card.show_figures(between.join(filter(None, parts)))
        self.advice_changed.emit()

    def settled(self) -> bool:
        return not self.begin.beginning.busy

    def facts(self) -> str:
        words = TITLES[self.method]
        return f"{words} · r {self.state.value('adapter.r')}" if self._ranked() else words

    def _ranked(self) -> bool:
        return has_field(self.state.recipe, "adapter.r")

    def advice(self) -> list[Advice]:
        return advice_of(self.state)

    def focus_field(self, path: str) -> bool:
        """Go to the cards for the method itself, and for a field that the chosen method does not have."""
        if path == "adapter.path":
            self.begin.show()
            self._reveal(self.begin)
            take_focus(self.begin.choose_button)
            return True
        spec_here = path in self.rows and has_field(self.state.recipe, path)
        faulty = path in self.rows and bool(self.rows[path].fault)
        if not (spec_here or faulty) and step_of(path) == "method":
            self._opened = True
            self._show_fields()
            card = self.cards["dora" if path == "adapter.use_dora" else self.method]
            self._reveal(card)
            card.setFocus()
            return True
        return super().focus_field(path)

    # -- choosing ------------------------------------------------------------------------------------------
    def _on_method_chosen(self, name: str) -> None:
        """Change to a method; what the one before had set comes back when a method obeys it again."""
        values, before = method_values(self.state.recipe, name), self.method
        for option in AdapterOptions.model_fields:
            path = f"adapter.{option}"
            if obeys(before, path) and not obeys(name, path):
                self._left[path] = self.state.value(path)
        back = {
            path: value
            for path, value in self._left.items()
            if obeys(name, path) and not obeys(before, path) and path not in METHODS[name]
        }
        fault = self.state.set_values({**back, **values}, apart=True)
        if fault and back:
            fault = self.state.set_values(values, apart=True)
        if fault:
            self.cards[name].show_figures(fault, "bad")

    def _on_method_hovered(self, name: str) -> None:
        here = not name or name == self.method
        self.ghost_changed.emit(None if here else (TITLES[name], method_values(self.state.recipe, name)))

    def _on_module_looked_at(self, row: int) -> None:
        box = self.modules.map.boxes.get(row)
        values = self.painter.values_of_row(row) if box is not None else {}
        verb = "Without" if box is not None and box.isChecked() else "With"
        self.ghost_changed.emit((f"{verb} {box.box.words}", values) if box is not None and values else None)

    def _on_more_pressed(self) -> None:
        self._opened = not self._opened
        self._show_fields()

    def _on_link_pressed(self) -> None:
        self.state.set_alpha_linked(not self.state.alpha_linked)

    def _on_stray_dropped(self, name: str) -> None:
        left = [each for each in named(self.state.value("adapter.target_modules")) if each != name]
        self.state.set_value("adapter.target_modules", left or ALL_LINEAR)

    def _on_edited(self, path: str, value: Any) -> None:
        if path == "adapter.lora_alpha" and value != 2 * self.state.value("adapter.r"):
            self.state.alpha_linked = False
        super()._on_edited(path, value)
