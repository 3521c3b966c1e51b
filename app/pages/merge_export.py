"""Export: what, as which format with its size, in which numbers, and where it goes."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QWidget,
)

from app import exporting
from app.choices import Choice
from app.exporting import DEFAULT_TYPE, FORMATS, TYPED, Exportable
from app.i18n import size, tr
from app.merging import free_bytes
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.flow import FlowLayout
from app.widgets.label import TextLabel, set_tip
from app.widgets.option_card import OptionCard
from engine import paths
from engine.models.export_facts import TYPES

SPARE_BYTES = 64 << 20  # what the engine leaves free besides
COLUMNS = 3
HUB = (
    "To the Hugging Face hub: put --push owner/name behind the command. It lists what would be sent, and "
    "sends it with --yes only."
)


class MergeExport(Card):
    """Format cards and fields.

    Signals:
        source_chosen: the place in the list of what can be exported.
        changed: format, type or place are others now.
    """

    source_chosen = Signal(int)
    changed = Signal()

    def __init__(self) -> None:
        super().__init__(tr("What is exported"))
        self.what: Exportable | None = None
        self.format = "safetensors"
        self._named_by_hand = False
        self._busy = False
        self.source = QComboBox()
        self.source.setAccessibleName(tr("What is exported"))
        self.source.activated.connect(self.source_chosen)
        self.source.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.source.setMinimumContentsLength(20)
        self.about = TextLabel("", "small", wrap=True)
        self.body.addWidget(self.source)
        self.body.addWidget(self.about)
        self.body.addSpacing(6)
        self.body.addWidget(TextLabel(tr("Format"), "heading"))
        self.body.addWidget(self._build_cards())
        self.body.addSpacing(6)
        self.body.addLayout(self._build_fields())
        self.body.addStretch(1)
        self._show()

    def _build_cards(self) -> QWidget:
        holder = QWidget()
        grid = QGridLayout(holder)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(8)
        self.cards: dict[str, OptionCard] = {}
        for place, (name, (title, sentence)) in enumerate(FORMATS.items()):
            card = OptionCard(tr(title), tr(sentence))
            card.pressed.connect(lambda name=name: self.choose(name))
            self.cards[name] = card
            grid.addWidget(card, place // COLUMNS, place % COLUMNS)
        for column in range(COLUMNS):
            grid.setColumnStretch(column, 1)
        return holder

    def _build_fields(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(8)
        grid.setColumnStretch(1, 1)
        self.types_words = TextLabel(tr("Numbers"), "dim")
        self.types = QWidget()
        flow = FlowLayout(self.types, spacing=6)
        self.chips = QButtonGroup(self)
        for place, name in enumerate(TYPES):
            chip = button(name, kind="chip", name=tr("Type {name}").format(name=name))
            self.chips.addButton(chip, place)
            flow.addWidget(chip)
            chip.setChecked(name == DEFAULT_TYPE)
        self.chips.idClicked.connect(lambda _: self._on_changed())
        self.program = TextLabel(tr(exporting.WANTS_PROGRAM), "small", wrap=True)
        place = QWidget()
        row = QHBoxLayout(place)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        self.out = QLineEdit()
        self.out.setAccessibleName(tr("Where it goes"))
        self.out.textEdited.connect(self._on_out_edited)
        row.addWidget(self.out, 1)
        row.addWidget(button("", "folder", on_click=self._on_browse, name=tr("Choose a folder")))
        self.place_words = TextLabel(tr("Folder"), "dim")
        self.room = TextLabel("", "small", wrap=True)
        grid.addWidget(self.types_words, 0, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self.types, 0, 1)
        grid.addWidget(self.program, 1, 1)
        grid.addWidget(self.place_words, 2, 0)
        grid.addWidget(place, 2, 1)
        grid.addWidget(self.room, 3, 1)
        hub = TextLabel(tr(HUB), "small", wrap=True).make_selectable()
        grid.addWidget(hub, 4, 1)
        return grid

    # -- what it says --------------------------------------------------------------------------------------
    @property
    def kind(self) -> str:
        """Return the chosen type of numbers."""
        return list(TYPES)[max(0, self.chips.checkedId())]

    @property
    def place(self) -> Path | None:
        """Return where the export goes, None while the field is empty."""
        text = self.out.text().strip()
        return Path(text).expanduser().absolute() if text else None

    @property
    def ready(self) -> bool:
        """Return whether it can be exported as it stands."""
        return self.what is not None and not self.what.refuses(self.format)

    def command(self) -> str:
        """Return what does the same on the command line."""
        assert self.what is not None
        return exporting.command(self.what, self.format, self.kind, self.place or paths.exports_dir())

    # -- what it is told -----------------------------------------------------------------------------------
    def show_sources(self, choices: list[Choice], chosen: int) -> None:
        """Fill the list."""
        self.source.clear()
        self.source.addItems([choice.label for choice in choices])
        self.source.setCurrentIndex(chosen)

    def show_what(self, what: Exportable | None) -> None:
        """Show what was read of the chosen entry, None while that goes on."""
        self.what = what
        if what is not None and what.refuses(self.format):
            self.format = next((name for name in FORMATS if not what.refuses(name)), self.format)
        self.propose_place()

    def choose(self, format: str) -> None:
        """Take a format."""
        if self._busy:
            return
        self.format = format
        self._named_by_hand = False
        self.propose_place()
        self.changed.emit()

    def propose_place(self) -> None:
        """Name a place that is not there yet, unless a person named one."""
        if self.what is not None and not self._named_by_hand:
            kind = exporting.typed(self.format, self.kind) or ""
            self.out.setText(str(exporting.free_place(self.what, self.format, kind)))
            self.out.setCursorPosition(len(self.out.text()))
        self._show()

    def named_again(self) -> None:
        """Propose a name once more: the one before has been used."""
        self._named_by_hand = False
        self.propose_place()

    def set_busy(self, busy: bool) -> None:
        """Lock what a running export was started with."""
        self._busy = busy
        for part in (self.source, self.out, self.types):
            part.setEnabled(not busy)

    # -- looks ---------------------------------------------------------------------------------------------
    def _show(self) -> None:
        what = self.what
        for name, card in self.cards.items():
            reason = what.refuses(name) if what is not None else ""
            card.set_available(what is not None and not reason)
            card.set_chosen(name == self.format)
            card.sentence.setText(reason or tr(FORMATS[name][1]))
            made = what.bytes(name, self.kind) if what is not None and not reason else None
            card.show_figures("" if made is None else tr("about {size}").format(size=size(made)))
            set_tip(card, reason)
        if what is None:
            self.about.setText(tr("reading"))
        else:
            parts = [what.base.name, what.base.dtype, size(what.base.weights_bytes)]
            if what.adapter is not None:
                parts.append(f"{what.adapter.label} {size(what.adapter.bytes)}")
            self.about.setText(" · ".join(parts))
        self._show_types()
        self.place_words.setText(tr("File") if self.format == "script" else tr("Folder"))
        self._show_room()

    def _show_types(self) -> None:
        allowed, program = TYPED.get(self.format, ()), exporting.has_program()
        for place, (name, kind) in enumerate(TYPES.items()):
            chip = self.chips.button(place)
            chip.setVisible(name in allowed)
            chip.setEnabled(program or not kind.foreign)
            if self.what is not None and self.format in ("gguf", "ollama"):
                set_tip(chip, tr("about {size}").format(size=size(self.what.bytes(self.format, name))))
        for part in (self.types_words, self.types):
            part.setVisible(bool(allowed))
        if allowed and self.kind not in allowed:
            self.chips.button(list(TYPES).index(DEFAULT_TYPE)).setChecked(True)
        self.program.setVisible(len(allowed) > COLUMNS and not program)
        self.types.updateGeometry()

    def _show_room(self) -> None:
        made = self.what.bytes(self.format, self.kind) if self.what is not None else None
        if made is None:
            self.room.setText("")
            return
        free = free_bytes(self.place or paths.exports_dir())
        words = tr("About {needed} will be written; {free} are free on the disk.")
        self.room.setText(words.format(needed=size(made), free=size(free)))
        self.room.set_token("dim" if free > made + SPARE_BYTES else "bad")

    def _on_out_edited(self, text: str) -> None:
        self._named_by_hand = bool(text.strip())
        self._on_changed()

    def _on_browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, tr("Where it goes"), str(paths.exports_dir()))
        if chosen and self.what is not None:
            self._named_by_hand = True
            place = exporting.free_place(self.what, self.format, self.kind, Path(chosen))
            self.out.setText(str(place))
            self._on_changed()

    def _on_changed(self) -> None:
        self.propose_place()
        self.changed.emit()
