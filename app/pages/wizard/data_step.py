"""Step 2: which examples, how they are read, what of them is trained, and how long they may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QKeyCombination, Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QFileDialog, QPushButton, QVBoxLayout, QWidget

from app import i18n
from app.pages.wizard.data_cards import EXAMPLES, FactsRow, FormatSample, ProblemsCard, SourceLine
from app.pages.wizard.data_parts import ExamplePanel, LengthsPanel
from app.pages.wizard.data_view import DataView, copy_without
from app.pages.wizard.fields import counted
from app.pages.wizard.mapping import column_lines, columns_after, roles_of
from app.pages.wizard.state import WizardState
from app.pages.wizard.step import Step, take_focus
from app.pages.wizard.template_editor import TemplateEditor
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.drop_zone import DropZone
from app.widgets.form import FieldRow, Form
from app.widgets.mapping_view import MappingView
from app.widgets.notice import Notice
from app.widgets.option_card import OptionRow
from app.widgets.plan_column import Advice
from engine.paths import resources
from engine.recipe.fields import field_spec

SUFFIXES = "Data (*.jsonl *.json *.csv *.tsv *.txt *.md);;All files (*)"
READING = ("data.format", "data.system_prompt", "data.train_on", "data.chat_template", "data.dedupe")
UPPER_LIMIT = 8192
CUTTING = ("data.max_length", "data.too_long")
SPLITTING = ("data.validation_split", "data.validation")


class DataStep(Step):
    """Files, an example as the model gets it, columns, lengths."""

    name = "data"

    def __init__(self, state: WizardState) -> None:
        super().__init__(state)
        self._build_empty()
        self._build_filled()
        self.column.addStretch(1)
        self._connect()
        self.set_level("simple")
        self.show_data()

    # -- building ------------------------------------------------------------------------------------------
    def _build_empty(self) -> None:
        self.zone = DropZone(
            "Drop a file with examples here",
            "JSON, JSONL, CSV, TSV or plain text. The format and the columns are found from the first rows.",
            ("Add file…", self._on_add_pressed),
        )
        self.column.addWidget(self.zone)
        self.bundled = Card("Or take a bundled example")
        self.examples = OptionRow([(e.name, e.title, e.sentence) for e in EXAMPLES])
        for example in EXAMPLES:
            self.examples.cards[example.name].show_figures(example.figures())
        self.bundled.body.addWidget(self.examples)
        self.column.addWidget(self.bundled)
        self.formats = Card("What a row may look like")
        for shape in FormatSample.all():
            self.formats.body.addWidget(shape)
        self.column.addWidget(self.formats)

    def _build_filled(self) -> None:
        self.filled = QWidget()
        column = QVBoxLayout(self.filled)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(self.column.spacing())
        column.addWidget(self._build_sources())
        self.error = Notice("bad")
        self.error.hide()
        column.addWidget(self.error)
        self.panel = ExamplePanel()
        column.addWidget(self.panel)
        self.columns_card = Card("Columns")
        self.mapping = MappingView()
        self.columns_card.body.addWidget(self.mapping)
        column.addWidget(self.columns_card)
        column.addWidget(self._build_lengths())
        self.reading = Card("How it is read and learned")
        form = Form([], self.rules)
        for path in READING:
            spec = field_spec(path)
            editor = TemplateEditor(spec) if path == "data.chat_template" else None
            form.add_row(FieldRow(spec, self.rules, editor))
        self.reading.body.addWidget(self.add_form(form))
        column.addWidget(self.reading)
        self.splitting, _ = self.form_card("Kept aside to measure on", SPLITTING)
        column.addWidget(self.splitting)
        self.problems = ProblemsCard()
        column.addWidget(self.problems)
        self.column.addWidget(self.filled)

    def _build_sources(self) -> Card:
        self.sources_card = Card(
            "Data", button("Add file…", "plus", on_click=self._on_add_pressed, compact=True)
        )
        self._sources = QVBoxLayout()
        self._sources.setSpacing(2)
        self.sources_card.body.addLayout(self._sources)
        self.figures = FactsRow()
        self.sources_card.body.addWidget(self.figures)
        return self.sources_card

    def _build_lengths(self) -> LengthsPanel:
        self.lengths = LengthsPanel()
        form = self.add_form(Form([field_spec(path) for path in CUTTING], self.rules))
        self.lengths.body.addWidget(form)
        return self.lengths

    def _connect(self) -> None:
        self.zone.dropped.connect(self.add_files)
        self.examples.chosen.connect(self.take_example)
        self.mapping.role_chosen.connect(self._on_role_chosen)
        self.lengths.cut_pulled.connect(lambda cut: self.state.set_value("data.max_length", cut))
        self.state.data_changed.connect(self.show_data)
        self.state.data_read.connect(self.figures.show_progress)
        within = Qt.ShortcutContext.WidgetWithChildrenShortcut
        for keys, act in (
            (Qt.Key.Key_PageUp, lambda: self.panel.page(-1)),
            (Qt.Key.Key_PageDown, lambda: self.panel.page(1)),
            (QKeyCombination(Qt.Modifier.CTRL, Qt.Key.Key_G), lambda: take_focus(self.panel.place)),
        ):
            QShortcut(QKeySequence(keys), self, context=within).activated.connect(act)

    # -- showing -------------------------------------------------------------------------------------------
    def settled(self) -> bool:
        return not self.state.data_busy

    def set_level(self, level: str) -> None:
        super().set_level(level)
        self._show_cards()

    def on_values(self, paths: frozenset[str]) -> None:
        if "data.train" in paths:
            self.panel.index = 0
            self.show_data()
        elif "data.max_length" in paths or "data.too_long" in paths:
            self.lengths.set_cut(self.state.value("data.max_length"), self.state.value("data.too_long"))

    def show_data(self) -> None:
        """Show the files, what was found in them, and one example."""
        files = self.state.value("data.train")
        self._show_sources(files)
        view = self.state.data if files else None
        error = self.state.data_error if files else None
        self.error.setVisible(error is not None and not self.state.data_busy)
        if view is not None:
            self._show_mapping(view)
        if error is not None:
            self.error.show_error(error, self._repairs(error))
        if view is not None and error is None:
            self.figures.show_view(view, self.state.data_busy)
            data = self.state.recipe.data
            self.lengths.show_view(view, data.max_length, data.too_long)
            self.panel.show_view(view, data.train_on)
            self.problems.show_problems(view.problems)
        else:
            self.figures.show_waiting(self.state.data_busy)
        self.figures.setVisible(error is None)
        self._show_cards()
        self.advice_changed.emit()

    def _show_cards(self) -> None:
        files = bool(self.state.value("data.train"))
        known = files and self.state.data is not None and self.state.data_error is None
        for widget in (self.zone, self.bundled, self.formats):
            widget.setHidden(files)
        self.filled.setVisible(files)
        self.panel.setVisible(known and bool(self.state.data and self.state.data.train_examples))
        self.lengths.setVisible(known)
        self.columns_card.setVisible(files and self.state.data is not None and bool(self.mapping.combos))
        self.problems.setVisible(known and bool(self.state.data and self.state.data.problems))

    def _show_sources(self, files: list[str]) -> None:
        while (item := self._sources.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        for file in files:
            line = SourceLine(file)
            line.removed.connect(lambda f=file: self.remove_file(f))
            self._sources.addWidget(line)

    def _show_mapping(self, view: DataView) -> None:
        self.mapping.show_columns(column_lines(view, self.state.recipe.data), roles_of(view.format))

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
        view = self.state.data
        if view is None or view.error is not None:
            return []
        found = []
        if view.truncated:
            limit = min(UPPER_LIMIT, view.longest)
            press = (
                f"Raise to {i18n.number(limit)}",
                lambda: self.state.set_value("data.max_length", limit),
            )
            count = counted(view.truncated, "example", "examples")
            title = f"{count} longer than {i18n.number(view.max_length)} tokens"
            found.append(Advice("warn", title, "What is behind the cut is not learned.", press))
        if view.refused:
            text = view.problems[0].message if view.problems else ""
            title = f"{counted(view.refused, 'row', 'rows')} cannot be used"
            found.append(Advice("bad", title, text, self._mend_action()))
        if view.duplicates and not self.state.value("data.dedupe"):
            press = ("Leave them out", lambda: self.state.set_value("data.dedupe", True))
            title = f"{counted(view.duplicates, 'row', 'rows')} said before, word for word"
            found.append(Advice("info", title, "Repeated rows count twice when the model learns.", press))
        if not view.validation_examples:
            press = ("Keep 10 % aside", lambda: self.state.set_value("data.validation_split", 0.1))
            found.append(Advice("warn", "Nothing is kept to measure on", "", press))
        return found

    def focus_field(self, path: str) -> bool:
        if path == "data.train":
            target: QWidget = self.sources_card if self.state.value("data.train") else self.zone
            self._reveal(target)
            take_focus(target.findChildren(QPushButton)[0])
            return True
        if path == "data.columns" and self.mapping.combos:
            self._reveal(self.columns_card)
            take_focus(next(iter(self.mapping.combos.values())))
            return True
        return super().focus_field(path)

    # -- choosing ------------------------------------------------------------------------------------------
    def add_files(self, files: list[Path]) -> None:
        """Add files to the training data."""
        known = list(self.state.value("data.train"))
        known += [str(file) for file in files if str(file) not in known]
        changes: dict[str, Any] = {"data.train": known}
        if not self.state.value("data.train"):
            changes |= {"data.columns": {}, "data.format": "auto"}
        self.state.set_values(changes)
        for file in files:
            self.state.services.settings.remember("recent_data", str(file))

    def remove_file(self, file: str) -> None:
        """Leave a file out again."""
        rest = [name for name in self.state.value("data.train") if name != file]
        self.state.set_values({"data.train": rest, "data.columns": {}})

    def take_example(self, name: str) -> None:
        """Use a bundled example, with the fields that suit it."""
        example = next((e for e in EXAMPLES if e.name == name), None)
        if example is None:
            # A field's language is learned from texts of one's own; only the way to read them is set.
            self.state.set_values({"data.format": "text", "data.train_on": "all"})
            return
        changes: dict[str, Any] = {
            "data.train": [str(resources("examples", example.name, example.file))],
            "data.format": "auto",
            "data.columns": {},
            "data.validation": None,
            **example.overrides(),
        }
        self.state.set_values(changes)

    def _mend_action(self) -> tuple[str, Callable[[], object]] | None:
        """Return the press that writes a copy without the wrong rows, where rows are lines."""
        view, files = self.state.data, self.state.value("data.train")
        if view is None or not all(Path(name).suffix.lower() in (".jsonl", ".ndjson") for name in files):
            return None
        return ("Use a copy without them", self.mend)

    def mend(self) -> None:
        """Train on copies of the files that leave the wrong rows out; the files themselves stay."""
        view = self.state.data
        if view is None:
            return
        wrong: dict[str, set[int]] = {}
        for finding in view.problems:
            if finding.severity == "error" and finding.line:
                wrong.setdefault(str(Path(finding.file)), set()).add(finding.line)

        def write() -> list[str]:
            return [
                str(copy_without(Path(name), wrong[name])) if name in wrong else name
                for name in self.state.value("data.train")
            ]

        self.state.services.background.run(
            write, lambda files: self.state.set_value("data.train", files), self.error.show_error
        )

    def _on_add_pressed(self) -> None:
        chosen, _ = QFileDialog.getOpenFileNames(self, "Choose files with examples", "", SUFFIXES)
        if chosen:
            self.add_files([Path(name) for name in chosen])

    def _on_role_chosen(self, column: str, role: str) -> None:
        view = self.state.data
        if view is not None:
            self.state.set_value("data.columns", columns_after(view, self.state.recipe.data, column, role))

    def _repairs(self, error: Any) -> list[tuple[str, Any]]:
        found: list[tuple[str, Any]] = [("Read again", self.state.look_again)]
        if self.mapping.combos and error.field == "data.columns":
            found.insert(0, ("Choose the columns", lambda: self.focus_field("data.columns")))
        if len(self.state.value("data.train")) == 1:
            found.append(("Choose another file…", self._on_replace_pressed))
        if error.field and error.field in self.rows:
            found.append(("Show the field", lambda: self.focus_field(error.field)))
        return found

    def _on_replace_pressed(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Choose a file with examples", "", SUFFIXES)
        if chosen:
            self.state.set_values({"data.train": [chosen], "data.columns": {}, "data.format": "auto"})
