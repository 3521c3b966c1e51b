"""Settings: every choice in one place; changes hold at once."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QBoxLayout, QLineEdit, QScrollArea, QVBoxLayout, QWidget

from app.pages.page import Page, scrolled
from app.pages.preferences_folders import FoldersSection
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
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self._area = self._make_sections()
        self._row.addWidget(self._make_index())
        self._row.addWidget(self._area, 1)
        services.theme.changed.connect(self._fit)

    def _make_index(self) -> QWidget:
        self._side = side = QWidget()
        column = QVBoxLayout(side)
        column.setContentsMargins(PAGE_PADDING, 20, 0, 0)
        column.setSpacing(4)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search settings")
        self.search.setAccessibleName("Search settings")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._on_search)
        column.addWidget(self.search)
        self._links = QWidget()
        links = QVBoxLayout(self._links)
        links.setContentsMargins(0, 8, 0, 0)
        links.setSpacing(4)
        for key, section in self.sections.items():
            title = section.short or section.title_label.text()
            made = button(title, kind="link", on_click=lambda key=key: self.go_to(key))
            links.addWidget(made)
        links.addStretch(1)
        column.addWidget(self._links, 1)
        return side

    def _fit(self) -> None:
        """In a narrow page the search stands on top and the index gives its room to the sections."""
        theme = current_theme()
        narrow = self.width() < theme.px(900)
        self._row.setDirection(
            QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight
        )
        self._links.setHidden(narrow)
        self._side.setFixedWidth(theme.px(400 if narrow else 210))
        for section in self.sections.values():
            section.setMaximumWidth(theme.px(WIDEST))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _make_sections(self) -> QScrollArea:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(PAGE_PADDING, 20, PAGE_PADDING, PAGE_PADDING)
        column.setSpacing(GAP)
        for make in SECTIONS:
            section = make(self.services)
            self.sections[section.key] = section
            column.addWidget(section)
        folders, library = self.sections["folders"], self.sections["library"]
        if isinstance(folders, FoldersSection):
            folders.added.connect(library.refresh)
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
