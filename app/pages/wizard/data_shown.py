"""What the data step shows of the data, and what its presses do to the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QFileDialog

from app.pages.wizard import data_files
from app.pages.wizard.data_checks import remark_of
from app.pages.wizard.data_names import NamesLookup
from app.pages.wizard.data_peek import (
    ShownRow,
    ShownSource,
    broken_row,
    checks_of,
    index_of,
    rows_of,
    rows_of_kind,
    shown_row,
    sources_of,
)
from app.pages.wizard.data_plan import LengthPreview, show_length_plan, show_pulled_plan
from app.pages.wizard.data_sources import SourceFacts
from app.pages.wizard.mapping import column_lines, columns_after, role_map, roles_of
from app.widgets.count_bars import CountBar
from app.widgets.plan_column import Advice
from engine.data.options import options_for
from engine.errors import EngineError
from engine.recipe.data_options import DataOptions

if TYPE_CHECKING:
    from app.pages.wizard.data_step import DataStep

BARS = (
    ("duplicates", "Duplicates"),
    ("near_duplicates", "Near-duplicates"),
    ("empty_prompts", "Empty questions"),
)
MOST_REMARKS = 12


class DataShown(QObject):
    """Stands between the step's cards and the wizard's state."""

    def __init__(self, step: DataStep) -> None:
        super().__init__(step)
        self._step, self._state = step, step.state
        self._preview = LengthPreview(self._state)
        self._source = 0  # the file whose columns are shown
        self._names = NamesLookup(self._state.services.background, self._on_names_found)
        self._pulled: int | None = None
        self._view: Any = None
        self._sources: list[ShownSource] = []
        self._connect()

    def _connect(self) -> None:
        step = self._step
        step.sources.removed.connect(self.remove_file)
        step.sources.locate_requested.connect(self.locate)
        step.sources.encoding_requested.connect(self._on_encoding_requested)
        step.sources.part_chosen.connect(lambda file, part: self._say(file, part=part, columns=None))
        step.sources.share_edited.connect(self._on_share_edited)
        step.encodings.chosen.connect(self._on_encoding_chosen)
        card = step.columns_card
        card.role_chosen.connect(self._on_role_chosen)
        card.format_chosen.connect(self._on_format_chosen)
        card.source_chosen.connect(self._on_source_chosen)
        card.role_names_edited.connect(lambda names: self._say(self._file(), role_names=dict(names)))
        card.label_names_edited.connect(lambda names: self._say(self._file(), label_names=dict(names)))
        step.lengths.cut_pulled.connect(self._on_cut_pulled)
        step.lengths.cut_released.connect(self._on_cut_released)
        step.lengths.cut_left.connect(self._on_cut_left)
        for view in (step.checks, step.side.checks):
            view.pressed.connect(self.press)
            view.show_pressed.connect(self.show_place)
        step.doubles.filtered.connect(self.filter)
        step.panel.filter_left.connect(lambda: step.doubles.bars.choose(""))
        step.panel.skip_requested.connect(lambda: self._state.set_value("data.bad_rows", "leave_out"))
        self._preview.known.connect(self._on_length_planned)
        self._state.data_changed.connect(self.show)
        self._state.plan_changed.connect(self._show_plan)

    # -- showing -------------------------------------------------------------------------------------------
    def settled(self) -> bool:
        """Say whether nothing is being looked at."""
        return self._preview.settled() and not self._names.busy

    def on_values(self, paths: frozenset[str]) -> None:
        """Follow the recipe."""
        if "data.train" in paths:
            self._source = 0
            self.show()
        elif paths & {"data.sources", "data.part", "data.encoding"}:
            self.show_sources()
        if paths & {"data.max_length", "data.too_long"}:
            self._step.lengths.set_cut(
                self._state.value("data.max_length"), self._state.value("data.too_long")
            )

    def show(self) -> None:
        """Show files, figures, one example, columns, lengths and checks."""
        step, state = self._step, self._state
        files = list(state.value("data.train"))
        view = state.data if files else None
        error = state.data_error if files else None
        step.start.setHidden(bool(files))
        step.filled.setVisible(bool(files))
        known = view is not None and view.error is None and view.whole.survey is not None
        self._view = view if known else None
        self._sources = sources_of(view, files) if view is not None else []
        self.show_sources()
        self._show_error(error)
        self._show_columns(view)
        if known:
            self._show_known(view)
        else:
            step.figures.show_waiting(state.data_busy)
        usable = known and rows_of(view) > 0
        for widget in (step.figures, step.facts_line):
            widget.setVisible(error is None)
        for card in (step.panel, step.lengths):
            card.setVisible(usable)
        self._show_checks()
        self._show_plan()
        step.advice_changed.emit()

    def _show_known(self, view: Any) -> None:
        step, state = self._step, self._state
        data = state.recipe.data
        used = tuple(self._sources[0].mapping.values()) if self._sources else ()
        step.figures.show_view(view, state.data_busy, used)
        if rows_of(view):
            step.lengths.show_view(view, data.max_length, data.too_long)
            step.panel.show_view(view, data.train_on)

    def show_sources(self) -> None:
        """Show the files, each with its size, rows, part, encoding and share."""
        data: DataOptions = self._state.recipe.data
        known = {source.path: source for source in self._sources}
        shared = len(data.train) > 1
        lines = []
        for file in data.train:
            found = known.get(file, ShownSource(file))
            entry = data.sources.get(file)
            share = entry.share if entry is not None else None
            lines.append(
                SourceFacts(
                    file,
                    self._step.files.get(file),
                    found.kind,
                    found.rows,
                    tuple(found.parts),
                    found.part,
                    found.encoding,
                    share,
                    shared,
                )
            )
        self._step.sources.show_sources(lines)

    def _show_error(self, error: EngineError | None) -> None:
        step = self._step
        step.error.setVisible(error is not None and not self._state.data_busy)
        if error is None:
            if not self._asked_encoding():
                step.encodings.put_away()
            return
        # The message names the file and the line already.
        told = error.message if error.message.endswith((".", "?")) else f"{error.message}."
        step.error.show_notice("bad", told, error.hint, self._repairs(error), code=error.code)
        if error.code == "DATA-01" and error.file and Path(error.file).is_file():
            step.encodings.open_for(self._named(error.file))
        else:
            step.encodings.put_away()

    def _asked_encoding(self) -> bool:
        """Say whether a person looks at the encodings of a file that is still one of the data."""
        return self._step.encodings.file in self._state.value("data.train")

    def _named(self, file: str) -> str:
        """Return a file as the recipe names it."""
        names = self._state.value("data.train")
        return next((n for n in names if str(Path(n).expanduser()) == str(Path(file).expanduser())), file)

    def _repairs(self, error: EngineError) -> list[tuple[str, Any]]:
        step, state = self._step, self._state
        found: list[tuple[str, Any]] = [("Read again", state.look_again)]
        if step.columns_card.mapping.combos and error.field == "data.columns":
            found.insert(0, ("Choose the columns", lambda: step.focus_field("data.columns")))
        if error.code in ("DATA-02", "DATA-03", "DATA-04", "DATA-05", "DATA-10"):
            skip = ("Leave such rows out", lambda: state.set_value("data.bad_rows", "leave_out"))
            found.append(skip)
        if len(state.value("data.train")) == 1:
            found.append(("Choose another file…", self._on_replace_pressed))
        if error.field and error.field in step.rows:
            found.append(("Show the field", lambda: step.focus_field(str(error.field))))
        return found

    def _show_columns(self, view: Any) -> None:
        card = self._step.columns_card
        files = [Path(source.path).name for source in self._sources]
        if view is None or not self._sources:
            card.setVisible(False)
            return
        self._source = min(self._source, len(self._sources) - 1)
        source = self._sources[self._source]
        said = options_for(self._state.recipe.data, source.path)
        roles = role_map(source.mapping, said.columns)
        train_on = self._state.value("data.train_on")
        card.show_sources(files, self._source)
        card.show_columns(
            column_lines(source.columns, roles, source.samples, train_on), roles_of(source.format)
        )
        card.show_alternatives(tuple(f for f in source.alternatives if f != source.format))
        answer = roles.get("completion") or roles.get("output")
        card.show_names(self._names.of(source.path, said.read, answer), said.role_names, said.label_names)
        card.setVisible(bool(source.columns))

    def _on_names_found(self) -> None:
        self._show_columns(self._state.data)

    def _checks(self) -> Sequence[Any]:
        return checks_of(self._view) if self._view is not None else ()

    def _show_checks(self) -> None:
        step, busy = self._step, self._state.data_busy
        checks = list(self._checks())
        remarks = [remark_of(check) for check in checks[:MOST_REMARKS]]
        for view in (step.checks, step.side.checks):
            view.show_checks(remarks, busy, self._view is not None)
        counts = {check.id: check.count for check in checks}
        counts.setdefault("duplicates", self._view.duplicates if self._view is not None else 0)
        if self._view is not None:
            counts.setdefault("near_duplicates", self._view.chosen.near_duplicates)
        bars = [CountBar(id, name, counts.get(id, 0)) for id, name in BARS]
        total = rows_of(self._view) if self._view is not None else 0
        step.doubles.setVisible(any(bar.count for bar in bars))
        step.doubles.show_counts(bars, total)

    def _show_plan(self) -> None:
        view, state = self._step.side.plan, self._state
        limit = self._proposed()
        if limit is not None and self._view is not None and self._pulled is None:
            self._preview.ask_once(limit)
        if self._pulled is None:
            memory = self._preview.memory_at(limit)
            show_length_plan(view, state, limit or state.value("data.max_length"), memory)

    def _proposed(self) -> int | None:
        """Return the length that a check proposes."""
        for check in self._checks():
            if check.id == "cut" and "data.max_length" in check.fix:
                return int(check.fix["data.max_length"])
        return None

    def advice(self) -> list[Advice]:
        """Return what is worth a look, for the narrow window's strip."""
        found = []
        for check in self._checks():
            if check.severity != "info":
                press = (check.fix_label, lambda c=check: self.press(c.id)) if check.fix else None
                found.append(Advice(check.severity, check.title, check.detail, press))
        return found

    # -- pressing ------------------------------------------------------------------------------------------
    def press(self, name: str) -> None:
        """Mend what a check found, or show its first place."""
        check = next((c for c in self._checks() if c.id == name), None)
        if check is None:
            return
        if not check.fix:
            self.show_place(name)
            return
        fault = self._state.set_values(check.fix)
        notify = self._state.services.notify
        if fault:
            notify(fault, "bad")
        else:
            notify(f"{check.fix_label}: {check.title}", "ok", ("Undo", self._state.undo))

    def show_place(self, name: str) -> None:
        """Show the first row that a check is about, or page through all of its kind."""
        check = next((c for c in self._checks() if c.id == name and c.places), None)
        if check is None:
            return
        step, view = self._step, self._view
        rows = rows_of_kind(view, check.id)
        place = check.places[0]
        step.reveal(step.panel)
        if rows:
            step.panel.show_only(rows, check.title)
            return
        index = index_of(view, place.file, place.row) if place.row >= 0 else None
        if index is not None:
            step.panel.go_to(index)
            return
        file, line = self._named(place.file), place.line

        problem = EngineError(place.text, str(check.data.get("hint", "")), check.data.get("code", "DATA-02"))

        def look() -> ShownRow:
            if place.row < 0:  # no row came of the line
                return broken_row(view, file, line, problem)
            return shown_row(view, file, place.row, line)

        step.state.services.background.run(look, step.panel.show_example, step.error.show_error)

    def filter(self, name: str) -> None:
        """Page through the rows of a kind alone, or through all."""
        if not name or self._view is None:
            self._step.panel.leave_filter()
            return
        words = dict(BARS).get(name, name)
        self._step.panel.show_only(rows_of_kind(self._view, name), words)
        self._step.reveal(self._step.panel)

    # -- length --------------------------------------------------------------------------------------------
    def _on_cut_pulled(self, cut: int) -> None:
        self._pulled = cut
        self._preview.ask(cut)

    def _on_cut_released(self, cut: int) -> None:
        self._pulled = None
        self._step.ghost_changed.emit(None)
        self._state.set_value("data.max_length", cut)

    def _on_cut_left(self) -> None:
        self._pulled = None
        self._step.ghost_changed.emit(None)
        self._show_plan()

    def _on_length_planned(self, limit: int, memory: float) -> None:
        view = self._step.side.plan
        if self._pulled is not None:
            show_pulled_plan(view, self._state, limit, memory)
            self._step.ghost_changed.emit((f"Cut at {limit} tokens", {"data.max_length": limit}))
        elif limit == self._proposed():
            show_length_plan(view, self._state, limit, memory)

    # -- files ---------------------------------------------------------------------------------------------
    def _file(self) -> str:
        files = self._state.value("data.train")
        return str(files[min(self._source, len(files) - 1)])

    def _say(self, file: str, **changes: Any) -> None:
        """Let the recipe say something of one file."""
        self._state.set_values(data_files.with_own(self._state.recipe.data, file, **changes))

    def remove_file(self, file: str) -> None:
        """Leave a file out again."""
        self._state.set_values(data_files.without_file(self._state.recipe.data, file))

    def locate(self, file: str) -> None:
        """Let a file that is gone be shown where it is now."""
        found, _ = QFileDialog.getOpenFileName(self._step, f"Where is {Path(file).name}?", "")
        if found:
            self._state.set_values(data_files.in_place_of(self._state.recipe.data, file, found))

    def _on_replace_pressed(self) -> None:
        found, _ = QFileDialog.getOpenFileName(self._step, "Choose a file with examples", "")
        if found:
            self._state.set_values({"data.train": [found], "data.sources": {}, **data_files.nothing_said()})

    def _on_encoding_requested(self, file: str) -> None:
        said = options_for(self._state.recipe.data, file)
        self._step.encodings.open_for(file, said.read.encoding)

    def _on_encoding_chosen(self, file: str, codec: str) -> None:
        self._step.encodings.put_away()
        self._say(file, encoding=codec)

    def _on_share_edited(self, file: str, share: Any) -> None:
        data = self._state.recipe.data
        self._state.set_value("data.sources", data_files.sources_with(data, file, share=share))

    # -- columns -------------------------------------------------------------------------------------------
    def _on_source_chosen(self, number: int) -> None:
        self._source = number
        self._show_columns(self._state.data)

    def _on_role_chosen(self, column: str, role: str) -> None:
        source = self._sources[self._source]
        said = options_for(self._state.recipe.data, source.path)
        roles = role_map(source.mapping, said.columns)
        self._say(source.path, columns=columns_after(roles, column, role))

    def _on_format_chosen(self, format: str) -> None:
        self._say(self._file(), format=format, columns=None)
