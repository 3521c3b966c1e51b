"""The bar over the page: title, state, one line of facts, actions."""

from __future__ import annotations

from operator import is_

from PySide6.QtWidgets import QFrame, QHBoxLayout, QWidget

from app.theme.style import current_theme
from app.theme.tokens import PAGE_PADDING
from app.widgets.label import ElidedLabel, TextLabel
from app.widgets.pill import Pill


class TopBar(QFrame):
    """56 px over every page."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("topbar")
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(PAGE_PADDING, 0, PAGE_PADDING, 0)
        self._row.setSpacing(12)
        self.title = TextLabel("", "title")
        self.facts = ElidedLabel("", "small")
        self._pill: Pill | None = None
        self._actions: list[QWidget] = []
        self._row.addWidget(self.title)
        self._row.addWidget(self.facts, 1)
        self._fix_height()
        current_theme().changed.connect(self._fix_height)

    def show_heading(self, title: str, facts: str, pill: Pill) -> None:
        """Show a page's title, facts and state."""
        self.title.setText(title)
        self.facts.setText(facts)
        if pill is not self._pill:
            if self._pill is not None:
                self._row.removeWidget(self._pill)
                self._pill.setParent(None)  # hidden alone, it would show itself with its next word
            self._pill = pill
            self._row.insertWidget(1, pill)
        pill.setHidden(not pill.text)

    def show_actions(self, actions: list[QWidget]) -> None:
        """Show a page's actions at the right; those of the page before are hidden, not destroyed.

        They stay here: a widget that gets another parent is given its whole style anew, which takes its time.
        """
        if len(actions) == len(self._actions) and all(map(is_, actions, self._actions)):
            return
        for widget in self._actions:
            self._row.removeWidget(widget)
            if widget not in actions and widget.parentWidget() is self:
                widget.hide()
        self._actions = list(actions)
        for widget in self._actions:
            self._row.addWidget(widget)
            widget.show()

    def _fix_height(self) -> None:
        self.setFixedHeight(current_theme().px(56))
