"""Step 4: how far each step goes, how many there are, what is measured and saved on the way."""

from __future__ import annotations

from app import i18n
from app.pages.wizard import processes
from app.pages.wizard.fields import counted
from app.pages.wizard.state import WizardState
from app.pages.wizard.step import Step
from app.pages.wizard.training_words import advice_of, optimizer_words, rate_line, schedule_words
from app.widgets.batch_blocks import BatchBlocks
from app.widgets.card import Card
from app.widgets.field_text import choice_words, write_number
from app.widgets.form import LEVELS, FieldRow, Form
from app.widgets.label import TextLabel
from app.widgets.plan_column import Advice
from app.widgets.schedule_editor import ScheduleEditor
from app.widgets.schedule_view import ScheduleView
from app.widgets.typed_editors import TypedEditor
from engine.recipe.combinations import WITH_B
from engine.recipe.fields import field_spec
from engine.recipe.schedules import SHAPE_FIELDS, warmup_of
from engine.recipe.training_options import TrainingOptions
from engine.recipe.uses import uses, usual_values

CURVE_POINTS, ICON_POINTS = 240, 40
STEPS_UNTIL_KNOWN = 200
SCHEDULE, OPTIMIZER = "training.lr_scheduler_type", "training.optim"
# Shown at every level where the chosen schedule uses them, for they are what it is about.
SHAPES = (
    "training.num_decay_steps",
    "training.decay_type",
    "training.num_cycles",
    "training.power",
    "training.min_lr_ratio",
    "training.timescale",
)
OPTIMIZER_FIELDS = (
    OPTIMIZER,
    "training.adam_beta1",
    "training.adam_beta2",
    "training.adam_epsilon",
    "training.momentum",
    "training.weight_decay",
    "training.max_grad_norm",
    "training.loraplus_lr_ratio",
    "training.neftune_noise_alpha",
)
MORE = (
    (
        "Numbers and memory",
        ("training.precision", "training.on_out_of_memory", "data.shuffle", "training.seed"),
    ),
    (
        "Measuring",
        (
            "evaluation.eval_steps",
            "evaluation.sample_prompts",
            "training.load_best_model_at_end",
            "training.early_stopping_patience",
            "training.early_stopping_threshold",
        ),
    ),
    ("Saving", ("checkpoint.save_steps", "checkpoint.save_total_limit")),
)


