"""Step 4: how far each step goes, how many there are, what is measured and saved on the way."""

from __future__ import annotations

from app import i18n
from app.pages.wizard.state import WizardState
from app.pages.wizard.step import Step
from app.widgets.batch_blocks import BatchBlocks
from app.widgets.card import Card
from app.widgets.field_text import choice_words
from app.widgets.label import TextLabel
from app.widgets.plan_column import Advice
from app.widgets.schedule_view import ScheduleView
from engine.recipe.fields import field_spec
from engine.recipe.schedules import corners, learning_rate_at, warmup_of

CURVE_POINTS = 240
STEPS_UNTIL_KNOWN = 200
MORE = (
    ("Optimizer", ("training.optim", "training.weight_decay", "training.max_grad_norm")),
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
        rate, form = self.form_card(
            "How far each step goes",
            ("training.learning_rate", "training.lr_scheduler_type", "training.warmup_steps"),
        )
        self.schedule = ScheduleView()
        rate.body.addWidget(self.schedule)
        self.schedule_words = TextLabel("", "small", wrap=True)
        rate.body.addWidget(self.schedule_words)
        self.column.addWidget(rate)
        length, _ = self.form_card("How long", ("training.num_train_epochs", "training.max_steps"))
        self.length_words = TextLabel("", "small", wrap=True)
        length.body.addWidget(self.length_words)
        self.column.addWidget(length)
        self.column.addWidget(self._build_batch())
        self.more: list[Card] = []
        for title, paths in MORE:
            card, _ = self.form_card(title, paths)
            self.more.append(card)
            self.column.addWidget(card)
        self.column.addStretch(1)
        self.schedule.warmup_pulled.connect(
            lambda share: self.state.set_value("training.warmup_steps", share)
        )
        state.plan_changed.connect(self.draw)
        state.data_changed.connect(self.draw)
        self.set_level("simple")
        self.draw()

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

    def on_values(self, paths: frozenset[str]) -> None:
        self.draw()

    @property
    def total_steps(self) -> int | None:
        """Return the steps of the run where they are known."""
        plans = self.state.plans
        return plans.now.steps if plans is not None else self.state.value("training.max_steps")

    def draw(self) -> None:
        """Draw curve and blocks and say the numbers that follow from the fields."""
        training = self.state.recipe.training
        steps = self.total_steps
        total = steps or STEPS_UNTIL_KNOWN
        kind = training.lr_scheduler_type
        evenly = (1 + round(i * (total - 1) / CURVE_POINTS) for i in range(CURVE_POINTS + 1))
        chosen = sorted({*evenly, *corners(training, total)})
        points = [(step, learning_rate_at(step, total, training)) for step in chosen]
        self.schedule.show_schedule(points, total, warmup_of(training, total), kind != "constant")
        words = {
            "cosine": "Rises, then falls along a half cosine to zero.",
            "linear": "Rises, then falls in a straight line to zero.",
            "constant": "The same rate from the first step to the last; the warm-up is not used.",
            "constant_with_warmup": "Rises, then stays.",
            "warmup_stable_decay": "Rises, stays, and falls at the end.",
            "cosine_with_min_lr": "Rises, then falls along a half cosine to the lowest rate.",
            "cosine_with_restarts": "Rises, falls to zero, and starts again at the top.",
            "one_cycle": "Rises along a cosine to the top, then falls along one to nearly nothing.",
            "polynomial": "Rises, then falls along a bent line to the lowest rate.",
            "inverse_sqrt": "Rises, then falls ever more slowly and does not reach zero.",
        }[kind]
        known = "" if steps else " Drawn over 200 steps until the data is known."
        self.schedule_words.setText(words + known)
        self._say_length(steps)
        self._say_batch()

    def _say_length(self, steps: int | None) -> None:
        data, training = self.state.data, self.state.recipe.training
        if steps is None or data is None:
            self.length_words.setText("The number of steps follows once the data is known.")
            return
        batch = training.per_device_train_batch_size * training.gradient_accumulation_steps
        passes = steps * batch / max(1, data.train_examples)
        if training.max_steps is not None:
            words = f"{i18n.number(steps)} steps, about {i18n.number(passes, 1)} times through the data"
        else:
            words = f"{i18n.number(data.train_examples)} examples, {i18n.number(steps)} steps in all"
        self.length_words.setText(f"{words}.")

    def _say_batch(self) -> None:
        training, data = self.state.recipe.training, self.state.data
        batch, times = training.per_device_train_batch_size, training.gradient_accumulation_steps
        self.blocks.show_batch(batch, times)
        whole = f"{batch} × {times} = {i18n.number(batch * times)} examples before each optimizer step"
        if data is not None and data.train_examples:
            tokens = batch * times * data.total_tokens / data.train_examples
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
        steps, training, found = self.total_steps, self.state.recipe.training, []
        if steps is not None and steps < 20 and training.max_steps is None:
            text = "The model may not have time to learn. A smaller batch or more epochs makes more steps."
            press = (
                ("Halve the batch", self._halve_batch) if training.per_device_train_batch_size > 1 else None
            )
            found.append(Advice("warn", f"Only {steps} steps", text, press))
        if training.learning_rate > 2e-3:
            text = "LoRA usually learns best between 5e-5 and 1e-3. Higher rates often diverge."
            press = ("Use 2e-4", lambda: self.state.set_value("training.learning_rate", 2e-4))
            found.append(Advice("warn", "A very high learning rate", text, press))
        if training.num_train_epochs > 5:
            text = "More than five passes often learn the examples by heart. The best checkpoint is kept."
            found.append(Advice("info", "Many epochs", text))
        return found

    def _halve_batch(self) -> None:
        half = self.state.recipe.training.per_device_train_batch_size // 2
        self.state.set_value("training.per_device_train_batch_size", half)
