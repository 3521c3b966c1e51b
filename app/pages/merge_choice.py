"""The left side of Merge: which adapter, in which numbers, into which folder, and how far the work is."""

from __future__ import annotations

import shutil
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QWidget,
)

from app.i18n import number, size, tr
from app.merging import DTYPES, Pair, free_folder
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.label import TextLabel
from app.widgets.meter import Meter
from engine import paths

SPARE_BYTES = 64 << 20


class MergeChoice(Card):
    """Adapter, base, precision, folder, disk space, progress.

    Signals:
        adapter_chosen: the number of the adapter in the list.
        changed: precision or folder are others now.
    """

    adapter_chosen = Signal(int)
    changed = Signal()

    def __init__(self) -> None:
        super().__init__(tr("What is merged"))
        self._pair: Pair | None = None
        self._named_by_hand = False
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(10)
        grid.setColumnStretch(1, 1)
        self.adapter_box = QComboBox()
        self.adapter_box.setAccessibleName(tr("Adapter"))
        self.adapter_box.activated.connect(self.adapter_chosen)
        self.base_label = TextLabel("", wrap=True)
        rows = (
            (tr("Adapter"), self.adapter_box),
            (tr("Base"), self.base_label),
            (tr("Precision"), self._build_dtypes()),
            (tr("Folder"), self._build_out()),
        )
        for line, (words, widget) in enumerate(rows):
            grid.addWidget(TextLabel(words, "dim"), line, 0)
            grid.addWidget(widget, line, 1)
        self.room = TextLabel("", "small", wrap=True)
        grid.addWidget(self.room, len(rows), 1)
        self.body.addLayout(grid)
        self.body.addSpacing(10)
        self.stage = TextLabel("", "small")
        self.meter = Meter(name=tr("Progress"))
        for widget in (self.stage, self.meter):
            widget.hide()
            self.body.addWidget(widget)
        self.body.addStretch(1)

    def _build_dtypes(self) -> QWidget:
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        self.dtypes = QButtonGroup(self)
        self.dtypes.setExclusive(True)
        for index, (_, words) in enumerate(DTYPES):
            chip: QPushButton = button(tr(words), kind="chip")
            chip.setChecked(index == 0)
            self.dtypes.addButton(chip, index)
            row.addWidget(chip)
        row.addStretch(1)
        self.dtypes.idClicked.connect(lambda _: self._on_changed())
        return holder

    def _build_out(self) -> QWidget:
        holder = QWidget()
        row = QHBoxLayout(holder)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        self.out = QLineEdit()
        self.out.setAccessibleName(tr("Folder"))
        self.out.textEdited.connect(self._on_out_edited)
        row.addWidget(self.out, 1)
        row.addWidget(button("", "folder", on_click=self._on_browse, name=tr("Choose a folder")))
        return holder

    @property
    def dtype(self) -> str | None:
        """Return fp32, bf16, fp16, or None for the base's own."""
        return DTYPES[max(0, self.dtypes.checkedId())][0]

    @property
    def folder(self) -> Path | None:
        """Return where the merged model goes, None while the field is empty."""
        text = self.out.text().strip()
        return Path(text).expanduser().absolute() if text else None

    def show_adapters(self, names: list[str], chosen: int) -> None:
        """Fill the list."""
        self.adapter_box.clear()
        self.adapter_box.addItems(names)
        self.adapter_box.setCurrentIndex(chosen)

    def show_pair(self, pair: Pair | None) -> None:
        """Show what was read of the adapter and its base, None while that goes on."""
        self._pair = pair
        if pair is None:
            self.base_label.setText("")
            self.room.setText("")
            return
        base = pair.base
        self.base_label.setText(f"{base.name} · {number(base.parameters / 1e6)} M · {base.dtype}")
        self.propose_folder()

    def propose_folder(self) -> None:
        """Name a folder that is not there yet, unless a person named one."""
        if self._pair is not None and not self._named_by_hand:
            self.out.setText(str(free_folder(self._pair.name)))
        self._show_room()

    def show_progress(self, words: str, share: float) -> None:
        """Say what is being done; the bar never runs backwards."""
        self.stage.setText(words)
        self.meter.set(max(share, self.meter.value))

    def set_busy(self, busy: bool) -> None:
        """Lock the fields and show the bar while a merge goes on."""
        for widget in (self.stage, self.meter):
            widget.setVisible(busy)
        for field in (self.adapter_box, self.out, *self.dtypes.buttons()):
            field.setEnabled(not busy)
        if not busy:
            self.meter.set(0.0)

    def _show_room(self) -> None:
        """Count the disk space before anything is written."""
        if self._pair is None:
            return
        place = self.folder or paths.exports_dir()
        while not place.exists() and place != place.parent:
            place = place.parent
        needed, free = self._pair.merged_bytes(self.dtype), shutil.disk_usage(place).free
        words = tr("{needed} will be written; {free} are free.")
        self.room.setText(words.format(needed=size(needed), free=size(free)))
        self.room.set_token("dim" if free > needed + SPARE_BYTES else "bad")

    def _on_out_edited(self, text: str) -> None:
        self._named_by_hand = bool(text.strip())
        self._on_changed()

    def _on_browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, tr("Where the merged model goes"), str(paths.exports_dir())
        )
        if chosen and self._pair is not None:
            self._named_by_hand = True
            self.out.setText(str(free_folder(self._pair.name, Path(chosen))))
            self._on_changed()

    def _on_changed(self) -> None:
        self._show_room()
        self.changed.emit()
