"""Step 3: how the model is adapted, and how much of it."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.fields import later_words, step_of
from app.pages.wizard.inquiries import METHODS
from app.pages.wizard.state import WizardState
from app.pages.wizard.step import Step
from app.theme.icons import set_icon
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.form import LABEL_WIDTH, FieldRow, Form
from app.widgets.label import TextLabel, set_tip
from app.widgets.layer_view import RankBars
from app.widgets.option_card import OptionRow
from app.widgets.plan_column import Advice
from app.widgets.rank_editor import ModulesEditor, RankEditor
from engine.plan.adapter_size import adapted_linears
from engine.recipe.fields import field_spec

OPTIONS = (
    ("lora", "LoRA", "The base as it is, small matrices beside it. Fastest."),
    ("qlora", "QLoRA", "The base in 4 bits (NF4). Least memory."),
    ("full", "Full", "Every weight is trained."),
)
ADVANCED = (
    "adapter.use_rslora",
    "adapter.init_lora_weights",
    "adapter.layers_to_transform",
    "adapter.rank_pattern",
    "adapter.alpha_pattern",
    "training.gradient_checkpointing",
    "model.dtype",
    "model.bnb_4bit_use_double_quant",
)


class MethodStep(Step):
    """Three option cards, the adapter's fields, the rank of every layer."""

    name = "method"

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        methods = Card("How to adapt the model")
        self.options = OptionRow(OPTIONS)
        later = later_words("adapter.method", "full")
        if later:
            self.options.cards["full"].set_available(False)
        methods.body.addWidget(self.options)
        self.column.addWidget(methods)
        self.column.addWidget(self._build_adapter())
        self.advanced, _ = self.form_card("Advanced", ADVANCED)
        self.column.addWidget(self.advanced)
        self.column.addStretch(1)
        self._connect()
        self.set_level("simple")
        self.show_method()
        self.show_model()

    def _build_adapter(self) -> Card:
        card = Card("Adapter")
        form = Form([], self.rules)
        rank = field_spec("adapter.r")
        form.add_row(FieldRow(rank, self.rules, RankEditor(rank), hint=""))
        form.add_row(self._alpha_row())
        form.add_row(FieldRow(field_spec("adapter.lora_dropout"), self.rules, hint=""))
        targets = field_spec("adapter.target_modules")
        self.modules = ModulesEditor(targets)
        self.targets = form.add_row(FieldRow(targets, self.rules, self.modules, hint=""))
        self.add_form(form)
        card.body.addWidget(form)
        card.body.addWidget(self._build_bars())
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

    def _build_bars(self) -> QWidget:
        place = QWidget()
        row = QHBoxLayout(place)
        row.setContentsMargins(0, 4, 0, 0)
        row.setSpacing(16)
        self.bars_label = TextLabel("Rank per layer", "body")
        self._fix_width()
        current_theme().changed.connect(self._fix_width)
        row.addWidget(self.bars_label)
        right = QVBoxLayout()
        right.setSpacing(3)
        self.bars = RankBars()
        self.bars_words = TextLabel("", "small")
        right.addWidget(self.bars)
        right.addWidget(self.bars_words)
        row.addLayout(right, 1)
        return place

    def _fix_width(self) -> None:
        self.bars_label.setFixedWidth(current_theme().px(LABEL_WIDTH))

    def _connect(self) -> None:
        self.options.chosen.connect(self._on_method_chosen)
        self.options.hovered.connect(self._on_method_hovered)
        self.bars.layer_toggled.connect(self._on_layer_toggled)
        self.state.model_changed.connect(self.show_model)
        self.state.plan_changed.connect(self.show_plans)

    # -- showing -------------------------------------------------------------------------------------------
    def set_level(self, level: str) -> None:
        super().set_level(level)
        self.advanced.setVisible(level == "all")
        self._show_four_bit_fields()

    def _show_four_bit_fields(self) -> None:
        row = self.rows["model.bnb_4bit_use_double_quant"]
        row.setVisible(self.level == "all" and bool(self.state.value("model.load_in_4bit")))

    def on_values(self, paths: frozenset[str]) -> None:
        if any(step_of(path) == "method" for path in paths):
            self.show_method()
            self._show_four_bit_fields()
            self._draw_ranks()

    @property
    def method(self) -> str:
        """Return lora, qlora or full, as the recipe says."""
        if self.state.value("adapter.method") == "full":
            return "full"
        return "qlora" if self.state.value("model.load_in_4bit") else "lora"

    def show_method(self) -> None:
        """Show the chosen method, the link of alpha and the scaling."""
        self.options.choose(self.method)
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

    def show_model(self) -> None:
        """Offer the modules of the chosen model."""
        facts = self.state.facts
        if facts is not None:
            self.modules.show_groups(list(facts.groups))
        self._draw_ranks()
        self.advice_changed.emit()

    def _draw_ranks(self) -> None:
        facts = self.state.facts
        if facts is None:
            self.bars.show_ranks([], 1.0)
            self.bars_words.setText("Shown once a model is chosen.")
            self.targets.set_hint("")
            return
        adapted = adapted_linears(facts, self.state.recipe.adapter)
        highest: dict[int, int] = {}
        for linear, rank in adapted:
            if linear.layer is not None:
                highest[linear.layer] = max(rank, highest.get(linear.layer, 0))
        ranks = [float(highest.get(layer, 0)) for layer in range(facts.layers)]
        # The height says how the rank stands to the usual ones; it would say nothing as a share of itself.
        self.bars.show_ranks(ranks, max(256.0, max(ranks, default=1.0)))
        used = sum(1 for rank in ranks if rank)
        self.bars_words.setText(
            f"layer 0 to {facts.layers - 1} · {used} of {facts.layers} adapted · "
            "press a bar to leave its layer out"
        )
        trained = sum(rank * (linear.in_features + linear.out_features) for linear, rank in adapted)
        kinds = len({linear.leaf for linear, _ in adapted})
        share = 100 * trained / max(1, facts.parameters)
        self.targets.set_hint(
            f"{kinds} kinds of module, {i18n.number(len(adapted))} in all · "
            f"{i18n.number(trained)} trainable parameters, {i18n.number(share, 2)} %"
        )

    def show_plans(self) -> None:
        """Say on each card what its method would need."""
        plans = self.state.plans
        for name, card in self.options.cards.items():
            if not card.available:
                card.show_figures(later_words("adapter.method", "full"), "dim")
                if plans is not None:
                    need = i18n.size(plans.methods[name].memory_bytes)
                    card.show_figures(f"Would need {need}. {later_words('adapter.method', 'full')}.")
                continue
            if plans is None:
                card.show_figures("")
                continue
            plan = plans.methods[name]
            memory = i18n.size(plan.memory_bytes)
            if plan.verdict == "too_large":
                card.show_figures(f"Needs {memory}: does not fit.", "bad")
            else:
                card.show_figures(
                    " · ".join(filter(None, (memory, plan.seconds and i18n.duration(plan.seconds))))
                )
        self.advice_changed.emit()

    def facts(self) -> str:
        words = {"lora": "LoRA", "qlora": "QLoRA", "full": "Full"}[self.method]
        return words if self.method == "full" else f"{words} · r {self.state.value('adapter.r')}"

    def advice(self) -> list[Advice]:
        found = []
        machine = self.state.services.hardware.machine
        if self.method == "qlora" and machine is not None and not machine.devices:
            text = "Without a GPU the 4-bit base saves little and computes slowly."
            press = ("Use LoRA", lambda: self._on_method_chosen("lora"))
            found.append(Advice("warn", "QLoRA is made for GPUs", text, press))
        if self.state.value("adapter.target_modules") == "all-linear":
            text = "Adapting attention and MLP layers learns more than attention alone."
            found.append(Advice("ok", "All linear layers adapted", text))
        return found

    def focus_field(self, path: str) -> bool:
        if path in ("adapter.method", "model.load_in_4bit"):
            card = self.options.cards[self.method]
            self._reveal(card)
            card.setFocus()
            return True
        return super().focus_field(path)

    # -- choosing ------------------------------------------------------------------------------------------
    def _on_method_chosen(self, name: str) -> None:
        self.state.set_values(METHODS[name])

    def _on_method_hovered(self, name: str) -> None:
        plans = self.state.plans
        ghost = None if not name or plans is None or name == self.method else plans.methods[name].memory_bytes
        self.ghost_changed.emit(ghost)

    def _on_link_pressed(self) -> None:
        self.state.set_alpha_linked(not self.state.alpha_linked)

    def _on_edited(self, path: str, value: Any) -> None:
        if path == "adapter.lora_alpha" and value != 2 * self.state.value("adapter.r"):
            self.state.alpha_linked = False
        super()._on_edited(path, value)

    def _on_layer_toggled(self, layer: int) -> None:
        facts = self.state.facts
        if facts is None:
            return
        kept = self.state.value("adapter.layers_to_transform")
        layers = set(range(facts.layers)) if kept is None else set(kept)
        layers ^= {layer}
        if layers:
            whole = len(layers) == facts.layers
            self.state.set_value("adapter.layers_to_transform", None if whole else sorted(layers))
