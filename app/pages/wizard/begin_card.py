"""The line of the method step that says which adapter a run begins from, with its change and its removal."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QSizePolicy, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.begin_from import FIELD, Beginning, Begun, Line, offered, take
from app.pages.wizard.fields import counted
from app.pages.wizard.state import WizardState
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.mark import Mark
from engine.errors import EngineError
from engine.paths import show_name
from engine.recipe.fields import field_spec

MOST_OFFERED = 16
NONE_YET = "The adapter begins anew. Go on from one that is trained already, with these rows or other ones."
SETTLED = "Method, rank, alpha and modules are the adapter's. Dropout, data and training are this run's own."


class BeginCard(Card):
    """Shown where an adapter is chosen, and at All options where one can be.

    Signals:
        changed: what is known of the adapter is otherwise now.
    """

    changed = Signal()

    def __init__(self, state: WizardState) -> None:
        super().__init__()
        self.setAccessibleName(field_spec(FIELD).label)
        self.state = state
        self.beginning = Beginning(state)
        self._level = "simple"
        self._build()
        self.beginning.changed.connect(self.changed)
        self.changed.connect(self.refresh)
        state.values_changed.connect(self._on_values_changed)
        self.refresh()

    def _build(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(10)
        self.mark = Mark("layers", "accent", 18)
        row.addWidget(self.mark, 0, Qt.AlignmentFlag.AlignVCenter)
        words = QVBoxLayout()
        words.setSpacing(2)
        self.name = ElidedLabel("", "strong")
        self.about = TextLabel("", "small", wrap=True)
        words.addWidget(self.name)
        words.addWidget(self.about)
        row.addLayout(words, 1)
        self.choose_button = button("Change…", kind="secondary", on_click=self.choose)
        self.remove_button = button("Remove", kind="ghost", on_click=self.beginning.remove)
        for made in (self.choose_button, self.remove_button):
            made.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
            row.addWidget(made, 0, Qt.AlignmentFlag.AlignVCenter)
        self.body.addLayout(row)
        self.told = QWidget()
        line = QHBoxLayout(self.told)
        line.setContentsMargins(0, 2, 0, 0)
        line.setSpacing(8)
        self.told_mark = Mark("octagon", "bad", 14)
        self.told_words = TextLabel("", "small", wrap=True).make_selectable()
        line.addWidget(self.told_mark, 0, Qt.AlignmentFlag.AlignTop)
        line.addWidget(self.told_words, 1)
        self.body.addWidget(self.told)

    @property
    def chosen(self) -> bool:
        """Return whether an adapter is gone on with."""
        return self.beginning.path is not None

    def set_level(self, level: str) -> None:
        """Offer the choice at All options only."""
        self._level = level
        self.refresh()

    def refresh(self) -> None:
        """Show the adapter as it is known now."""
        path, begun, error = self.beginning.path, self.beginning.begun, self.beginning.error
        self.setVisible(path is not None or self._level == "all")
        self.remove_button.setVisible(path is not None)
        self.choose_button.setText("Change…" if path is not None else "Begin from an adapter…")
        self.name.setVisible(path is not None)
        self.mark.set("layers", "accent" if path is not None else "dim")
        if path is None:
            self.about.setText(NONE_YET)
            self.told.hide()
            return
        known = begun is not None and begun.recipe.adapter.path == path
        name = begun.adapter.name if known and begun is not None else Path(path).name
        self.name.setText(f"Begins from the adapter {show_name(name, 80)}")
        self.about.setText(_about(begun) if known and begun is not None else SETTLED)
        first = begun.findings[0] if known and begun is not None and begun.findings else None
        words = f"{error.message} {error.hint}" if error is not None else ""
        if first is not None and error is None:
            words = f"{first.message} {first.hint}"
        self.told.setVisible(bool(words))
        self.told_mark.set(*(("triangle", "warn") if error is None else ("octagon", "bad")))
        self.told_words.set_token("bad" if error is not None else "text")
        self.told_words.setText(words.strip())

    def _on_values_changed(self, paths: frozenset[str]) -> None:
        if FIELD in paths:
            self.changed.emit()

    # -- choosing ------------------------------------------------------------------------------------------
    def choose(self) -> None:
        """Offer the adapters of this computer; they are looked for in the background."""
        facts = self.state.facts
        self.state.services.background.run(lambda: offered(facts), self._offer, self._failed)

    def _failed(self, error: EngineError) -> None:
        self.state.services.notify(f"{error.message} ({error.code})", "bad", hint=error.hint)

    def _offer(self, lines: list[Line]) -> None:
        menu = self.menu_of(lines)
        menu.popup(self.choose_button.mapToGlobal(QPoint(0, self.choose_button.height() + 4)))

    def menu_of(self, lines: list[Line]) -> QMenu:
        """Return the menu of what can be gone on with, and a way to a folder."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        for line in lines[:MOST_OFFERED]:
            words = f"{line.name} · {line.label}{' · does not fit this base' if line.problem else ''}"
            action = menu.addAction(show_name(words, 100).replace("&", "&&"), partial(self.take, line.path))
            action.setEnabled(not line.problem)
        if lines:
            menu.addSeparator()
        menu.addAction("Choose a folder…", self._browse)
        return menu

    def take(self, path: Path) -> None:
        """Begin from this adapter."""
        take(self.state, str(path))

    def _browse(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "The folder of an adapter, a save or a run")
        if folder:
            self.take(Path(folder))


def _about(begun: Begun) -> str:
    """Return what the adapter is, in a line, and what is its own."""
    adapter = begun.adapter
    kinds = counted(len(adapter.target_modules), "kind of module", "kinds of module")
    trained = f"{i18n.short_number(adapter.trainable_parameters)} values"
    return f"{adapter.label} · {kinds} · {trained}. {SETTLED}"