class TrainingStep(Step):
    """Learning rate with its curve, length, batch, and everything else under All options."""

    name = "training"

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        self._drawn: tuple[TrainingOptions, int] | None = None
        self.column.addWidget(self._build_rate())
        length, _ = self.form_card("How long", ("training.num_train_epochs", "training.max_steps"))
        self.length_words = TextLabel("", "small", wrap=True)
        length.body.addWidget(self.length_words)
        self.column.addWidget(length)
        self.column.addWidget(self._build_batch())
        optimizer, form = self.form_card("How each step is made", OPTIMIZER_FIELDS)
        self.more: list[Card] = [optimizer]
        self.column.addWidget(optimizer)
        for title, paths in MORE:
            card, _ = self.form_card(title, paths)
            self.more.append(card)
            self.column.addWidget(card)
        self.several, _ = self.form_card(processes.TITLE, processes.FIELDS)
        self.several_words = TextLabel("", "small", wrap=True)
        self.several.body.addWidget(self.several_words)
        self.column.addWidget(self.several)
        self.column.addStretch(1)
        self.schedule.warmup_pulled.connect(
            lambda share: self.state.set_value("training.warmup_steps", share)
        )
        state.plan_changed.connect(self.draw)
        state.data_changed.connect(self.draw)
        state.services.hardware.probed.connect(self._on_probed)
        self.set_level("simple")
        self.draw()

    def _build_rate(self) -> Card:
        card = Card("How far each step goes")
        self.schedule = ScheduleView()
        form = Form([field_spec("training.learning_rate")], self.rules)
        spec = field_spec(SCHEDULE)
        self.kinds = ScheduleEditor(spec, spec.choices)
        self.kinds.looked_at.connect(self._on_schedule_looked_at)
        form.add_row(FieldRow(spec, self.rules, self.kinds, hint=""))
        for path in ("training.warmup_steps", *SHAPES):
            form.add_row(FieldRow(field_spec(path), self.rules))
        self.add_form(form)
        card.body.addWidget(self.schedule)  # above its fields, where an open list does not hide it
        card.body.addWidget(form)
        return card

    def _build_batch(self) -> Card:
        card, form = self.form_card(
            "How many examples a step takes",
            ("training.per_device_train_batch_size", "training.gradient_accumulation_steps"),
        )
        self.blocks = BatchBlocks()
        self.batch_words = TextLabel("", "small", wrap=True)
        card.body.addWidget(self.blocks)
        card.body.addWidget(self.batch_words)
        return card

    def set_level(self, level: str) -> None:
        super().set_level(level)
        for card in self.more:
            card.setVisible(level == "all")
        self._show_fields()

    def _show_fields(self) -> None:
        """Show the fields that the chosen schedule, optimizer and method use, and of those the level's."""
        recipe = self.state.recipe
        for path, row in self.rows.items():
            section, _, name = path.partition(".")
            told = row.spec.level in LEVELS[self.level] or path in SHAPES
            told |= path in processes.OFFERED and processes.is_offered(self.state)
            used = section != "training" or uses(recipe.training, name)
            used &= processes.used_by(self.state, path)
            if path == "training.loraplus_lr_ratio":
                used = recipe.adapter.method in WITH_B
            row.setVisible(bool(row.fault) or (told and used))
        self.several.setVisible(self.level == "all" or processes.is_offered(self.state))
        usual = usual_values(recipe.training)
        for path, value in usual.items():
            editor = self.rows[path].editor
            if isinstance(editor, TypedEditor):
                editor.line.setPlaceholderText(write_number(value))

    def focus_field(self, path: str) -> bool:
        """Go to a field; to the schedule or the optimizer where the chosen one does not use it."""
        section, _, name = path.partition(".")
        if section == "training" and path in self.rows and not uses(self.state.recipe.training, name):
            among = name == "warmup_steps" or any(name in names for names in SHAPE_FIELDS.values())
            path = SCHEDULE if among else OPTIMIZER
        return super().focus_field(path)

    def _on_edited(self, path: str, value: object) -> None:
        if path != processes.STRATEGY:
            super()._on_edited(path, value)
        elif fault := self.state.set_values(processes.strategy_values(str(value))):
            self.state.set_unread(path, str(value), fault)

    def _on_probed(self, machine: object) -> None:
        self._show_fields()
        self.draw()
        self.advice_changed.emit()

    def on_values(self, paths: frozenset[str]) -> None:
        self._show_fields()
        self.draw()

    @property
    def total_steps(self) -> int | None:
        """Return the steps of the run where they are known."""
        plans = self.state.plans
        return plans.now.steps if plans is not None else self.state.value("training.max_steps")

    def draw(self) -> None:
        """Draw curve and blocks and say the numbers that follow from the fields."""
        recipe, steps = self.state.recipe, self.total_steps
        training, total = recipe.training, self._drawn_steps
        if (training, total) != self._drawn:  # most changes are of other fields, and ten curves take a while
            self._drawn = (training, total)
            self._draw_curves(training, total)
        known = "" if steps else " Drawn over 200 steps until the data is known."
        self.rows[SCHEDULE].set_hint(schedule_words(training, recipe.adapter.method) + known)
        plans = self.state.plans
        trained = plans.now.trainable_parameters if plans is not None else None
        self.rows[OPTIMIZER].set_hint(optimizer_words(recipe, trained))
        self._say_length(steps)
        self._say_batch()
        self.several_words.setText(processes.words_of(self.state))

    def _draw_curves(self, training: TrainingOptions, total: int) -> None:
        self.schedule.show_schedule(
            rate_line(training, total, CURVE_POINTS),
            total,
            warmup_of(training, total),
            training.lr_scheduler_type != "constant",
        )
        self.kinds.show_lines(
            {kind: self._line_of(kind, ICON_POINTS) for kind in self.rows[SCHEDULE].spec.choices}
        )

    @property
    def _drawn_steps(self) -> int:
        return self.total_steps or STEPS_UNTIL_KNOWN

    def _line_of(self, kind: str, count: int) -> list[tuple[int, float]]:
        options = self.state.recipe.training.model_copy(update={"lr_scheduler_type": kind})
        return rate_line(options, self._drawn_steps, count)

    def _on_schedule_looked_at(self, look: tuple[str] | None) -> None:
        kind = look[0] if look is not None else None
        same = kind in (None, self.state.recipe.training.lr_scheduler_type)
        self.schedule.show_other([] if same else self._line_of(str(kind), CURVE_POINTS))

    def _say_length(self, steps: int | None) -> None:
        data, training = self.state.data, self.state.recipe.training
        if steps is None or data is None:
            self.length_words.setText("The number of steps follows once the data is known.")
            return
        batch = training.per_device_train_batch_size * training.gradient_accumulation_steps
        passes = steps * batch * self.state.recipe.launcher.processes / max(1, data.train_examples)
        if training.max_steps is not None:
            words = f"{i18n.number(steps)} steps, about {i18n.number(passes, 1)} times through the data"
        else:
            words = f"{i18n.number(data.train_examples)} examples, {i18n.number(steps)} steps in all"
        self.length_words.setText(f"{words}.")

    def _say_batch(self) -> None:
        training, data = self.state.recipe.training, self.state.data
        batch, times = training.per_device_train_batch_size, training.gradient_accumulation_steps
        self.blocks.show_batch(batch, times)
        parts, rows = processes.product_of(self.state.recipe)
        whole = f"{parts} = {counted(rows, 'example', 'examples')} before each optimizer step"
        if data is not None and data.train_examples:
            tokens = rows * data.total_tokens / data.train_examples
            whole += f", about {i18n.number(round(tokens))} tokens"
        self.batch_words.setText(f"{whole}.")

    def facts(self) -> str:
        training = self.state.recipe.training
        epochs = training.num_train_epochs
        length = (
            f"{i18n.number(training.max_steps)} steps"
            if training.max_steps is not None
            else f"{epochs:g} {'epoch' if epochs == 1 else 'epochs'}"
        )
        return f"{length} · {choice_words(field_spec('training.optim'), training.optim)}"

    def advice(self) -> list[Advice]:
        return advice_of(self.state) + processes.advice_of(self.state)
