"""Merge: an adapter into its base as a plain model folder, loaded again and compared before it is believed."""

from __future__ import annotations

import json
import shlex
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QApplication,
    QButtonGroup,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.choices import Choice, choice_for, read_choices
from app.i18n import tr
from app.pages.page import Page, padded_column, scrolled
from app.services import Services
from app.theme.style import current_theme
from app.theme.tokens import GAP
from app.widgets.button import button
from app.widgets.card import Card
from app.widgets.certificate_view import CertificateView
from app.widgets.empty import EmptyState
from app.widgets.label import TextLabel
from app.widgets.merge_diagram import MergeDiagram, Station
from app.widgets.meter import Meter
from app.widgets.notice import Notice
from app.workers.engine_thread import EngineThread
from engine import paths
from engine.errors import EngineError
from engine.jobs.spec import create_job
from engine.models.adapter_facts import AdapterFacts, read_adapter_facts
from engine.models.facts import DTYPE_BYTES, ModelFacts, read_facts
from engine.models.fit import check_fit, refuse_unready
from engine.models.library import resolve_model
from engine.runs import store

DTYPES = ((None, "As the base"), ("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16"))
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
STAGES = {"merge": "Merging tensor by tensor", "check": "Comparing with base and adapter"}


@dataclass(frozen=True)
class Pair:
    """An adapter with the base it belongs to."""

    name: str
    folder: Path
    adapter: AdapterFacts
    base: ModelFacts


def read_pair(choice: Choice) -> Pair:
    """Read what is to be merged; raises EngineError when it does not fit or is not there."""
    folder = Path(choice.target)
    run = folder if (folder / "job.json").is_file() else None
    adapter = read_adapter_facts(folder / "adapter" if run is not None else folder)
    refuse_unready(adapter)
    try:
        base = read_facts(resolve_model(adapter.base))
    except EngineError:
        if run is None:
            raise
        base = read_facts(resolve_model(store.load_recipe(run).model.path))
    check_fit(adapter, base)
    return Pair(choice.label, adapter.path, adapter, base)


