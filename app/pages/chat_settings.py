"""The right side of Chat: how the next word is chosen, and the system prompt."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtWidgets import QFrame, QLineEdit, QPlainTextEdit, QScrollArea, QVBoxLayout, QWidget

from app.i18n import tr
from app.theme.style import current_theme
from app.widgets.card import Card
from app.widgets.label import TextLabel, set_tip


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
    Knob("max_new_tokens", "Max new tokens", "An answer is cut after so many.", "256", 1, 100_000, True),
    Knob("repetition_penalty", "Repetition penalty", "Above 1, said words come back less.", "1.0", 0.1, 10),
    Knob("seed", "Seed", "The same number gives the same answer.", "", 0, 2**31 - 1, True, "random"),
)


class ChatSettings(Card):
    """Sampling fields and the system prompt; `read()` gives them or points at what is wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.setFixedWidth(current_theme().px(242))
        self.fields: dict[str, QLineEdit] = {}
        self._faults: dict[str, TextLabel] = {}
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 6, 0)
        column.setSpacing(6)
        column.addWidget(TextLabel(tr("Sampling"), "heading"))
        for knob in KNOBS:
            self._add_knob(column, knob)
        column.addSpacing(8)
        column.addWidget(TextLabel(tr("System prompt"), "heading"))
        self.system = QPlainTextEdit()
        self.system.setAccessibleName(tr("System prompt"))
        self.system.setMinimumHeight(current_theme().px(96))
        self.system.setMaximumHeight(current_theme().px(170))
        self.system.setPlaceholderText(tr("none"))
        self.system_source = TextLabel("", "least", wrap=True)
        column.addWidget(self.system, 1)
        column.addWidget(self.system_source)
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setWidget(inner)
        self.body.addWidget(area, 1)
        self._trained: str | None = None
        self._known = False
        self.system.textChanged.connect(self._say_source)

    def _add_knob(self, column: QVBoxLayout, knob: Knob) -> None:
        label = TextLabel(tr(knob.label), "small")
        field = QLineEdit(knob.default)
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
        for widget in (label, field, fault):
            column.addWidget(widget)

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

    @property
    def max_new_tokens(self) -> int:
        """Return the length at which answers are cut."""
        value, good = self._check(KNOBS[2])
        return int(value) if good and value is not None else 0

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

    def _say_source(self) -> None:
        if self._trained is None:
            known = self._known and not self.system_prompt
            words = tr("The adapter was trained without one.") if known else ""
        else:
            words = tr("as trained") if self.system_prompt == self._trained else tr("not as trained")
        self.system_source.setText(words)
