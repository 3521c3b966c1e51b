"""The form made from the recipe's schema: one row a field, with its fault and its way back to the preset."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from PySide6.QtCore import QEvent, QObject, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence, QPainter, QPaintEvent, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from app.theme.style import current_theme
from app.widgets.button import button
from app.widgets.editor import Editor
from app.widgets.editors import make_editor
from app.widgets.field_help import HelpCard
from app.widgets.field_text import write_value
from app.widgets.label import TextLabel
from app.widgets.look import Look
from app.widgets.mark import Mark
from app.widgets.typed_editors import UsualEditor
from engine.recipe.fields import FieldSpec

LABEL_WIDTH = 150
FAULT_DELAY_MS = 300
FLASH_MS = 2000
LEVELS = {"simple": ("simple",), "all": ("simple", "all", "expert")}


@dataclass(frozen=True)
class FormRules:
    """What the page knows and the fields do not: choices offered, what the preset says, what is wrong."""

    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    base: Callable[[str], Any] = lambda path: None
    check: Callable[[str, Any], str] = lambda path, value: ""


class FieldRow(QWidget):
    """Label, control, unit, way back, hint and fault of one field.

    Signals:
        edited: (path, value) that can be used.
        misread: (path, text, way out) of what cannot.
        looked_at: (path, (value,)) of a choice that is pointed at, (path, None) when it is left.
    """

    edited = Signal(str, object)
    misread = Signal(str, str, str)
    looked_at = Signal(str, object)

    def __init__(
        self,
        spec: FieldSpec,
        rules: FormRules,
        editor: Editor | None = None,
        hint: str | None = None,
        beside: QWidget | None = None,
    ) -> None:
        super().__init__()
        self.spec, self._rules = spec, rules
        self.editor = editor or make_editor(spec, rules.choices.get(spec.path))
        self._value: Any = spec.default
        self._tinted = False
        self._hint = spec.help if hint is None else hint
        self._locked = ""
        self.fault = ""
        self._build(spec.help if hint is None else hint, beside)
        self._delay = QTimer(self, singleShot=True, interval=FAULT_DELAY_MS)
        self._delay.timeout.connect(self._show_fault)
        self._connect()

    def _build(self, hint: str, beside: QWidget | None) -> None:
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(16)
        self.label = TextLabel(self.spec.label, "body", wrap=True)
        self.label.setFixedWidth(current_theme().px(LABEL_WIDTH))
        self.label.setMinimumHeight(current_theme().px(32))
        self.label.setBuddy(self.editor)
        row.addWidget(self.label, 0, Qt.AlignmentFlag.AlignTop)
        right = QVBoxLayout()
        right.setSpacing(3)
        row.addLayout(right, 1)
        line = QHBoxLayout()
        line.setSpacing(8)
        grows = self.editor.grows
        line.addWidget(self.editor, 1 if grows else 0)
        if self.spec.unit and not isinstance(self.editor, UsualEditor):
            line.addWidget(TextLabel(self.spec.unit, "dim"))
        if beside is not None:
            line.addWidget(beside)
        if not grows:
            line.addStretch(1)
        self.dot = Mark("dot", "accent", 12)
        self.dot.setFixedHeight(current_theme().px(28))
        self.back = button("", kind="link", on_click=self._on_back_pressed)
        self.help = button(
            icon="help", kind="ghost", name=f"About {self.spec.label}", on_click=self.open_help
        )
        self.help.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        for widget in (self.dot, self.back, self.help):
            line.addWidget(widget, 0, Qt.AlignmentFlag.AlignTop)
        right.addLayout(line)
        self.hint = TextLabel(hint, "small", wrap=True)
        right.addWidget(self.hint)
        self.hint.setHidden(not hint)
        right.addWidget(self._build_fault())
        policy = QSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Minimum)
        policy.setHeightForWidth(True)
        self.setSizePolicy(policy)

    def _build_fault(self) -> QWidget:
        self.fault_line = QWidget()
        row = QHBoxLayout(self.fault_line)
        row.setContentsMargins(0, 1, 0, 0)
        row.setSpacing(6)
        self.fault_label = TextLabel("", "small", wrap=True)
        self.fault_label.set_token("bad")
        row.addWidget(Mark("octagon", "bad", 14), 0, Qt.AlignmentFlag.AlignTop)
        row.addWidget(self.fault_label, 1)
        self.fault_line.hide()
        return self.fault_line

    def _connect(self) -> None:
        self.editor.edited.connect(self._on_edited)
        self.editor.misread.connect(self._on_misread)
        self.editor.left.connect(self._show_fault)
        self.editor.looked_at.connect(self._tell_look)
        Look(self.back, self._on_back_looked_at, self)
        key = QShortcut(
            QKeySequence(Qt.Key.Key_F1), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut
        )
        key.activated.connect(self.open_help)

    # -- what is shown -------------------------------------------------------------------------------------
    def show_value(self, value: Any) -> None:
        """Show a value that is in the recipe; a fault that stood here is over."""
        self._value = value
        self._set_fault("")
        self.editor.show_value(value)
        self._show_back()

    def show_unread(self, text: str, fault: str) -> None:
        """Show what was typed and why it cannot be used."""
        self.editor.show_text(text)
        self._set_fault(fault)
        self._show_fault()

    def set_hint(self, text: str) -> None:
        """Say another hint below the control."""
        self.hint.setText(text)
        self.hint.setHidden(not text)

    def lock(self, words: str) -> None:
        """Let the value stand as something else has it, which the words say; empty words give it free."""
        if words == self._locked:
            return
        self._locked = words
        self.editor.setEnabled(not words)
        self.help.setEnabled(not words)
        self.set_hint(words or self._hint)
        self._show_back()

    def focus_editor(self) -> None:
        """Put the cursor into the control and say what is wrong with it, if anything is."""
        self.editor.setFocus(Qt.FocusReason.OtherFocusReason)
        self._show_fault()

    def open_help(self) -> None:
        """Open the card that explains this field."""
        card = HelpCard(self.spec, self.editor)
        card.chosen.connect(self._on_suggestion_chosen)
        card.looked_at.connect(self._tell_look)
        card.open()

    def _show_back(self) -> None:
        base = self._rules.base(self.spec.path)
        changed = base != self._value and not self._locked
        self.dot.setVisible(changed)
        self.back.setVisible(changed)
        if changed:
            words = write_value(self.spec, base) or "empty"
            words = words if len(words) <= 24 else words[:23] + "…"
            self.back.setText(f"back to {words}")
            self.back.setAccessibleName(f"{self.spec.label}: back to {words}")

    def _set_fault(self, fault: str) -> None:
        self.fault = fault
        if fault:
            self._delay.start()
        else:
            self._delay.stop()
            self._show_fault()

    def _show_fault(self) -> None:
        self.fault_label.setText(self.fault)
        self.fault_line.setVisible(bool(self.fault))
        self.editor.mark_faulty(bool(self.fault))

    def flash(self) -> None:
        """Draw the row on a tinted ground for a moment: something else has changed it."""
        self._tinted = True
        self.update()
        QTimer.singleShot(FLASH_MS, self, self._on_flash_over)

    def _on_flash_over(self) -> None:
        self._tinted = False
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._tinted:
            theme = current_theme()
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(theme.color("accentbg"))
            painter.drawRoundedRect(QRectF(self.rect()), theme.px(6), theme.px(6))
        super().paintEvent(event)

    # -- what the person does ------------------------------------------------------------------------------
    def _on_edited(self, value: Any) -> None:
        fault = self._rules.check(self.spec.path, value)
        if fault:
            self._on_misread(write_value(self.spec, value), fault)
            return
        self._value = value
        self._set_fault("")
        self._show_back()
        self.edited.emit(self.spec.path, value)

    def _on_misread(self, text: str, fault: str) -> None:
        self._set_fault(fault)
        self.misread.emit(self.spec.path, text, fault)

    def _on_back_looked_at(self, over: bool) -> None:
        self._tell_look((self._rules.base(self.spec.path),) if over else None)

    def _tell_look(self, look: object) -> None:
        self.looked_at.emit(self.spec.path, look)

    def _on_back_pressed(self) -> None:
        self._on_suggestion_chosen(self._rules.base(self.spec.path))

    def _on_suggestion_chosen(self, value: Any) -> None:
        self.editor.clearFocus()
        self.show_value(value)
        self.edited.emit(self.spec.path, value)

    def changeEvent(self, event: QEvent) -> None:
        if event.type() == QEvent.Type.FontChange:
            self.label.setFixedWidth(current_theme().px(LABEL_WIDTH))
        super().changeEvent(event)


class Form(QWidget):
    """Rows for the given fields, in order.

    Signals:
        edited: (path, value) that can be used.
        misread: (path, text, way out) of what cannot.
        looked_at: (path, (value,)) of a choice that is pointed at, (path, None) when it is left.
    """

    edited = Signal(str, object)
    misread = Signal(str, str, str)
    looked_at = Signal(str, object)

    def __init__(
        self, specs: Iterable[FieldSpec], rules: FormRules, parent: QObject | None = None, spacing: int = 12
    ) -> None:
        super().__init__()
        self._rules = rules
        self.rows: dict[str, FieldRow] = {}
        self._level = "all"
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(spacing)
        for spec in specs:
            self.add_row(FieldRow(spec, rules))

    def add_row(self, row: FieldRow) -> FieldRow:
        """Put a row at the end and return it."""
        self.rows[row.spec.path] = row
        self._column.addWidget(row)
        row.edited.connect(self.edited)
        row.misread.connect(self.misread)
        row.looked_at.connect(self.looked_at)
        return row

    def add_widget(self, widget: QWidget) -> None:
        """Put a drawing or a note between the rows."""
        self._column.addWidget(widget)

    def show_values(self, values: Callable[[str], Any], unread: Mapping[str, tuple[str, str]]) -> None:
        """Show what the recipe holds; fields in `unread` keep their text and their fault."""
        for path, row in self.rows.items():
            if path in unread:
                row.show_unread(*unread[path])
            else:
                row.show_value(values(path))

    def set_level(self, level: str) -> None:
        """Show the simple fields only, or all of them; a faulty field is always shown."""
        self._level = level
        for row in self.rows.values():
            row.setVisible(row.spec.level in LEVELS[level] or bool(row.fault))

    @property
    def shown_rows(self) -> list[FieldRow]:
        """Return the rows of the present level."""
        return [row for row in self.rows.values() if not row.isHidden()]


def find_fields(specs: Iterable[FieldSpec], words: str) -> list[FieldSpec]:
    """Return the fields whose label, usual name or help hold every word, the closest first."""
    wanted = words.lower().replace("_", " ").split()
    if not wanted:
        return []
    ranked = []
    for spec in specs:
        name = f"{spec.label} {spec.path}".lower().replace("_", " ").replace(".", " ")
        whole = f"{name} {spec.help}".lower()
        if all(word in whole for word in wanted):
            starts = spec.label.lower().startswith(wanted[0]) or spec.name.replace("_", " ").startswith(
                " ".join(wanted)
            )
            ranked.append((0 if starts else 1 if all(word in name for word in wanted) else 2, spec))
    return [spec for _, spec in sorted(ranked, key=lambda pair: pair[0])]
