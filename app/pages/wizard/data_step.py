"""Step 2: which examples, how they are read, what of them is trained, and how long they may be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QKeyCombination, Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QFileDialog, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.data_bundled import EXAMPLES
from app.pages.wizard.data_checks import ChecksColumn, ChecksView, DoublesCard
from app.pages.wizard.data_columns import ColumnsCard
from app.pages.wizard.data_encoding import EncodingPanel
from app.pages.wizard.data_example import ExamplePanel
from app.pages.wizard.data_facts import FactsRow
from app.pages.wizard.data_files import FileState, in_place_of, nothing_said, states_of
from app.pages.wizard.data_hub import HubSet
from app.pages.wizard.data_lengths import LengthsPanel
from app.pages.wizard.data_recent import RecentData
from app.pages.wizard.data_shown import DataShown
from app.pages.wizard.data_sources import SourceList
from app.pages.wizard.data_start import DataStart
from app.pages.wizard.state import WizardState
from app.pages.wizard.step import Step, take_focus
from app.pages.wizard.template_editor import TemplateEditor
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.form import FieldRow, Form
from app.widgets.label import hairline
from app.widgets.notice import Notice
from app.widgets.plan_column import Advice
from engine.recipe.fields import field_spec

SUFFIXES = (
    "Data (*.jsonl *.ndjson *.json *.csv *.tsv *.xlsx *.parquet *.arrow *.txt *.md *.yaml *.yml "
    "*.gz *.zst *.zip);;All files (*)"
)
READING = (
    "data.format",
    "data.system_prompt",
    "data.train_on",
    "data.chat_template",
    "data.system_message",
    "data.special_tokens",
    "data.delimiter",
    "data.header",
)
KEEPING = ("data.bad_rows", "data.dedupe", "data.near_duplicates")
CUTTING = ("data.max_length", "data.too_long", "data.packing")
SPLITTING = ("data.validation_split", "data.split_seed", "data.validation", "data.overlap")


class DataStep(Step):
    """Files, an example as the model gets it, columns, lengths, checks.

    What is shown of the data, and what presses do to the recipe, is in `shown` (DataShown).
    """

    name = "data"

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        services = state.services
        self.side = ChecksColumn()
        self.start = DataStart(services, HubSet(services))
        self.column.addWidget(self.start)
        self.files: dict[str, FileState] = {}
        self._looking = 0
        self._build_filled()
        self.column.addStretch(1)
        self.shown_data = DataShown(self)
        self.recent = RecentData(services, self)
        self.add_button = button("Add source…", "plus", on_click=self.ask_for_files)
        self._connect()
        self.set_level("simple")
        self.shown_data.show()

    # -- building ------------------------------------------------------------------------------------------
    def _build_filled(self) -> None:
        services = self.state.services
        self.filled = QWidget()
        column = QVBoxLayout(self.filled)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(self.column.spacing())
        self.facts_card = Card()
        self.figures = FactsRow()
        self.sources = SourceList()
        self.facts_line = hairline()
        for widget in (self.figures, self.facts_line, self.sources):
            self.facts_card.body.addWidget(widget)
        self.error = Notice("bad")
        self.error.hide()
        self.encodings = EncodingPanel(services)
        self.panel = ExamplePanel(services)
        self.columns_card = ColumnsCard()
        self.lengths = LengthsPanel()
        self.lengths.body.addWidget(self.add_form(Form([field_spec(path) for path in CUTTING], self.rules)))
        self.checks_card = Card()
        self.checks = ChecksView()
        self.checks_card.body.addWidget(self.checks)
        self.doubles = DoublesCard()
        self.reading = Card("How it is read and learned")
        form = Form([], self.rules)
        for path in READING:
            spec = field_spec(path)
            editor = TemplateEditor(spec) if path == "data.chat_template" else None
            form.add_row(FieldRow(spec, self.rules, editor))
        self.reading.body.addWidget(self.add_form(form))
        self.keeping, _ = self.form_card("Which rows are kept", KEEPING)
        self.splitting, _ = self.form_card("Kept aside to measure on", SPLITTING)
        for widget in (self.facts_card, self.error, self.encodings, self.checks_card, self.panel):
            column.addWidget(widget)
        for widget in (self.columns_card, self.lengths, self.doubles, self.reading, self.keeping):
            column.addWidget(widget)
        column.addWidget(self.splitting)
        self.checks_card.hide()
        self.column.addWidget(self.filled)

    def _connect(self) -> None:
        self.start.files_chosen.connect(self.add_files)
        self.start.file_requested.connect(self.ask_for_files)
        self.start.folder_requested.connect(self.ask_for_folder)
        self.start.example_chosen.connect(self.take_example)
        self.recent.chosen.connect(lambda file: self.add_files([Path(file)]))
        self.recent.located.connect(self._on_located)
        self.start.hub.made.connect(lambda path: self.add_files([path]))
        self.state.data_read.connect(self.figures.show_progress)
        within = Qt.ShortcutContext.WidgetWithChildrenShortcut
        for keys, act in (
            (Qt.Key.Key_PageUp, lambda: self.panel.page(-1)),
            (Qt.Key.Key_PageDown, lambda: self.panel.page(1)),
            (QKeyCombination(Qt.Modifier.CTRL, Qt.Key.Key_G), lambda: take_focus(self.panel.place)),
        ):
            QShortcut(QKeySequence(keys), self, context=within).activated.connect(act)

    # -- what the wizard asks ------------------------------------------------------------------------------
    def settled(self) -> bool:
        calm = not self.state.data_busy and not self._looking and self.shown_data.settled()
        return calm and self.panel.settled() and self.encodings.settled()

    def shown(self) -> None:
        self.look_at_files()
        self.start.look()
        self.recent.look()

    def set_level(self, level: str) -> None:
        super().set_level(level)
        simple = level == "simple"
        self.keeping.setHidden(simple)

    def set_narrow(self, narrow: bool) -> None:
        """Show the checks in the column of cards, where there is no room for a column of their own."""
        self.checks_card.setVisible(narrow)

    def on_values(self, paths: frozenset[str]) -> None:
        if "data.train" in paths:
            self.panel.index = 0
            self.look_at_files()
        self.shown_data.on_values(paths)

    def facts(self) -> str:
        files = self.state.value("data.train")
        if not files:
            return ""
        name = Path(files[0]).name + (f" + {len(files) - 1}" if len(files) > 1 else "")
        view = self.state.data
        if self.state.data_error is not None:
            return f"{name} · cannot be read"
        if self.state.data_busy or view is None:
            return f"{name} · reading" if self.state.data_busy else name
        return f"{name} · {i18n.number(view.train_examples + view.validation_examples)}"

    def advice(self) -> list[Advice]:
        return self.shown_data.advice()

    def focus_field(self, path: str) -> bool:
        if path == "data.columns" and self.columns_card.mapping.combos:
            combo = next(iter(self.columns_card.mapping.combos.values()))
            self._reveal(self.columns_card)
            take_focus(combo)
            return True
        if path in ("data.sources", "data.encoding", "data.part"):
            self._reveal(self.facts_card if self.state.value("data.train") else self.start)
            return True
        if path == "data.label_names":
            self._reveal(self.columns_card)
            return True
        if path == "data.role_names" and self.columns_card.focus_names():
            self._reveal(self.columns_card)
            return True
        return super().focus_field(path)

    def top_bar_buttons(self) -> list[QWidget]:
        """Return what the top bar offers on this step."""
        return [self.recent.button, self.add_button]

    def reveal(self, widget: QWidget) -> None:
        """Scroll until a card can be seen."""
        self._reveal(widget)

    # -- files ---------------------------------------------------------------------------------------------
    def look_at_files(self) -> None:
        """Find out in the background whether the files are there, and how large."""
        files = list(self.state.value("data.train"))
        self._looking += 1

        def taken(found: dict[str, FileState]) -> None:
            self._looking -= 1
            self.files = found
            self.shown_data.show_sources()

        self.state.services.background.run(lambda: states_of(files), taken)

    def add_files(self, files: list[Path]) -> None:
        """Train on more files or folders; the first ones decide the columns anew."""
        known = self.state.value("data.train")
        new = [str(file) for file in files]
        changes: dict[str, Any] = {"data.train": list(dict.fromkeys([*known, *new]))}
        if not known:
            changes |= nothing_said()
        self.state.set_values(changes)
        for name in new:
            self.state.services.settings.remember("recent_data", name)

    def take_example(self, name: str) -> None:
        """Use a bundled example, with the fields that suit it."""
        example = next(e for e in EXAMPLES if e.name == name)
        changes: dict[str, Any] = {
            "data.train": [str(example.path())],
            "data.validation": None,
            "data.sources": {},
            **nothing_said(),
            **example.overrides(),
        }
        self.state.set_values(changes)

    def _on_located(self, name: str, file: Path) -> None:
        """Use a recent file from where it is now; one that is used already keeps what was said of it."""
        data = self.state.recipe.data
        if name in data.train:
            self.state.set_values(in_place_of(data, name, str(file)))
        else:
            self.add_files([file])

    def ask_for_files(self) -> None:
        """Let files be looked for."""
        chosen, _ = QFileDialog.getOpenFileNames(self, "Choose files with examples", "", SUFFIXES)
        if chosen:
            self.add_files([Path(name) for name in chosen])

    def ask_for_folder(self) -> None:
        """Let a folder of data be looked for."""
        chosen = QFileDialog.getExistingDirectory(self, "Choose a folder with data")
        if chosen:
            self.add_files([Path(chosen)])
