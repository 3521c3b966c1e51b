"""Settings: every choice in one place; changes hold at once."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QScrollArea, QVBoxLayout, QWidget

from app.pages.page import Page, scrolled
from app.pages.preferences_section import Section
from app.pages.preferences_sections import SECTIONS
from app.services import Services
from app.theme.style import current_theme
from app.theme.tokens import GAP, PAGE_PADDING
from app.widgets.button import button
from app.widgets.label import text_label

WIDEST = 1010


class PreferencesPage(Page):
    """Sections one below the other, an index at the left, a search on top."""

    title = "Settings"
    facts = "Changes hold at once"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.sections: dict[str, Section] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        self._area = self._make_sections()
        row.addWidget(self._make_index())
        row.addWidget(self._area, 1)

    def _make_index(self) -> QWidget:
        side = QWidget()
        side.setFixedWidth(current_theme().px(210))
        column = QVBoxLayout(side)
        column.setContentsMargins(PAGE_PADDING, 20, 0, PAGE_PADDING)
        column.setSpacing(4)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search settings")
        self.search.setAccessibleName("Search settings")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._on_search)
        column.addWidget(self.search)
        column.addSpacing(8)
        for key, section in self.sections.items():
            made = button(section.title_label.text(), kind="link", on_click=lambda key=key: self.go_to(key))
            column.addWidget(made)
        column.addStretch(1)
        return side

    def _make_sections(self) -> QScrollArea:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(PAGE_PADDING, 20, PAGE_PADDING, PAGE_PADDING)
        column.setSpacing(GAP)
        for make in SECTIONS:
            section = make(self.services)
            section.setMaximumWidth(current_theme().px(WIDEST))
            self.sections[section.key] = section
            column.addWidget(section)
        self.nothing = text_label("No setting has these words.", "dim")
        self.nothing.hide()
        column.addWidget(self.nothing)
        column.addStretch(1)
        return scrolled(inner)

    def open_with(self, argument: dict[str, Any]) -> None:
        key = str(argument.get("section", ""))
        if key in self.sections:
            # After the page has its size: a scroll area cannot scroll before.
            QTimer.singleShot(0, self, lambda: self.go_to(key))

    def shown(self) -> None:
        for section in self.sections.values():
            section.refresh()

    def find(self) -> None:
        self.search.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self.search.selectAll()

    def go_to(self, key: str) -> None:
        """Scroll to a section."""
        self.search.clear()
        section = self.sections[key]
        self._area.verticalScrollBar().setValue(max(0, section.y() - 20))

    def _on_search(self, text: str) -> None:
        words = text.lower().split()
        found = 0
        for section in self.sections.values():
            matches = all(word in section.words for word in words)
            section.setVisible(matches)
            found += matches
        self.nothing.setHidden(bool(found))
