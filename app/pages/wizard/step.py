"""What the five steps have in common: cards in a column, forms tied to the shared state, a way to a field."""

from __future__ import annotations

from collections.abc import Iterable

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from app.pages.wizard.fields import fault_of, offered_choices
from app.pages.wizard.state import WizardState
from app.theme.tokens import GAP
from app.widgets.card import Card
from app.widgets.field_text import choice_words, write_value
from app.widgets.form import FieldRow, Form, FormRules
from app.widgets.plan_column import Advice
from engine.recipe.fields import field_spec


class Step(QWidget):
    """Base of the steps: put cards into `.column`, forms through `add_form`.

    Signals:
        advice_changed: `advice()` answers differently now.
        ghost_changed: (title, the values it changes) of a choice that is looked at, or None.
        step_requested: (step, field) to go to.
    """

    advice_changed = Signal()
    ghost_changed = Signal(object)
    step_requested = Signal(str, str)

    name = ""

    def __init__(self, state: WizardState) -> None:
        super().__init__()
        self.state = state
        self.rules = FormRules(
            offered_choices(), state.base, lambda path, value: fault_of(path, value, state.recipe)
        )
        self.forms: list[Form] = []
        self.level = "simple"
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(24, 20, 24, 20)
        self.column.setSpacing(GAP)
        state.values_changed.connect(self._on_values_changed)

    # -- forms ---------------------------------------------------------------------------------------------
    def add_form(self, form: Form) -> Form:
        """Tie a form to the recipe and return it."""
        form.edited.connect(self._on_edited)
        form.misread.connect(self.state.set_unread)
        form.looked_at.connect(self._on_looked_at)
        self.forms.append(form)
        form.show_values(self.state.value, self.state.unread)
        return form

    def form_card(self, title: str, paths: Iterable[str]) -> tuple[Card, Form]:
        """Return a card with a form of these fields in it."""
        card = Card(title)
        form = self.add_form(Form([field_spec(path) for path in paths], self.rules))
        card.body.addWidget(form)
        return card, form

    @property
    def rows(self) -> dict[str, FieldRow]:
        """Return all rows of the step by their field."""
        return {path: row for form in self.forms for path, row in form.rows.items()}

    def set_level(self, level: str) -> None:
        """Show the simple fields, or all."""
        self.level = level
        for form in self.forms:
            form.set_level(level)

    def focus_field(self, path: str) -> bool:
        """Bring a field into view, put the cursor there and say its fault; False when it is not here."""
        row = self.rows.get(path)
        if row is None:
            return False
        row.show()
        self._reveal(row)
        row.focus_editor()
        return True

    def _reveal(self, widget: QWidget) -> None:
        area = self.parent()
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parent()
        if isinstance(area, QScrollArea):
            area.ensureWidgetVisible(widget, 20, 60)

    # -- what a step may say -------------------------------------------------------------------------------
    def facts(self) -> str:
        """Return the second line of the step in the stepper."""
        return ""

    def advice(self) -> list[Advice]:
        """Return the remarks of this step for the right column."""
        return []

    def shown(self) -> None:
        """Begin to follow what the step shows."""

    def settled(self) -> bool:
        """Say whether nothing is still being looked at."""
        return True

    # -- slots ---------------------------------------------------------------------------------------------
    def _on_edited(self, path: str, value: object) -> None:
        fault = self.state.set_value(path, value)
        if fault:
            self.state.set_unread(path, str(value), fault)

    def _on_looked_at(self, path: str, look: tuple[object] | None) -> None:
        if look is None:
            self.ghost_changed.emit(None)
            return
        spec, (value,) = field_spec(path), look
        words = ("on" if value else "off") if spec.kind == "boolean" else write_value(spec, value)
        if spec.kind == "choice":
            words = choice_words(spec, value)
        self.ghost_changed.emit((f"{spec.label} {words or 'empty'}", self.state.changes_of(path, value)))

    def _on_values_changed(self, paths: frozenset[str]) -> None:
        for path, row in self.rows.items():
            if path not in paths:
                continue
            if path in self.state.unread:
                row.show_unread(*self.state.unread[path])
            else:
                row.show_value(self.state.value(path))
        self.on_values(paths)

    def on_values(self, paths: frozenset[str]) -> None:
        """Redraw what depends on these fields."""


def take_focus(widget: QWidget) -> None:
    """Give the keyboard to a widget, as a jump to a problem does."""
    widget.setFocus(Qt.FocusReason.OtherFocusReason)
