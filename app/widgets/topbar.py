"""The bar over the page: title, state, one line of facts, actions."""

from __future__ import annotations

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
                self._pill.setParent(None)
            self._pill = pill
            self._row.insertWidget(1, pill)
        pill.setHidden(not pill.text)

    def show_actions(self, actions: list[QWidget]) -> None:
        """Show a page's actions at the right; those of the page before are taken away, not destroyed."""
        for widget in self._actions:
            self._row.removeWidget(widget)
            widget.setParent(None)
        self._actions = list(actions)
        for widget in self._actions:
            self._row.addWidget(widget)
            widget.show()

    def _fix_height(self) -> None:
        self.setFixedHeight(current_theme().px(56))
