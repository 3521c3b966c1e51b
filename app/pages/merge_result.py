"""What comes of the board: into the base or as a new adapter, in which numbers, where, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from app.i18n import number, size, tr
from app.merging import DTYPES, Mixing, free_bytes, free_folder
from app.widgets.button import button
from app.widgets.flow import FlowLayout
from app.widgets.label import TextLabel
from engine import paths
from engine.models.merging import Judgement

SPARE_BYTES = 64 << 20  # what the engine leaves free besides
FORMS = ("Into the base", "As a new adapter")


class MergeResult(QWidget):
    """Form, precision, folder, and the figures that are counted before anything is written.

    Signals:
        changed: form, precision or folder are others now.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._mixing: Mixing | None = None
        self._named_by_hand = False
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 2, 0, 0)
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(1, 1)
        self.forms = self._chips(FORMS)
        self.dtypes = self._chips([words for _, words in DTYPES])
        self.figures = TextLabel("", "small_text", wrap=True)
        self.room = TextLabel("", "small", wrap=True)
        takes = QWidget()
        both = QVBoxLayout(takes)
        both.setContentsMargins(0, 0, 0, 0)
        both.setSpacing(1)
        both.addWidget(self.figures)
        both.addWidget(self.room)
        rows = (
            (tr("Result"), _flow(self.forms)),
            (tr("Precision"), _flow(self.dtypes)),
            (tr("Folder"), self._build_out()),
            (tr("Takes"), takes),
        )
        for line, (words, widget) in enumerate(rows):
            place = Qt.AlignmentFlag.AlignTop if widget is takes else Qt.AlignmentFlag(0)
            grid.addWidget(TextLabel(words, "dim"), line, 0, place)
            grid.addWidget(widget, line, 1)

    def _chips(self, words: Any) -> QButtonGroup:
        group = QButtonGroup(self)
        group.setExclusive(True)
        for index, text in enumerate(words):
            chip = button(tr(text), kind="chip")
            chip.setChecked(index == 0)
            group.addButton(chip, index)
        group.idClicked.connect(lambda _: self._on_changed())
        return group

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
    def adapter_only(self) -> bool:
        """Return whether a new adapter is made, and no merged model."""
        return self.forms.checkedId() == 1

    @property
    def dtype(self) -> str | None:
        """Return fp32, bf16, fp16, or None for the base's own (of an adapter float32)."""
        return DTYPES[max(0, self.dtypes.checkedId())][0]

    @property
    def folder(self) -> Path | None:
        """Return where the result goes, None while the field is empty."""
        text = self.out.text().strip()
        return Path(text).expanduser().absolute() if text else None

    def show_result(self, mixing: Mixing, judged: Judgement | None) -> None:
        """Count what a merge of the board makes and takes."""
        self._mixing = mixing if mixing.sources else None
        first = self.dtypes.button(0)
        words = tr("float32") if mixing.adapter_only else tr("As the base")
        first.setText(words)
        first.setAccessibleName(words)
        self.dtypes.button(1).setHidden(mixing.adapter_only)  # it is the first one there
        self.propose_folder()
        if self._mixing is None or judged is None or judged.methods[mixing.method] is not None:
            self.figures.setText("–")
            self.room.setText("")
            return
        made = judged.bytes[mixing.method]
        rank = judged.resulting_rank[mixing.method]
        parts = [size(made), mixing.dtype_name]
        if mixing.adapter_only and rank is not None:
            parts.insert(0, tr("rank {r}").format(r=number(rank)))
        memory = tr("memory {merge} to merge, {check} to compare")
        parts.append(memory.format(merge=size(judged.memory_bytes), check=size(judged.check_bytes)))
        self.figures.setText(" · ".join(parts))
        self._show_room(made)

    def propose_folder(self) -> None:
        """Name a folder that is not there yet, unless a person named one."""
        if self._mixing is not None and not self._named_by_hand:
            ending = "adapter" if self.adapter_only else "merged"
            self.out.setText(str(free_folder(self._mixing.name, ending=ending)))
            self.out.setCursorPosition(len(self.out.text()))

    def _show_room(self, made: int) -> None:
        """Count the disk space before anything is written."""
        free = free_bytes(self.folder or paths.exports_dir())
        words = tr("{needed} will be written, {free} of disk are free.")
        self.room.setText(words.format(needed=size(made), free=size(free)))
        self.room.set_token("dim" if free > made + SPARE_BYTES else "bad")

    def named_again(self) -> None:
        """Propose a name once more: the one before has been used."""
        self._named_by_hand = False
        self.propose_folder()

    def _on_out_edited(self, text: str) -> None:
        self._named_by_hand = bool(text.strip())
        self._on_changed()

    def _on_browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, tr("Where the result goes"), str(paths.exports_dir()))
        if chosen and self._mixing is not None:
            self._named_by_hand = True
            ending = "adapter" if self.adapter_only else "merged"
            self.out.setText(str(free_folder(self._mixing.name, Path(chosen), ending)))
            self._on_changed()

    def _on_changed(self) -> None:
        if self.adapter_only and self.dtypes.checkedId() == 1:
            self.dtypes.button(0).setChecked(True)
        self.changed.emit()


def _flow(group: QButtonGroup) -> QWidget:
    holder = QWidget()
    flow = FlowLayout(holder, spacing=6)
    for chip in group.buttons():
        flow.addWidget(chip)
    return holder
