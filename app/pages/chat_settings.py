"""The right side of Chat: how the next word is chosen, the system prompt, and how they are written down."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from app.i18n import tr
from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import TextLabel, set_tip
from app.widgets.scroll import vertical_scroll
from engine.data.templates import BUILT_IN


@dataclass(frozen=True)
class Knob:
    """One sampling field: its name in the library, its words, its bounds."""

    name: str
    label: str
    help: str
    default: str
    least: float
    most: float
    whole: bool = False
    blank: str = ""


KNOBS = (
    Knob("temperature", "Temperature", "0 always takes the likeliest word; more is livelier.", "0", 0, 10),
    Knob("top_p", "Top-p", "Only the likeliest words that add up to this chance.", "1.0", 0.001, 1),
    Knob("top_k", "Top-k", "Only so many of the likeliest words; 0 is all.", "0", 0, 1_000_000, True),
    Knob("max_new_tokens", "Max new tokens", "An answer is cut after so many.", "256", 1, 100_000, True),
    Knob("repetition_penalty", "Repetition penalty", "Above 1, said words come back less.", "1.0", 0.1, 10),
    Knob("seed", "Seed", "The same number gives the same answer.", "", 0, 2**31 - 1, True, "random"),
)


# What the presets set; the length and the seed stay as they are.
PRESETS: dict[str, dict[str, str]] = {
    "Exact": {"temperature": "0", "top_p": "1.0", "top_k": "0", "repetition_penalty": "1.0"},
    "Balanced": {"temperature": "0.7", "top_p": "0.9", "top_k": "50", "repetition_penalty": "1.0"},
    "Creative": {"temperature": "1.0", "top_p": "0.97", "top_k": "0", "repetition_penalty": "1.05"},
}
PROPOSED, OWN = "As the model proposes", "Your own"
READ_MS = 400
MODELS_OWN = "of the model"  # as the engine calls the template that a model brings


class ChatSettings(Card):
    """Sampling fields, system prompt and template; `read()` gives the sampling or points at what is wrong.

    Signals:
        template_chosen: a built-in template's name, None for the trained one.
        reading_asked: what the model reads is to be shown, or has changed while it is shown.
    """

    template_chosen = Signal(object)
    reading_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setFixedWidth(current_theme().px(242))
        self.fields: dict[str, QLineEdit] = {}
        self._faults: dict[str, TextLabel] = {}
        self._trained: str | None = None
        self._known = False
        self._proposed: dict[str, str] = {}
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(6)
        self._build_sampling(column)
        column.addSpacing(8)
        self._build_system(column)
        column.addSpacing(8)
        self._build_template(column)
        column.addStretch(1)
        self.body.addWidget(vertical_scroll(inner), 1)
        self._later = QTimer(self, singleShot=True, interval=READ_MS)
        self._later.timeout.connect(self._on_prompt_rested)
        self._on_field_changed()

    def _build_sampling(self, column: QVBoxLayout) -> None:
        column.addWidget(TextLabel(tr("Sampling"), "heading"))
        self.preset = QComboBox()
        self.preset.setAccessibleName(tr("Sampling preset"))
        for name in (*PRESETS, OWN):
            self.preset.addItem(tr(name), name)
        self.preset.activated.connect(self._on_preset_chosen)
        column.addWidget(self.preset)
        for knob in KNOBS:
            self._add_knob(column, knob)

    def _build_system(self, column: QVBoxLayout) -> None:
        column.addWidget(TextLabel(tr("System prompt"), "heading"))
        self.system = QPlainTextEdit()
        self.system.setAccessibleName(tr("System prompt"))
        self.system.setMinimumHeight(current_theme().px(96))
        self.system.setMaximumHeight(current_theme().px(170))
        self.system.setPlaceholderText(tr("none"))
        self.system.setTabChangesFocus(True)
        self.system_source = TextLabel("", "least", wrap=True)
        self.back_button = button(tr("Back to the trained one"), kind="link", compact=True)
        self.back_button.clicked.connect(lambda _=False: self.system.setPlainText(self._trained or ""))
        self.back_button.hide()
        column.addWidget(self.system)
        column.addWidget(self.system_source)
        column.addWidget(self.back_button)
        self.system.textChanged.connect(self._on_system_changed)

    def _build_template(self, column: QVBoxLayout) -> None:
        column.addWidget(TextLabel(tr("Chat template"), "heading"))
        self.template = QComboBox()
        self.template.setAccessibleName(tr("Chat template"))
        self.template.addItem(tr("As trained"), None)
        for name in BUILT_IN:
            self.template.addItem(name, name)
        self.template.activated.connect(self._on_template_chosen)
        self.template_source = TextLabel("", "least", wrap=True)
        self.reading_button = button(tr("What the model reads"), kind="link", compact=True)
        self.reading_button.setCheckable(True)
        self.reading_button.toggled.connect(self._on_reading_toggled)
        self.reading = QPlainTextEdit(readOnly=True)
        self.reading.setAccessibleName(tr("What the model reads"))
        self.reading.setFont(current_theme().font("least", mono=True))
        self.reading.setFixedHeight(current_theme().px(150))
        self.reading.hide()
        for widget in (self.template, self.template_source, self.reading_button, self.reading):
            column.addWidget(widget)

    def _add_knob(self, column: QVBoxLayout, knob: Knob) -> None:
        label = TextLabel(tr(knob.label), "small")
        field = QLineEdit(knob.default)
        field.textChanged.connect(self._on_field_changed)
        field.setPlaceholderText(knob.blank)
        field.setFont(current_theme().font("body", mono=True))
        field.setAccessibleName(tr(knob.label))
        field.setAccessibleDescription(tr(knob.help))
        set_tip(field, tr(knob.help))
        label.setBuddy(field)
        fault = TextLabel("", "least", wrap=True)
        fault.set_token("bad")
        fault.hide()
        field.editingFinished.connect(lambda k=knob: self._check(k))
        self.fields[knob.name], self._faults[knob.name] = field, fault
        row = QHBoxLayout()
        row.setSpacing(8)
        field.setFixedWidth(current_theme().px(74))
        row.addWidget(label, 1)
        row.addWidget(field)
        column.addLayout(row)
        column.addWidget(fault)

    def read(self) -> dict[str, float | int | None] | None:
        """Return the sampling, or None when a field is wrong; that field then has the cursor."""
        values: dict[str, float | int | None] = {}
        for knob in KNOBS:
            value, good = self._check(knob)
            if not good:
                self.fields[knob.name].setFocus()
                return None
            values[knob.name] = value
        return values

    def _check(self, knob: Knob) -> tuple[float | int | None, bool]:
        text = self.fields[knob.name].text().strip().replace(",", "")
        value: float | int | None = None
        good = True
        if text or not knob.blank:
            try:
                value = int(text) if knob.whole else float(text)
                good = knob.least <= value <= knob.most
            except ValueError:
                good = False
        field, fault = self.fields[knob.name], self._faults[knob.name]
        field.setProperty("invalid", "false" if good else "true")
        field.style().unpolish(field)
        field.style().polish(field)
        kind = tr("a whole number") if knob.whole else tr("a number")
        fault.setText(
            "" if good else tr("Use {kind} from {a:g} to {b:g}.").format(kind=kind, a=knob.least, b=knob.most)
        )
        fault.setHidden(good)
        return value, good

    # -- presets -------------------------------------------------------------------------------------------
    def show_proposed(self, sampling: dict[str, float]) -> None:
        """Offer the sampling that the model's own files propose."""
        self._proposed = dict(PRESETS["Exact"]) if sampling else {}
        self._proposed |= {name: f"{value:g}" for name, value in sampling.items()}
        at = self.preset.findData(PROPOSED)
        if at >= 0:
            self.preset.removeItem(at)
        if self._proposed:
            self.preset.insertItem(len(PRESETS), tr(PROPOSED), PROPOSED)
        self._on_field_changed()

    def _values_of(self, name: str) -> dict[str, str]:
        return self._proposed if name == PROPOSED else PRESETS.get(name, {})

    def _on_preset_chosen(self, index: int) -> None:
        for name, value in self._values_of(str(self.preset.itemData(index))).items():
            self.fields[name].setText(value)
        for knob in KNOBS:
            self._check(knob)
        self._on_field_changed()

    def _on_field_changed(self) -> None:
        """Say which preset the fields are, or that they are a person's own."""
        if len(self.fields) < len(KNOBS):
            return
        for name in (*PRESETS, PROPOSED):
            values = self._values_of(name)
            if values and all(_same(self.fields[field].text(), value) for field, value in values.items()):
                self.preset.setCurrentIndex(self.preset.findData(name))
                return
        self.preset.setCurrentIndex(self.preset.findData(OWN))

    # -- system prompt and template ------------------------------------------------------------------------
    @property
    def system_prompt(self) -> str:
        """Return the system prompt as it stands."""
        return self.system.toPlainText().strip()

    def show_trained_prompt(self, prompt: str | None, *, known: bool) -> None:
        """Fill in the trained prompt, unless a person wrote another one; `known` when its run is here."""
        self._known = known
        untouched = self.system_prompt == (self._trained or "")
        self._trained = prompt
        if untouched:
            self.system.setPlainText(prompt or "")
        self._say_source()

    def set_system_prompt(self, prompt: str) -> None:
        """Show a system prompt that a conversation was had with."""
        self.system.setPlainText(prompt)

    def show_template(self, name: str, guessed: bool) -> None:
        """Say by which template all are spoken to; `guessed` when nobody named it."""
        self.template.setCurrentIndex(0)
        words = tr("{name}, as it was trained.").format(name=name)
        if name == MODELS_OWN:
            words = tr("The model's own.")
        if guessed:
            words = tr(
                "This model brings no template: {name} is a guess. Choose the one it was trained with."
            ).format(name=name)
            self.reading_button.setChecked(True)
        self.template_source.setText(words)
        self.template_source.set_token("warn" if guessed else "dim")
        self._later.start()

    def show_reading(self, text: str) -> None:
        """Show what the model reads."""
        self.reading.setPlainText(text)

    def _on_template_chosen(self, index: int) -> None:
        name = self.template.itemData(index)
        self.template_source.set_token("dim")
        words = tr("All are spoken to by {name}.").format(name=name) if name else tr("As each was trained.")
        self.template_source.setText(words)
        self.template_chosen.emit(name)
        self._later.start()

    def _on_reading_toggled(self, shown: bool) -> None:
        self.reading.setVisible(shown)
        if shown:
            self.reading_asked.emit()

    def _on_system_changed(self) -> None:
        self._say_source()
        self._later.start()

    def _on_prompt_rested(self) -> None:
        if self.reading_button.isChecked():
            self.reading_asked.emit()

    def _say_source(self) -> None:
        if self._trained is None:
            known = self._known and not self.system_prompt
            words = tr("The adapter was trained without one.") if known else ""
        else:
            words = tr("as trained") if self.system_prompt == self._trained else tr("not as trained")
        self.system_source.setText(words)
        self.system_source.setHidden(not words)
        self.back_button.setHidden(self._trained is None or self.system_prompt == self._trained)


def _same(text: str, value: str) -> bool:
    try:
        return float(text.strip().replace(",", "")) == float(value)
    except ValueError:
        return False