class MergePage(Page):
    """The chain drawn, what is merged and where to, progress, and the certificate."""

    title = "Merge and export"
    facts = "nothing is written until you press Merge"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._choices: list[Choice] = []
        self._wanted: Choice | None = None
        self.pair: Pair | None = None
        self._reading = False
        self._thread: EngineThread | None = None
        self._job: Path | None = None
        self.result: dict[str, Any] | None = None
        self._named_by_hand = False
        self._build()
        self._show()

    # -- making --------------------------------------------------------------------------------------------
    def _build(self) -> None:
        inner = QWidget()
        column = padded_column(inner)
        self.notice = Notice()
        self.notice.hide()
        column.addWidget(self.notice)
        self.empty = EmptyState(
            ("chip", "layers", "merge"),
            tr(
                "Train an adapter first, or drop an adapter's folder here. Merged into its base it is a plain model."
            ),
            (tr("New run"), lambda: self.navigate_requested.emit("wizard", None)),
            (tr("Try the example"), lambda: self.navigate_requested.emit("wizard", {"example": True})),
            title=tr("Nothing to merge yet"),
        )
        column.addWidget(self.empty)
        self.diagram = MergeDiagram()
        self.chain = Card()
        margin = current_theme().px(20)
        self.chain.body.setContentsMargins(margin, margin, margin, margin)
        self.chain.body.addWidget(self.diagram)
        column.addWidget(self.chain)
        self.lower = QWidget()
        row = QHBoxLayout(self.lower)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(GAP)
        row.addWidget(self._build_choice(), 1)
        row.addWidget(self._build_certificate(), 1)
        column.addWidget(self.lower, 1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scrolled(inner))
        self.copy_button = button(tr("Copy command"), "copy", on_click=self._on_copy)
        self.merge_button = button(tr("Merge"), "merge", "primary", on_click=self.merge)
        self.cancel_button = button(tr("Cancel"), "x", on_click=self._on_cancel)
        self.cancel_button.hide()

    def _build_choice(self) -> Card:
        card = Card(tr("What is merged"))
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(10)
        grid.setColumnStretch(1, 1)
        self.adapter_box = QComboBox()
        self.adapter_box.setAccessibleName(tr("Adapter"))
        self.adapter_box.activated.connect(self._on_adapter_chosen)
        self.base_label = TextLabel("", "body", wrap=True)
        self.out = QLineEdit()
        self.out.setAccessibleName(tr("Folder"))
        self.out.textEdited.connect(self._on_out_edited)
        out_row = QHBoxLayout()
        out_row.addWidget(self.out, 1)
        out_row.addWidget(button("", "folder", on_click=self._on_browse, name=tr("Choose a folder")))
        self.room = TextLabel("", "small", wrap=True)
        for line, (words, widget) in enumerate(
            (
                (tr("Adapter"), self.adapter_box),
                (tr("Base"), self.base_label),
                (tr("Precision"), self._build_dtypes()),
            )
        ):
            grid.addWidget(TextLabel(words, "dim"), line, 0)
            grid.addWidget(widget, line, 1)
        grid.addWidget(TextLabel(tr("Folder"), "dim"), 3, 0)
        grid.addLayout(out_row, 3, 1)
        grid.addWidget(self.room, 4, 1)
        card.body.addLayout(grid)
        self.stage = TextLabel("", "small")
        self.meter = Meter(name=tr("Progress"))
        for widget in (self.stage, self.meter):
            widget.hide()
            card.body.addWidget(widget)
        card.body.addStretch(1)
        return card

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
        self.dtypes.idClicked.connect(lambda _: self._show())
        return holder

    def _build_certificate(self) -> Card:
        card = Card(tr("Certificate of the last merge"))
        self.verdict = Notice("info")
        self.certificate = CertificateView()
        self.after = QWidget()
        row = QHBoxLayout(self.after)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(button(tr("Chat with it"), "chat", "primary", on_click=self._on_chat))
        row.addWidget(button(tr("Open folder"), "folder-open", on_click=self._on_open_folder))
        row.addStretch(1)
        self.waiting = TextLabel(
            tr(
                "The merged model is loaded again and compared with base and adapter on prompts. "
                "Its largest difference, and whether it would say the same, will stand here."
            ),
            "dim",
            wrap=True,
        )
        for widget in (self.waiting, self.verdict, self.certificate, self.after):
            card.body.addWidget(widget)
        card.body.addStretch(1)
        return card

    # -- what the window asks ------------------------------------------------------------------------------
    def top_bar_actions(self) -> list[QWidget]:
        return [self.copy_button, self.cancel_button, self.merge_button]

    def open_with(self, argument: dict[str, Any]) -> None:
        for name in ("run", "adapter"):
            if argument.get(name):
                try:
                    self._want(choice_for(Path(argument[name])))
                except EngineError as error:
                    self._say_error(error)
                return

    def shown(self) -> None:
        self._reading = True
        self.services.background.run(read_choices, self._on_choices, self._say_error)

    def settled(self) -> bool:
        return not self._reading and self._thread is None

    def primary_action(self) -> None:
        self.merge()

    def log_folder(self) -> Path | None:
        return self._job

    def handle_drop(self, path: Path) -> bool:
        if (path / "adapter_config.json").is_file():
            self.open_with({"adapter": path})
            return True
        return False

    # -- choosing ------------------------------------------------------------------------------------------
    def _on_choices(self, choices: list[Choice]) -> None:
        self._reading = False
        self._choices = [choice for choice in choices if choice.has_adapter]
        if self._wanted is not None and all(c.target != self._wanted.target for c in self._choices):
            self._choices.insert(0, self._wanted)
        self._fill_box()
        if self._wanted is None and self._choices:
            self._want(self._choices[0])
        self._show()

    def _fill_box(self) -> None:
        self.adapter_box.clear()
        for choice in self._choices:
            self.adapter_box.addItem(choice.label)
        if self._wanted is not None:
            targets = [choice.target for choice in self._choices]
            if self._wanted.target in targets:
                self.adapter_box.setCurrentIndex(targets.index(self._wanted.target))

    def _on_adapter_chosen(self, index: int) -> None:
        if 0 <= index < len(self._choices):
            self._want(self._choices[index])

    def _want(self, choice: Choice) -> None:
        self._wanted, self.pair = choice, None
        if all(known.target != choice.target for known in self._choices):
            self._choices.insert(0, choice)
        self._fill_box()
        self.notice.hide()
        self._reading = True
        self.services.background.run(lambda: read_pair(choice), self._on_pair, self._on_no_pair)
        self._show()

    def _on_pair(self, pair: Pair) -> None:
        self._reading = False
        self.pair = pair
        if not self._named_by_hand:
            self.out.setText(str(free_folder(pair.name)))
        self._show()

    def _on_no_pair(self, error: EngineError) -> None:
        self._reading = False
        self._say_error(error)
        self._show()

    def _say_error(self, error: EngineError) -> None:
        self._reading = False
        self.notice.show_error(error)
        self.notice.show()

    def _on_out_edited(self, text: str) -> None:
        self._named_by_hand = bool(text.strip())
        self._show()

    def _on_browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, tr("Where the merged model goes"), str(paths.exports_dir())
        )
        if chosen:
            name = free_folder(self.pair.name if self.pair else "merged").name
            self.out.setText(str(Path(chosen) / name))
            self._named_by_hand = True
            self._show()

    # -- working -------------------------------------------------------------------------------------------
    @property
    def dtype(self) -> str | None:
        """Return fp32, bf16, fp16, or None for the base's own."""
        return DTYPES[max(0, self.dtypes.checkedId())][0]

    def command(self) -> str:
        """Return what does the same on the command line."""
        assert self.pair is not None
        words = ["tunesmith", "merge", str(self.pair.folder), "--out", self.out.text().strip()]
        return shlex.join(words + (["--dtype", self.dtype] if self.dtype else []))

    def merge(self) -> None:
        """Start the merge in a child; the page follows it."""
        if self.pair is None or self._thread is not None:
            return
        out = Path(self.out.text().strip()).expanduser()
        if not self.out.text().strip() or (out.exists() and any(out.iterdir() if out.is_dir() else [out])):
            self._say_error(EngineError(f"{out} exists already.", "Choose another folder.", "DISK-02"))
            self.out.setFocus()
            return
        self.notice.hide()
        self.result = None
        arguments = {"adapters": [str(self.pair.folder)], "out": str(out.absolute()), "dtype": self.dtype}
        self._job = paths.jobs_dir() / f"merge-{paths.slug(self.pair.name)}-{time.time_ns():x}"
        try:
            create_job("merge", arguments, self._job, name=f"Merge {self.pair.name}")
        except EngineError as error:
            self._say_error(error)
            return
        self._thread = EngineThread(self._job, start_child=True, parent=self)
        self._thread.events_arrived.connect(self._on_events)
        self._thread.ended.connect(self._on_ended)
        self._thread.finished.connect(self._on_thread_finished)
        self._thread.start()
        self._show_stage(tr("Starting"), 0.0)
        self._show()

    def _on_events(self, events: list[Any]) -> None:
        for event in events:
            if event.type == "progress" and event.total:
                done = event.done / event.total
                share = 0.7 * done if event.stage == "merge" else 0.7 + 0.3 * done
                words = tr(STAGES.get(event.stage, event.stage))
                self._show_stage(f"{words} · {event.done} / {event.total}", share)

    def _show_stage(self, words: str, share: float) -> None:
        self.stage.setText(words)
        share = max(
            share, self.meter.value if self._thread is not None else 0.0
        )  # a bar never runs backwards
        self.meter.set(share)
        self.diagram.set_share(share)

    def _on_ended(self, note: dict[str, Any]) -> None:
        assert self._job is not None
        if note.get("status") == "finished":
            try:
                self.result = json.loads((self._job / "result.json").read_bytes())
            except (OSError, ValueError):
                self._say_error(EngineError("The merge left no result.", "Try again.", "DISK-03"))
        elif not note.get("cancelled"):
            error = EngineError(
                note.get("message") or tr("The merge ended."),
                note.get("hint", ""),
                note.get("code") or "APP-01",
            )
            self.notice.show_error(error, [(tr("Try again"), self.merge)], str(note.get("words", "")))
            self.notice.show()

    def _on_thread_finished(self) -> None:
        if self._thread is not None:
            self._thread.deleteLater()
            self._thread = None
        self.meter.set(0.0)
        self.diagram.set_share(0.0)
        if self.result is not None:
            self.services.notify(tr("Merged: {name}").format(name=Path(self.result["out"]).name), "ok")
            if not self._named_by_hand and self.pair is not None:
                self.out.setText(str(free_folder(self.pair.name)))
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
        self.empty.setVisible(nothing)
        self.chain.setHidden(nothing)
        self.lower.setHidden(nothing)
        busy = self._thread is not None
        self.merge_button.setVisible(not busy)
        self.cancel_button.setVisible(busy)
        self.merge_button.setEnabled(self.pair is not None)
        self.copy_button.setEnabled(self.pair is not None)
        for widget in (self.stage, self.meter):
            widget.setVisible(busy)
        if busy:
            self.state_pill.set(tr("Merging"), "accent")
        else:
            self.state_pill.set("")
        self._show_chain()
        self._show_certificate()
        self.heading_changed.emit()

    def _show_chain(self) -> None:
        pair = self.pair
        if pair is None:
            name = self._wanted.label if self._wanted else tr("adapter")
            sources = [
                Station(tr("base"), tr("reading"), "dim", False),
                Station(name, tr("reading"), "accent", False),
            ]
            self.diagram.show_chain(
                sources, Station(tr("merged"), "", "ok", False), self._formats(0.0, False)
            )
            self.base_label.setText("")
            self.room.setText("")
            return
        base, adapter = pair.base, pair.adapter
        size = float(base.parameters * (BYTES[self.dtype] if self.dtype else DTYPE_BYTES.get(base.dtype, 2)))
        kind = dict(DTYPES).get(self.dtype) if self.dtype else base.dtype
        self.diagram.show_chain(
            [
                Station(base.name, f"{tr('base')} · {base.dtype} · {gigabytes(base.weights_bytes)}", "dim"),
                Station(pair.name, f"{tr('adapter')} · r{adapter.r} · {gigabytes(adapter.bytes)}", "accent"),
            ],
            Station(tr("merged"), f"linear · {gigabytes(size)} · {kind}", "ok"),
            self._formats(size, True),
        )
        self.base_label.setText(f"{base.name} · {base.parameters / 1e6:,.0f} M · {base.dtype}")
        self._show_room(size)

    def _show_room(self, size: float) -> None:
        """Count the disk space before anything is written."""
        place = Path(self.out.text().strip() or str(paths.exports_dir())).expanduser()
        while not place.exists() and place != place.parent:
            place = place.parent
        free = shutil.disk_usage(place).free
        fits = free > size + (64 << 20)
        words = tr("{size} will be written; {free} are free.").format(
            size=gigabytes(size), free=gigabytes(free)
        )
        self.room.setText(words)
        self.room.set_token("dim" if fits else "bad")

    def _formats(self, size: float, active: bool) -> list[Station]:
        later = tr("in a later version")
        facts = f"{gigabytes(size)} · transformers, vLLM" if active else "transformers, vLLM"
        return [
            Station(tr("safetensors folder"), facts, "ok", active),
            Station("GGUF", later, "line", False),
            Station("Ollama", later, "line", False),
        ]

    def _show_certificate(self) -> None:
        result = self.result
        fidelity = result.get("fidelity") if result else None
        self.waiting.setHidden(result is not None)
        self.verdict.setHidden(result is None)
        self.certificate.setHidden(not fidelity)
        self.after.setHidden(result is None)
        if result is None or not fidelity:
            return
        passed = bool(fidelity["passed"])
        where = Path(result["out"]).name
        title = (
            tr("{name} agrees with base + adapter").format(name=where)
            if passed
            else tr("{name} differs too much").format(name=where)
        )
        words = tr("Compared at {n} positions of {m} prompts, {dtype}. Merged in {s:.1f} s, {size}.").format(
            n=fidelity["tokens"],
            m=fidelity["prompts"],
            dtype=fidelity["dtype"],
            s=result["seconds"],
            size=gigabytes(result["bytes"]),
        )
        self.verdict.show_notice("ok" if passed else "bad", title, words)
        self.certificate.show_fidelity(fidelity)


def free_folder(name: str) -> Path:
    """Return a folder in exports that is not there yet."""
    base = paths.exports_dir() / f"{paths.slug(name, 'model')}-merged"
    number = 2
    free = base
    while free.exists():
        free = base.with_name(f"{base.name}-{number}")
        number += 1
    return free


def gigabytes(count: float) -> str:
    """Return a size as a person reads it."""
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
