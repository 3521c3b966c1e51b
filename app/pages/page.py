"""What every page is: a widget with a title, facts, a state and actions for the window's top bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget

from app.services import Services
from app.theme.tokens import GAP, PAGE_PADDING
from app.widgets.pill import Pill


class Page(QWidget):
    """Base of all pages.

    A page is built on its first visit. The window then calls `open_with(argument)` when it was asked to show
    something, and `shown()`; on leaving `hidden_()`. `top_bar_actions()` is asked at each visit, and again
    after `actions_changed`. Set `title`, `facts` and `state_pill` and emit `heading_changed`,
    or call `set_heading`.

    Signals:
        navigate_requested: go to a page, with a dict or None.
        heading_changed: title, facts or state have changed.
        actions_changed: top_bar_actions() answers differently now.
    """

    navigate_requested = Signal(str, object)
    heading_changed = Signal()
    actions_changed = Signal()

    title = ""
    facts = ""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.setObjectName("page")
        self.services = services
        self.state_pill = Pill()

    def set_heading(self, title: str | None = None, facts: str | None = None) -> None:
        """Change what the top bar says."""
        if title is not None:
            self.title = title
        if facts is not None:
            self.facts = facts
        self.heading_changed.emit()

    def top_bar_actions(self) -> list[QWidget]:
        """Return the widgets at the right of the top bar, the dangerous one last."""
        return []

    def open_with(self, argument: dict[str, Any]) -> None:
        """Show what the window was asked for ({"run": folder}, {"data": file}, ...)."""

    def shown(self) -> None:
        """Begin to follow what the page shows; it is in front now."""

    def hidden_(self) -> None:
        """Stop work that only a visible page needs."""

    def drop_words(self, path: Path) -> str:
        """Return what dropping a file here would do, an empty text where the window decides."""
        return ""

    def handle_drop(self, path: Path) -> bool:
        """Take a dropped file or folder and return True, or leave it to the window."""
        return False

    def primary_action(self) -> None:
        """Do what Ctrl+Enter means here."""

    def find(self) -> None:
        """Put the cursor into the page's search field (Ctrl+F)."""

    def settled(self) -> bool:
        """Say whether nothing is still being read or drawn; a picture of the page waits for it."""
        return True

    def finish(self) -> None:
        """End the page's own threads before the application ends; children go on."""

    def log_folder(self) -> Path | None:
        """Return the job folder whose log Ctrl+L shows."""
        return None


def padded_column(page: QWidget, spacing: int = GAP) -> QVBoxLayout:
    """Give `page` a column with the page's padding and return it."""
    column = QVBoxLayout(page)
    column.setContentsMargins(PAGE_PADDING, 20, PAGE_PADDING, PAGE_PADDING)
    column.setSpacing(spacing)
    return column


def scrolled(inner: QWidget) -> QScrollArea:
    """Return a frameless vertical scroll area around `inner`."""
    area = QScrollArea()
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inner)
    return area
