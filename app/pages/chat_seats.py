"""The columns of Chat and who sits in them: chosen, joined, set to a strength or a checkpoint, gone again."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QHBoxLayout

from app.choices import Choice
from app.i18n import tr
from app.partners import read_checkpoints
from app.services import Services
from app.widgets.chat_view import ChatColumn
from app.workers.chat_process import ChatProcess
from engine.errors import EngineError

BASE, ADAPTER = "base", "adapter"
MOST = 4
TOKENS = ("dim", "accent", "series2", "series3")


@dataclass
class Seat:
    """One column. `target` is what answers there now; `ready` once the child has it."""

    key: str
    column: ChatColumn
    label: str = ""
    choice: Choice | None = None
    target: str = ""
    fingerprint: str = ""
    ready: bool = False
    strength: float = 1.0
    base: str | None = None  # chosen by a person where the recorded one is not here
    checkpoints: list[tuple[int, str]] = field(default_factory=list)


class ChatSeats(QObject):
    """Base and adapter, and up to two more.

    Signals:
        changed: somebody came, went or is ready.
        again_wanted: the key of a column whose last answer is to be made anew.
        refused: the key of a column whose speaker could not be had, and why.
        choice_asked: the key of a column in which somebody else is to sit.
        saved: the folder of a new adapter with a strength folded in.
    """

    changed = Signal()
    again_wanted = Signal(str)
    refused = Signal(str, object)
    choice_asked = Signal(str)
    saved = Signal(str)

    def __init__(self, services: Services, process: ChatProcess, row: QHBoxLayout, parent: QObject) -> None:
        super().__init__(parent)
        self._services, self._process, self._row = services, process, row
        self.seats: dict[str, Seat] = {}
        self._orders: dict[str, str] = {}
        self._silent: set[str] = set()
        self.device = "auto"
        for key in (BASE, ADAPTER):
            self._make(key)

    def _make(self, key: str) -> Seat:
        taken = {seat.column.token for seat in self.seats.values()}
        column = ChatColumn(next(t for t in TOKENS if t not in taken), chosen_here=key != BASE)
        seat = Seat(key, column)
        column.strength_rested.connect(lambda strength: self._on_strength(seat, strength))
        column.checkpoint_rested.connect(lambda index: self._on_checkpoint(seat, index))
        column.save_asked.connect(lambda: self._on_save(seat))
        column.choice_asked.connect(lambda: self.choice_asked.emit(key))
        column.close_asked.connect(lambda: self.close(key))
        column.close_button.setVisible(key not in (BASE, ADAPTER))
        self.seats[key] = seat
        self._row.insertWidget(len(self.seats) - 1, column, 1)
        return seat

    # -- who is there --------------------------------------------------------------------------------------
    @property
    def columns(self) -> dict[str, ChatColumn]:
        """Return the columns by key, from left to right."""
        return {key: seat.column for key, seat in self.seats.items()}

    @property
    def speaking(self) -> list[Seat]:
        """Return who is to be asked, the shortest answers first: adapters, then the base."""
        found = [seat for seat in self.seats.values() if seat.ready]
        return sorted(found, key=lambda seat: seat.key == BASE)

    @property
    def waiting(self) -> bool:
        """Return whether somebody is on the way, or a dial has not come to rest."""
        dials = (d for s in self.seats.values() for d in (s.column.strength, s.column.checkpoint))
        return bool(self._orders) or any(dial.waiting for dial in dials)

    @property
    def models(self) -> int:
        """Return how many models the speakers stand on."""
        return len({seat.fingerprint.partition("+")[0] for seat in self.seats.values() if seat.ready})

    def begin(self, choice: Choice) -> None:
        """Show a pair that is not loaded yet; the others leave."""
        for key in list(self.seats):
            if key not in (BASE, ADAPTER):
                self.close(key)
        self._orders.clear()
        base, adapter = self.seats[BASE], self.seats[ADAPTER]
        base.label = f"{tr('Base')} · {choice.base}" if choice.has_adapter else choice.label
        adapter.label = choice.label
        for seat in (base, adapter):
            seat.ready, seat.choice, seat.target, seat.strength = False, choice, choice.target, 1.0
            seat.base = None
            seat.column.show_speaker(seat.label)
            seat.column.show_strength(1.0)
            seat.column.show_dials(False)
        adapter.column.setVisible(choice.has_adapter)
        base.column.show_hint(
            tr("The base, without the adapter, answers here.")
            if choice.has_adapter
            else tr("This model answers alone: it has no adapter beside it.")
        )
        adapter.column.show_hint(tr("The same message, answered with your adapter."))

    def take_loaded(self, told: dict[str, Any]) -> None:
        """Show what the child has loaded as the pair."""
        base, adapter = self.seats[BASE], self.seats[ADAPTER]
        base.label = f"{tr('Base')} · {told['base']}" if told["adapter"] else told["name"]
        base.fingerprint = told["fingerprints"]["base"]
        base.ready = True
        base.column.show_speaker(base.label, told["base_path"])
        adapter.ready = bool(told["adapter"])
        adapter.column.setVisible(adapter.ready)
        if told["adapter"]:
            step = f" · {tr('step')} {told['step']}" if told.get("step") else ""
            adapter.label = f"{told['name']}{step}"
            adapter.fingerprint = told["fingerprints"]["adapter"]
            adapter.column.show_speaker(adapter.label, told["adapter_path"] or "")
            self._show_dials(adapter, told.get("run"), told.get("step"))
        self.changed.emit()

    def forget(self) -> None:
        """Know that the child is gone: nobody is ready."""
        self._orders.clear()
        for seat in self.seats.values():
            seat.ready = False

    def sit(
        self,
        choice: Choice,
        key: str = "",
        *,
        in_turn: bool = False,
        base: str | None = None,
        answers: bool = True,
    ) -> str:
        """Let somebody join in a column, a new one without a key; returns the key.

        `answers` is False where it shall not answer the last question: that was asked of it before.
        """
        if not key:
            if len([s for s in self.seats.values() if not s.column.isHidden()]) >= MOST:
                return ""
            key = next(f"c{n}" for n in range(3, 3 + MOST) if f"c{n}" not in self.seats)
        seat = self.seats.get(key) or self._make(key)
        seat.choice, seat.target, seat.label, seat.ready = choice, choice.target, choice.label, False
        seat.base = base
        seat.column.show()
        seat.column.show_speaker(choice.label)
        seat.column.show_dials(False)
        seat.column.show_hint(tr("Loading."))
        self._join(seat, in_turn=in_turn, answers=answers)
        return key

    def rejoin(self) -> None:
        """Ask the child anew for all who joined, after it was lost."""
        for seat in self.seats.values():
            if seat.key not in (BASE, ADAPTER) and not seat.ready and seat.choice is not None:
                self._join(seat, answers=False)

    def _join(self, seat: Seat, *, in_turn: bool = False, answers: bool = True) -> None:
        identity = self._process.order(
            "join",
            name=seat.key,
            target=seat.target,
            base=seat.base,
            device=self.device,
            in_turn=in_turn,
            strength=seat.strength,
        )
        self._orders[identity] = seat.key
        if not answers:
            self._silent.add(identity)
        self.changed.emit()

    def close(self, key: str) -> None:
        """Take a column away."""
        seat = self.seats.pop(key, None)
        if seat is not None:
            self._process.order("leave", name=key)
            self._row.removeWidget(seat.column)
            seat.column.hide()
            seat.column.deleteLater()
            self.changed.emit()

    # -- what the child says -------------------------------------------------------------------------------
    def take_reply(self, told: dict[str, Any]) -> None:
        """Take what came of an order of these columns."""
        key = self._orders.pop(str(told.get("id")), None)
        seat = self.seats.get(key or "")
        if seat is None:
            return
        if told["type"] == "joined":
            self._on_joined(seat, told)
        elif told["type"] == "strength":
            self.again_wanted.emit(seat.key)
        elif told["type"] == "saved":
            self.saved.emit(told["path"])
        self.changed.emit()

    def take_failure(self, told: dict[str, Any]) -> bool:
        """Take a failed order of these columns; False for one of somebody else."""
        key = self._orders.pop(str(told.get("id")), None)
        if key is None:
            return False
        if key in self.seats:
            if told.get("command") == "join":
                self.seats[key].column.show_hint(tr("Nobody answers here."))
            error = EngineError(told["message"], told.get("hint", ""), told.get("code", "APP-01"))
            self.refused.emit(key, error)
        self.changed.emit()
        return True

    def _on_joined(self, seat: Seat, told: dict[str, Any]) -> None:
        step = f" · {tr('step')} {told['step']}" if told.get("step") is not None else ""
        seat.label = f"{told['label']}{step}"
        seat.fingerprint, seat.ready = told["fingerprint"], True
        how = tr("Answers in turn: its model is loaded again for each answer.") if told["in_turn"] else ""
        more = "\n".join(filter(None, (told["adapter_path"] or told["base_path"], how)))
        seat.column.show_speaker(seat.label, more)
        seat.column.show_hint(how or tr("Answers from the next message on."))
        if told["adapter"]:
            if not seat.checkpoints or all(path != seat.target for _, path in seat.checkpoints):
                self._show_dials(seat, told.get("run"), told.get("step"))
            else:
                seat.column.dials.show()
        if str(told["id"]) not in self._silent:
            self.again_wanted.emit(seat.key)

    # -- dials ---------------------------------------------------------------------------------------------
    def _show_dials(self, seat: Seat, run: str | None, step: int | None) -> None:
        seat.checkpoints = []
        seat.column.show_dials(True)
        seat.column.show_strength(seat.strength)
        if run and Path(run, "checkpoints").is_dir():
            key = seat.key

            def show(found: list[tuple[int, str]]) -> None:
                self._show_checkpoints(key, found, step)

            self._services.background.run(lambda: read_checkpoints(run), show)

    def _show_checkpoints(self, key: str, found: list[tuple[int, str]], step: int | None) -> None:
        seat = self.seats.get(key)
        if seat is not None and seat.ready:
            seat.checkpoints = found
            steps = [each for each, _ in found]
            at = steps.index(step) if step in steps else max(0, len(steps) - 1)
            seat.column.show_dials(True, steps, at)

    def _on_strength(self, seat: Seat, strength: float) -> None:
        seat.strength = strength
        if seat.ready:
            self._order(seat, "strength", strength=strength)

    def _on_checkpoint(self, seat: Seat, index: int) -> None:
        if 0 <= index < len(seat.checkpoints) and seat.checkpoints[index][1] != seat.target:
            seat.target = seat.checkpoints[index][1]
            self._join(seat)

    def _on_save(self, seat: Seat) -> None:
        if seat.ready:
            self._order(seat, "save_scaled", strength=seat.strength)

    def _order(self, seat: Seat, command: str, **fields: Any) -> None:
        self._orders[self._process.order(command, who=seat.key, **fields)] = seat.key
        self.changed.emit()
