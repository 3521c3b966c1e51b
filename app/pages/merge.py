"""Merge: an adapter into its base as a plain model folder, which is compared before it is believed."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import Any

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QHBoxLayout, QVBoxLayout, QWidget

from app.choices import Choice, choice_for, read_choices
from app.i18n import size, tr
from app.merging import Pair, is_taken, read_pair
from app.pages.merge_certificate import MergeCertificate
from app.pages.merge_choice import MergeChoice
from app.pages.page import Page, padded_column, scrolled
from app.services import Services
from app.theme.style import current_theme
from app.theme.tokens import GAP
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.empty import EmptyState
from app.widgets.merge_diagram import MergeDiagram, Station
from app.widgets.notice import Notice
from app.workers.engine_thread import EngineThread
from engine import paths
from engine.errors import EngineError
from engine.jobs.spec import create_job

STAGES = {"merge": "Merging tensor by tensor", "check": "Comparing with base + adapter"}
MERGE_SHARE = 0.4  # of the bar; the comparison takes the rest


class MergePage(Page):
    """The chain drawn, what is merged and where to, progress, and the certificate."""

    title = "Merge and export"
    facts = "nothing is written until you press Merge"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.pair: Pair | None = None
        self.result: dict[str, Any] | None = None
        self._choices: list[Choice] = []
        self._wanted: Choice | None = None
        self._reading = 0
        self._thread: EngineThread | None = None
        self._job: Path | None = None
        self._build()
        self._connect()
        self._show()

    # -- making --------------------------------------------------------------------------------------------
    def _build(self) -> None:
        inner = QWidget()
        column = padded_column(inner)
        self.notice = Notice()
        self.notice.hide()
        words = tr(
            "Train an adapter first, or drop an adapter's folder here. Merged into its base it is a plain "
            "model that every program opens."
        )
        self.empty = EmptyState(
            ("chip", "layers", "merge"),
            words,
            (tr("New run"), lambda: self.navigate_requested.emit("wizard", None)),
            (tr("Try the example"), lambda: self.navigate_requested.emit("wizard", {"example": True})),
            title=tr("Nothing to merge yet"),
        )
        self.diagram = MergeDiagram()
        self.chain = Card()
        margin = current_theme().px(10)
        self.chain.body.setContentsMargins(margin, margin, margin, margin)
        self.chain.body.addWidget(self.diagram)
        self.lower = QWidget()
        row = QHBoxLayout(self.lower)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GAP)
        self.choice, self.certificate = MergeChoice(), MergeCertificate()
        row.addWidget(self.choice, 1)
        row.addWidget(self.certificate, 1)
        for widget in (self.notice, self.empty, self.chain):
            column.addWidget(widget)
        column.addWidget(self.lower, 1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner))
        self.copy_button = button(tr("Copy command"), "copy", on_click=self._on_copy)
        self.merge_button = button(tr("Merge"), "merge", "primary", on_click=self.merge)
        self.cancel_button = button(tr("Cancel"), "x", on_click=self._on_cancel)
        self._actions = QWidget()
        actions = QHBoxLayout(self._actions)
        actions.setContentsMargins(0, 0, 0, 0)
        actions.setSpacing(12)
        for made in (self.copy_button, self.cancel_button, self.merge_button):
            actions.addWidget(made)

    def _connect(self) -> None:
        self.choice.adapter_chosen.connect(self._on_adapter_chosen)
        self.choice.changed.connect(self._show_chain)
        self.certificate.chat_requested.connect(self._on_chat)
        self.certificate.folder_requested.connect(self._on_open_folder)

    # -- what the window asks ------------------------------------------------------------------------------
    def top_bar_actions(self) -> list[QWidget]:
        return [self._actions]

    def open_with(self, argument: dict[str, Any]) -> None:
        for name in ("run", "adapter"):
            if argument.get(name):
                try:
                    self._want(choice_for(Path(argument[name])))
                except EngineError as error:
                    self._say_error(error)
                return

    def shown(self) -> None:
        self._reading += 1
        self.services.background.run(read_choices, self._on_choices, self._on_unread)

    def settled(self) -> bool:
        return not self._reading and self._thread is None

    def primary_action(self) -> None:
        self.merge()

    def log_folder(self) -> Path | None:
        return self._job

    def handle_drop(self, path: Path) -> bool:
        if (path / "adapter_config.json").is_file() and self._thread is None:
            self.open_with({"adapter": path})
            return True
        return False

    # -- choosing ------------------------------------------------------------------------------------------
    def _on_choices(self, choices: list[Choice]) -> None:
        self._reading -= 1
        self._choices = [choice for choice in choices if choice.has_adapter and not choice.whole]
        if self._wanted is not None and all(c.target != self._wanted.target for c in self._choices):
            self._choices.insert(0, self._wanted)
        if self._wanted is None and self._choices:
            self._want(self._choices[0])
        self._show()

    def _on_unread(self, error: EngineError) -> None:
        self._reading -= 1
        self._say_error(error)
        self._show()

    def _on_adapter_chosen(self, index: int) -> None:
        if 0 <= index < len(self._choices):
            self._want(self._choices[index])

    def _want(self, choice: Choice) -> None:
        self._wanted, self.pair = choice, None
        if all(known.target != choice.target for known in self._choices):
            self._choices.insert(0, choice)
        self.notice.hide()
        self._reading += 1
        self.services.background.run(lambda: read_pair(choice), self._on_pair, self._on_unread)
        self._show()

    def _on_pair(self, pair: Pair) -> None:
        self._reading -= 1
        self.pair = pair
        self._show()

    def _say_error(self, error: EngineError) -> None:
        self.notice.show_error(error)
        self.notice.show()

    # -- working -------------------------------------------------------------------------------------------
    def command(self) -> str:
        """Return what does the same on the command line."""
        assert self.pair is not None
        words = ["tunesmith", "merge", str(self.pair.folder), "--out", str(self.choice.folder)]
        return shlex.join(words + (["--dtype", self.choice.dtype] if self.choice.dtype else []))

    def merge(self) -> None:
        """Start the merge in a child; the page follows it."""
        out = self.choice.folder
        if self.pair is None or self._thread is not None:
            return
        if out is None or is_taken(out):
            what = tr("No folder is named.") if out is None else tr("{path} exists already.").format(path=out)
            self._say_error(EngineError(what, tr("Choose another folder."), "DISK-02"))
            self.choice.out.setFocus()
            return
        self.notice.hide()
        self.result = None
        self._job = paths.jobs_dir() / f"merge-{paths.slug(self.pair.name)}-{time.time_ns():x}"
        arguments = {"adapters": [str(self.pair.folder)], "out": str(out), "base": str(self.pair.base.path)}
        try:
            create_job(
                "merge", {**arguments, "dtype": self.choice.dtype}, self._job, name=f"Merge {self.pair.name}"
            )
        except EngineError as error:
            self._say_error(error)
            return
        self._thread = EngineThread(self._job, start_child=True, parent=self)
        self._thread.events_arrived.connect(self._on_events)
        self._thread.ended.connect(self._on_ended)
        self._thread.finished.connect(self._on_thread_finished)
        self._show()
        self.choice.show_progress(tr("Starting"), 0.0)
        self._thread.start()

    def _on_events(self, events: list[Any]) -> None:
        for event in events:
            if event.type == "progress" and event.total:
                done = event.done / event.total
                share = (
                    MERGE_SHARE * done if event.stage == "merge" else MERGE_SHARE + (1 - MERGE_SHARE) * done
                )
                words = tr(STAGES.get(event.stage, event.stage))
                self.choice.show_progress(f"{words} · {event.done} / {event.total}", share)
                self.diagram.set_share(share)

    def _on_ended(self, note: dict[str, Any]) -> None:
        assert self._job is not None
        if note.get("status") == "finished":
            try:
                self.result = json.loads((self._job / "result.json").read_bytes())
            except (OSError, ValueError):
                self._say_error(EngineError(tr("The merge left no result."), tr("Try again."), "DISK-03"))
        elif not note.get("cancelled"):
            message = note.get("message") or tr("The merge ended.")
            if note.get("status") == "crashed":
                message, note = (
                    tr("The merge ended without a closing note: its process died."),
                    {**note, "hint": ""},
                )
            error = EngineError(message, note.get("hint", ""), note.get("code") or "APP-01")
            self.notice.show_error(error, [(tr("Try again"), self.merge)], str(note.get("words", "")))
            self.notice.show()

    def _on_thread_finished(self) -> None:
        if self._thread is not None:
            self._thread.deleteLater()
            self._thread = None
        self.diagram.set_share(0.0)
        if self.result is not None and not self.isVisible():
            name = Path(self.result["out"]).name
            self.services.notify(tr("Merged: {name}").format(name=name), "ok")
        self.choice.propose_folder()
        self._show()

    def _on_cancel(self) -> None:
        if self._thread is not None:
            self._thread.cancel_child()

    def _on_copy(self) -> None:
        if self.pair is not None:
            QApplication.clipboard().setText(self.command())
            self.services.notify(tr("The command is in the clipboard."), "info")

    def _on_chat(self) -> None:
        if self.result is not None:
            self.navigate_requested.emit("chat", {"model": Path(self.result["out"])})

    def _on_open_folder(self) -> None:
        if self.result is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(self.result["out"]))

    # -- looks ---------------------------------------------------------------------------------------------
    def _show(self) -> None:
        nothing = not self._choices and not self._reading
        busy = self._thread is not None
        self.empty.setVisible(nothing)
        self.chain.setHidden(nothing)
        self.lower.setHidden(nothing)
        self.merge_button.setVisible(not busy)
        self.cancel_button.setVisible(busy)
        for made in (self.merge_button, self.copy_button):
            made.setEnabled(self.pair is not None)
        targets = [choice.target for choice in self._choices]
        wanted = targets.index(self._wanted.target) if self._wanted is not None else -1
        self.choice.show_adapters([choice.label for choice in self._choices], wanted)
        if not busy:
            self.choice.show_pair(self.pair)
        self.choice.set_busy(busy)
        self.certificate.show_result(self.result)
        self._show_chain()
        self.state_pill.set(tr("Merging") if busy else "", "accent")
        self.facts = str(self.choice.folder) if busy else type(self).facts
        self.heading_changed.emit()

    def _show_chain(self) -> None:
        pair, dtype = self.pair, self.choice.dtype
        if pair is None:
            name = self._wanted.label if self._wanted else tr("adapter")
            base = Station(tr("base"), tr("reading"), "dim", False)
            merged = Station(tr("merged"), "", "ok", False)
            self.diagram.show_chain(
                [base, Station(name, tr("reading"), "accent", False)], merged, _formats(None)
            )
            return
        base_facts = f"{tr('base')} · {pair.base.dtype} · {size(pair.base.weights_bytes)}"
        adapter_facts = f"{tr('adapter')} · {pair.adapter.label} · {size(pair.adapter.bytes)}"
        merged_bytes = pair.merged_bytes(dtype)
        self.diagram.show_chain(
            [Station(pair.base.name, base_facts, "dim"), Station(pair.name, adapter_facts, "accent")],
            Station(tr("merged"), f"linear · {size(merged_bytes)} · {pair.merged_dtype(dtype)}", "ok"),
            _formats(merged_bytes),
        )


def _formats(merged_bytes: float | None) -> list[Station]:
    """Return what the merged model can become; what is not built yet says so."""
    later = tr("in a later version")
    facts = tr("for transformers, vLLM")
    if merged_bytes is not None:
        facts = f"{size(merged_bytes)} · {facts}"
    return [
        Station(tr("safetensors folder"), facts, "ok", merged_bytes is not None),
        Station("GGUF", later, "line", False),
        Station("Ollama", later, "line", False),
    ]
