"""Merge and export: adapters added up on a board, tried, written, compared, and made ready for elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget

from app.choices import PLAIN_PROMPTS, Choice, choice_for, is_whole, read_choices, read_prompts
from app.exporting import Exportable, arguments, read_exportable
from app.i18n import tr
from app.merging import Made, Mixing, Source, import_source, is_taken, last_made, made_of, read_source
from app.notices import job_over
from app.pages.merge_chain import chain_of
from app.pages.merge_going import MergeGoing
from app.pages.merge_layout import MergeLayout
from app.pages.page import Page
from app.services import Services
from app.workers.mix_process import MixProcess
from engine.errors import EngineError, from_os_error
from engine.models.facts import read_facts
from engine.models.library import resolve_model


class MergePage(Page):
    """The chain drawn, then either the board with its trial, or the export; beside each its certificate."""

    title = "Merge and export"
    facts = "nothing is written until you press Merge"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.process = MixProcess(services.background)
        self.going = MergeGoing(self)
        self.part = "merge"
        self.result: dict[str, Any] | None = None  # what the last job answered
        self._choices: list[Choice] = []
        self._wanted_export: Choice | None = None
        self._reading = 0
        self._asked_for = False
        self.parts = MergeLayout(self, self.process)
        self.board, self.trial = self.parts.board, self.parts.trial
        self.export, self.exported = self.parts.export, self.parts.exported
        self.certificate, self.notice = self.parts.certificate, self.parts.notice
        self.diagram, self.picker = self.parts.diagram, self.parts.picker
        self._connect()
        self._show()

    def _connect(self) -> None:
        self.board.changed.connect(self._on_board)
        self.board.refused.connect(self._say_refused)
        self.export.source_chosen.connect(lambda place: self._want_export(self._choices[place]))
        self.export.changed.connect(self._show)
        self.picker.picked.connect(lambda choice: self._add(lambda: read_source(choice)))
        self.picker.folder_picked.connect(self.import_folder)
        self.going.progressed.connect(self._on_progress)
        self.going.ended.connect(self._on_ended)
        self.going.failed.connect(self._on_failed)
        for card in (self.certificate, self.exported):
            card.chat_requested.connect(lambda card=card: self._on_chat(card.made))
            card.folder_requested.connect(lambda card=card: self._on_open_folder(card.made))
            card.check_requested.connect(lambda card=card: self._check(card.made))
        self.certificate.export_requested.connect(self._on_export_made)

    # -- what the window asks ------------------------------------------------------------------------------
    def top_bar_actions(self) -> list[QWidget]:
        return [self.parts.actions]

    def open_with(self, argument: dict[str, Any]) -> None:
        self._asked_for = True
        if argument.get("part") in ("merge", "export"):
            self.show_part(argument["part"])
        place = argument.get("run") or argument.get("adapter") or argument.get("model")
        if not place or self.going.busy:
            return
        folder = Path(place)
        try:
            choice = choice_for(folder)
        except EngineError as error:
            self._say(error)
            return
        if not choice.has_adapter or is_whole(folder):
            self.show_part("export")
        else:
            self.board.show_mixing(Mixing())
            self._add(lambda: read_source(choice))
        self._want_export(choice)

    def shown(self) -> None:
        self._read(read_choices, self._on_choices)
        self.picker.look_for_refused(self.services.background)
        if self.certificate.made is None:
            self._read(last_made, self._on_last_made)

    def hidden_(self) -> None:
        self.trial.let_go()

    def finish(self) -> None:
        self.going.look_away()
        self.trial.let_go()
        self.trial.typed.finish()

    def settled(self) -> bool:
        return not self._reading and not self.going.busy and not self.trial.busy

    def primary_action(self) -> None:
        (self.merge if self.part == "merge" else self.export_now)()

    def log_folder(self) -> Path | None:
        return self.going.folder

    def drop_words(self, path: Path) -> str:
        """Say that an adapter dropped here goes on the board."""
        return tr("Add this adapter to the mix") if (path / "adapter_config.json").is_file() else ""

    def handle_drop(self, path: Path) -> bool:
        if (path / "adapter_config.json").is_file() and not self.going.busy:
            self.import_folder(path)
            return True
        return False

    def free_memory(self) -> float | None:
        """Return the free memory of the device that would answer, None while it is not known."""
        sample = self.services.hardware.latest
        if sample is None:
            return None
        on_gpu = [float(device.total_bytes - device.used_bytes) for device in sample.devices]
        if on_gpu:
            return max(on_gpu)
        return float(sample.ram_total_bytes - sample.ram_used_bytes) if sample.ram_total_bytes else None

    # -- reading -------------------------------------------------------------------------------------------
    def _read(self, work: Any, then: Any) -> None:
        self._reading += 1
        self.services.background.run(work, then, self._on_unread)

    def _on_unread(self, error: EngineError) -> None:
        self._reading -= 1
        self._say(error)
        self._show()

    def _on_choices(self, choices: list[Choice]) -> None:
        self._reading -= 1
        self._choices = choices
        adapters = self.adapters()
        if not self.board.mixing.sources and adapters and not self._asked_for:
            self._add(lambda: read_source(adapters[0]))
        if self._wanted_export is None and choices:
            self._want_export(choices[0])
        self._show_sources()
        self._show()

    def _on_last_made(self, made: Made | None) -> None:
        self._reading -= 1
        if made is not None and self.certificate.made is None:
            card = self.certificate if made.kind in ("merged", "adapter") else self.exported
            card.show_made(made)
        self._show()

    def adapters(self) -> list[Choice]:
        """Return what can go on the board."""
        return [choice for choice in self._choices if choice.has_adapter and not choice.whole]

    def import_folder(self, folder: Path) -> None:
        """Check an adapter from elsewhere, remember it, and put it on the board."""
        self.show_part("merge")
        self._add(lambda: import_source(folder))

    def _add(self, read: Any) -> None:
        self.notice.hide()
        self._asked_for = True
        self._read(read, self._on_source)
        self._show()

    def _on_source(self, source: Source) -> None:
        self._reading -= 1
        before = self.board.mixing
        if not before.sources:
            prompts = read_prompts(source.target)
            self.trial.propose((prompts or list(PLAIN_PROMPTS))[0])
        self.board.show_mixing(before.with_source(source))
        if source.base.quantization is not None:
            self._say_quantised(source)
        self._show()

    def _want_export(self, choice: Choice) -> None:
        self._wanted_export = choice
        if all(known.target != choice.target for known in self._choices):
            self._choices.insert(0, choice)
        self.export.show_what(None)
        self._read(lambda: read_exportable(choice), self._on_exportable)
        self._show_sources()

    def _on_exportable(self, what: Exportable) -> None:
        self._reading -= 1
        if self._wanted_export is not None and what.target == self._wanted_export.target:
            self.export.show_what(what)
        self._show()

    def _show_sources(self) -> None:
        targets = [choice.target for choice in self._choices]
        wanted = self._wanted_export.target if self._wanted_export is not None else ""
        self.export.show_sources(self._choices, targets.index(wanted) if wanted in targets else -1)

    # -- saying --------------------------------------------------------------------------------------------
    def _say(self, error: EngineError, actions: Any = (), details: str = "") -> None:
        self.notice.show_error(error, actions, details)
        self.notice.show()

    def _say_refused(self, error: EngineError) -> None:
        last = len(self.board.mixing.sources) - 1
        name = self.board.mixing.sources[last].name
        words = tr("Take {name} off the board").format(name=name)
        self._say(error, [(words, lambda: self._take_off(last))])

    def _take_off(self, place: int) -> None:
        self.notice.hide()
        self.board.show_mixing(self.board.mixing.without(place))

    def _say_quantised(self, source: Source) -> None:
        base = source.base
        title = tr("{base} is quantised ({how}); adapters are never merged into it.")
        words = tr("Choose the 16-bit original of it: what was trained belongs there as well.")
        actions = [(tr("Choose the original…"), self._on_base)]
        self.notice.show_notice(
            "warn", title.format(base=base.name, how=base.quantization), words, actions, code="MODEL-05"
        )
        self.notice.show()

    def _on_base(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, tr("The folder of the base in 16 bits"))
        if not chosen:
            return
        mixing = self.board.mixing
        self._read(lambda: mixing.on_base(read_facts(resolve_model(chosen))), self._on_rebased)

    def _on_rebased(self, mixing: Mixing) -> None:
        self._reading -= 1
        self.notice.hide()
        self.board.show_mixing(mixing)

    # -- working -------------------------------------------------------------------------------------------
    def command(self) -> str:
        """Return what the primary button does, on the command line."""
        if self.part == "export":
            return self.export.command()
        return self.board.mixing.command(self.board.result.folder or Path("merged"))

    def merge(self) -> None:
        """Merge what is on the board in a child; the page follows it."""
        out, mixing = self.board.result.folder, self.board.mixing
        if self.board.ready and self._is_free(out, self.board.result.out):
            assert out is not None
            self._start("merge", mixing.arguments(out), mixing.name)

    def export_now(self) -> None:
        """Export in a child; the page follows it."""
        what, out = self.export.what, self.export.place
        if self.export.ready and self._is_free(out, self.export.out):
            assert what is not None and out is not None
            found = arguments(what, self.export.format, self.export.kind, out)
            self._start("export", found, what.name)

    def _check(self, made: Made | None) -> None:
        if made is not None:
            self._start("certify", {"folder": str(made.folder)}, made.folder.name)

    def _is_free(self, out: Path | None, field: QWidget) -> bool:
        if out is not None and not is_taken(out):
            return True
        what = tr("No folder is named.") if out is None else tr("{path} exists already.").format(path=out)
        self._say(EngineError(what, tr("Choose another folder."), "DISK-02"))
        field.setFocus()
        return False

    def _start(self, kind: Any, found: dict[str, Any], name: str) -> None:
        if self.going.busy:
            return
        self.notice.hide()
        self.result = None
        self.trial.let_go()  # the comparison wants the memory
        try:
            self.going.start(kind, found, name)
        except EngineError as error:
            self._say(error)
            return
        self.parts.show_progress(tr("Starting"), 0.0)
        self._show()

    def _on_progress(self, words: str, share: float) -> None:
        self.parts.show_progress(words, share)
        self.diagram.set_share(share if self.going.kind != "certify" else 0.0)

    def _on_ended(self, kind: str, result: dict[str, Any] | None) -> None:
        self.diagram.set_share(0.0)
        if result is None:
            self._on_stopped(kind)
        else:
            try:
                self._take_result(kind, result)
            except EngineError as error:
                self._say(error)
            except OSError as error:
                self._say(from_os_error(error, str(error.filename or "")))
        self._read(read_choices, self._on_choices)
        self._show()

    def _on_stopped(self, kind: str) -> None:
        out = self.board.result.folder
        if kind == "merge" and out is not None and (out / "tunesmith.json").is_file():
            title = tr("{name} is written, and was not compared yet.").format(name=out.name)
            check = (tr("Check it now"), lambda: self._start("certify", {"folder": str(out)}, out.name))
            self.notice.show_notice("warn", title, tr("Do not use it before it is."), [check])
            self.notice.show()
        self.board.result.named_again()

    def _take_result(self, kind: str, result: dict[str, Any]) -> None:
        made = made_of({**result, "out": result.get("out") or result["folder"]})
        self.result = result
        exports = made.kind not in ("merged", "adapter") or kind == "export"
        card = self.exported if kind == "export" or (kind == "certify" and exports) else self.certificate
        if kind == "certify":
            card = self.exported if self.part == "export" else self.certificate
        card.show_made(made, result)
        if kind == "merge":
            self.board.result.named_again()
        elif kind == "export":
            self.export.named_again()
        passed = made.certificate is None or bool(made.certificate.get("passed"))
        words = tr("Ready: {name}") if passed else tr("{name} does not pass its certificate")
        self._call_back(words.format(name=made.folder.name), "", not passed)
        if not self.isVisible():
            self.services.notify(words.format(name=made.folder.name), "ok" if passed else "bad")

    def _call_back(self, title: str, cause: str, needs: bool) -> None:
        if self.going.folder is not None:
            job_over(self.services, self.going.folder, (title, cause), needs, "merge")

    def _on_failed(self, kind: str, error: EngineError, words: str) -> None:
        self.diagram.set_share(0.0)
        again = {"merge": self.merge, "export": self.export_now}.get(kind)
        self._say(error, [(tr("Try again"), again)] if again is not None else [], words)
        self._call_back(error.message, error.hint, True)
        self._show()

    # -- going on ------------------------------------------------------------------------------------------
    def copy_command(self) -> None:
        """Put the command into the clipboard."""
        QApplication.clipboard().setText(self.command())
        self.services.notify(tr("The command is in the clipboard."), "info")

    def _on_chat(self, made: Made | None) -> None:
        argument = made.chat_argument() if made is not None else None
        if argument is not None:
            self.navigate_requested.emit("chat", argument)

    def _on_open_folder(self, made: Made | None) -> None:
        if made is not None:
            folder = made.folder if made.folder.is_dir() else made.folder.parent
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))

    def _on_export_made(self) -> None:
        made = self.certificate.made
        if made is not None:
            self.open_with({"model": made.folder, "part": "export"})

    # -- looks ---------------------------------------------------------------------------------------------
    def show_part(self, part: str) -> None:
        """Show the board, or the export."""
        self.part = part
        self._show()

    def _on_board(self) -> None:
        self.trial.show_mixing(self.board.mixing if self.board.ready else None)
        self._show()

    def _show(self) -> None:
        busy = self.going.busy
        nothing = not self._choices and not self._reading and not self.board.mixing.sources
        ready = self.board.ready if self.part == "merge" else self.export.ready
        self.parts.show_part(self.part, nothing, busy, ready, self.going.kind)
        mixing, judged = self.board.mixing, self.board.judged
        self.diagram.show_chain(*chain_of(mixing, judged, self.part, self.export))
        words = {"merge": tr("Merging"), "export": tr("Exporting"), "certify": tr("Checking")}
        self.state_pill.set(words[self.going.kind] if busy else "", "accent")
        written = tr("nothing is written until you press Export")
        self.facts = tr(type(self).facts) if self.part == "merge" else written
        if busy:
            self.facts = tr("it goes on when you leave this page")
        self.heading_changed.emit()
