"""How the Merge page is laid out: chain, the two parts, the bar of a job, and the buttons of the top bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QVBoxLayout, QWidget

from app.i18n import tr
from app.pages.merge_board import MergeBoard
from app.pages.merge_certificate import MergeCertificate
from app.pages.merge_export import MergeExport
from app.pages.merge_picker import MergePicker
from app.pages.merge_try import MergeTry
from app.pages.page import padded_column, scrolled
from app.theme.style import current_theme
from app.theme.tokens import GAP
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.empty import EmptyState
from app.widgets.label import TextLabel
from app.widgets.merge_diagram import MergeDiagram
from app.widgets.meter import Meter
from app.widgets.notice import Notice
from app.workers.mix_process import MixProcess

if TYPE_CHECKING:
    from app.pages.merge import MergePage

PARTS = (("merge", "Put together"), ("export", "Export"))


class MergeLayout:
    """The widgets of a page, made and placed."""

    def __init__(self, page: MergePage, process: MixProcess) -> None:
        self._page = page
        self.board, self.export = MergeBoard(), MergeExport()
        self.trial = MergeTry(process, page.free_memory)
        self.certificate = MergeCertificate(tr("Certificate of the last merge"), exportable=True)
        self.exported = MergeCertificate(tr("Certificate of the last export"), exportable=False)
        self.notice, self.diagram = Notice(), MergeDiagram()
        self.picker = MergePicker(page.adapters, page)
        self.notice.hide()
        inner = QWidget()
        column = padded_column(inner)
        self.empty = self._build_empty()
        self.chain = self._build_chain()
        self.merging = _side_by_side([self.board], [self.trial, self.certificate])
        self.exporting = _side_by_side([self.export], [self.exported])
        for widget in (self.notice, self.empty, self.chain):
            column.addWidget(widget)
        column.addWidget(self.merging, 1)
        column.addWidget(self.exporting, 1)
        outer = QVBoxLayout(page)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner))
        self.actions = self._build_actions()

    def _build_empty(self) -> EmptyState:
        words = tr(
            "Train an adapter first, or drop an adapter's folder here. Merged into its base it is a plain "
            "model that every program opens."
        )
        go = self._page.navigate_requested.emit
        return EmptyState(
            ("chip", "layers", "merge"),
            words,
            (tr("New run"), lambda: go("wizard", None)),
            (tr("Try the example"), lambda: go("wizard", {"example": True})),
            title=tr("Nothing to merge yet"),
        )

    def _build_chain(self) -> Card:
        chain = Card()
        margin = current_theme().px(12)
        layout = chain.layout()
        assert layout is not None
        layout.setContentsMargins(margin, margin, margin, margin)
        row = QHBoxLayout()
        row.setSpacing(8)
        self.parts = QButtonGroup(self._page)
        self.parts.setExclusive(True)
        for place, (name, words) in enumerate(PARTS):
            chip = button(tr(words), kind="chip", on_click=lambda name=name: self._page.show_part(name))
            self.parts.addButton(chip, place)
            row.addWidget(chip)
        row.addSpacing(12)
        self.stage = TextLabel("", "small")
        self.meter = Meter(name=tr("Progress"))
        row.addWidget(self.stage)
        row.addWidget(self.meter, 1)
        row.addStretch(1)
        chain.body.addLayout(row)
        chain.body.addSpacing(current_theme().px(4))
        chain.body.addWidget(self.diagram)
        return chain

    def _build_actions(self) -> QWidget:
        page = self._page
        self.copy_button = button(tr("Copy command"), "copy", on_click=page.copy_command)
        self.merge_button = button(tr("Merge"), "merge", "primary", on_click=page.merge)
        self.export_button = button(tr("Export"), "external", "primary", on_click=page.export_now)
        self.cancel_button = button(tr("Cancel"), "x", on_click=page.going.cancel)
        actions = QWidget()
        row = QHBoxLayout(actions)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(12)
        made = (self.picker.button, self.copy_button, self.cancel_button, self.merge_button)
        for each in (*made, self.export_button):
            row.addWidget(each)
        return actions

    def show_progress(self, words: str, share: float) -> None:
        """Say what is being done; the bar never runs backwards."""
        self.stage.setText(words)
        self.meter.set(max(share, self.meter.value))

    def show_part(self, part: str, nothing: bool, busy: bool, ready: bool, kind: str) -> None:
        """Show one part with its buttons; while a job goes on, its bar."""
        self.empty.setVisible(nothing)
        self.chain.setHidden(nothing)
        self.merging.setHidden(nothing or part != "merge")
        self.exporting.setHidden(nothing or part != "export")
        self.parts.button([name for name, _ in PARTS].index(part)).setChecked(True)
        for widget in (self.stage, self.meter):
            widget.setVisible(busy)
        if not busy:
            self.meter.set(0.0)
        self.merge_button.setVisible(part == "merge" and not busy)
        self.export_button.setVisible(part == "export" and not busy)
        self.picker.button.setVisible(part == "merge" and not busy)
        self.cancel_button.setVisible(busy)
        for button_ in (self.merge_button, self.export_button, self.copy_button):
            button_.setEnabled(ready)
        self.board.set_busy(busy)
        self.export.set_busy(busy)
        for card in (self.certificate, self.exported):
            card.check_button.setEnabled(not busy)
        self.trial.setEnabled(not busy)


def _side_by_side(left: list[QWidget], right: list[QWidget]) -> QWidget:
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(GAP)
    for widgets in (left, right):
        column = QVBoxLayout()
        column.setSpacing(GAP)
        for place, widget in enumerate(widgets):
            column.addWidget(widget, 1 if place == len(widgets) - 1 else 0)
        row.addLayout(column, 1)
    return holder
