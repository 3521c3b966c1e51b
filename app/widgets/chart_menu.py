"""What a right click on a chart offers, each with its key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QMenu

if TYPE_CHECKING:
    from app.widgets.chart import Chart


def chart_menu(chart: Chart) -> QMenu:
    """Return the menu; it is gone once it is closed."""
    menu = QMenu(chart)
    menu.addAction("Show all", lambda: chart.group.show_stretch(None)).setShortcut("0")
    menu.addAction("Logarithmic", lambda: chart.set_log(not chart.logarithmic)).setShortcut("L")
    menu.addAction("As a table", chart.table_requested.emit).setShortcut("T")
    menu.addSeparator()
    menu.addAction("Copy picture", chart.copy_picture).setShortcut("Ctrl+C")
    menu.addAction("Copy values as CSV", chart.copy_csv).setShortcut("Ctrl+Shift+C")
    menu.aboutToHide.connect(menu.deleteLater)
    return menu
