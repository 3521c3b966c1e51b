"""Who sits in a chat: several speakers on as few loaded models as they need, never more than memory holds.

A speaker whose base is loaded shares it; another one brings its model along where that fits beside what is
loaded. Where it does not, it can answer in turn: its model takes the place of the others while it speaks.
"""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from engine.errors import EngineError
from engine.models.adapter_facts import WEIGHTS
from engine.runtime.adapted import ADAPTER, BASE, bytes_of, free_bytes
from engine.runtime.chat import ChatModel
from engine.runtime.device import choose_answering
from engine.runtime.fitted import fingerprint_base, fingerprint_file
from engine.runtime.scaled import MOST, save_scaled
from engine.runtime.target import Target, resolve_target


@dataclass
class Seat:
    """One speaker. `model` is None while its model is not in memory; `who` is its name there.

    `paired` are the two that `load` brought: they live and go on one model.
    """

    name: str
    target: Target
    device: str
    strength: float = 1.0
    in_turn: bool = False
    model: ChatModel | None = None
    who: str = BASE
    paired: bool = False


class ChatRoom:
    """The speakers by name; `base` and `adapter` come with `load`, others `join` them."""

    def __init__(self) -> None:
        self.seats: dict[str, Seat] = {}
        self.template: str | None = None

    # -- who is there --------------------------------------------------------------------------------------
    def load(
        self, text: str, base: str | None = None, *, device: str = "auto", strength: float = 1.0
    ) -> ChatModel:
        """Begin anew with a target and its base; a loaded base stays in memory when it is the same."""
        target = resolve_target(text, base)
        kept = None if target.origin else self._host_of(target, device)
        self.seats, self.template = {}, None
        if kept is None:
            self._collect()
            model = ChatModel(target, device=device, strength=strength)
        else:
            model = _taken_over(kept, target)
            model.adapted.set_strength(strength)
        for name in (BASE, ADAPTER):
            self.seats[name] = Seat(name, target, device, strength, model=model, who=name, paired=True)
        return model

    def join(
        self,
        name: str,
        text: str,
        base: str | None = None,
        *,
        device: str = "auto",
        in_turn: bool = False,
        strength: float = 1.0,
    ) -> dict[str, Any]:
        """Let a target speak as `name`, in the place of who had that name; gives what a window shows.

        Raises EngineError GPU-01 when its model does not fit beside the others and may not answer in turn.
        """
        # Who was trained whole answers alone here: its base would be one model more.
        target = replace(resolve_target(text, base), origin=None)
        seat = Seat(name, target, device, strength)
        host = self._host_of(target, device)
        if name == BASE and target.adapter is not None:
            raise EngineError("base is the name of the model alone.", "Use another name.", "REC-01")
        if host is not None:
            self._sit_on(seat, host)
        else:
            self.leave(name)
            compute = choose_answering(target.base, device)
            needed, free = bytes_of(target.base, compute), free_bytes(compute)
            seat.in_turn = needed > free
            if seat.in_turn and not in_turn:
                raise _too_large(target.name, needed, free)
            if not seat.in_turn:
                self._load_into(seat)
        self.seats[name] = seat
        self._collect()
        return self._describe(seat, shares=host is not None)

    def leave(self, name: str) -> None:
        """Let a speaker go, and its model when nobody else uses it."""
        seat = self.seats.pop(name, None)
        if seat is not None and seat.model is not None and seat.who not in (BASE, ADAPTER):
            seat.model.remove(seat.who)
        self._collect()

    def seat(self, name: str) -> tuple[ChatModel, str]:
        """Return the model of a speaker and its name there, loading it where it answers in turn."""
        found = self.seats.get(name)
        if found is None:
            raise EngineError("No model is loaded.", "Choose what to chat with.", "CHAT-01")
        if found.model is None:
            host = None if found.paired else self._host_of(found.target, found.device)
            if host is None:
                for other in self.seats.values():
                    other.model = None
                self._collect()
                self._load_into(found)
            else:
                self._sit_on(found, host)
        assert found.model is not None
        return found.model, found.who

    # -- how they speak ------------------------------------------------------------------------------------
    def set_strength(self, name: str, strength: float) -> str:
        """Let a speaker's adapter count `strength` times; gives the fingerprint it answers with."""
        if not 0.0 <= strength <= MOST:
            raise EngineError(
                f"A strength of {strength:g} is not allowed.",
                f"Use 0 to {MOST:g}.",
                "REC-01",
                field="strength",
            )
        model, who = self.seat(name)
        self.seats[name].strength = strength
        model.adapted.set_strength(strength, who)
        with model.adapted.speaking(who) as fingerprint:
            return fingerprint

    def use_template(self, template: str | None) -> None:
        """Speak to all by another template; None is as each was trained. Raises EngineError REC-01."""
        for model in self._models():
            model.use_template(template)
        self.template = template

    def save_scaled(self, name: str, strength: float, out: Path | None = None) -> Path:
        """Write a speaker's adapter with a strength folded in; gives the new folder."""
        model, who = self.seat(name)
        seat = self.seats[name]
        if who not in model.adapted.fitted or seat.target.adapter is None:
            raise EngineError(
                f"{seat.target.name} has no adapter to be scaled.", "Choose an adapter.", "MODEL-07"
            )
        return save_scaled(seat.target, model.adapted.fitted[who], strength, out)

    # -- memory --------------------------------------------------------------------------------------------
    def _models(self) -> list[ChatModel]:
        return list({id(seat.model): seat.model for seat in self.seats.values() if seat.model}.values())

    def _host_of(self, target: Target, device: str) -> ChatModel | None:
        """Return the loaded model whose base a target stands on; files that changed are another base."""
        if target.adapter is None and target.run is not None:
            return None  # trained whole: a model of its own
        print_ = fingerprint_base(target.base)
        found = (m for m in self._models() if m.adapted.base_fingerprint == print_ and m.device == device)
        return next(found, None)

    def _sit_on(self, seat: Seat, host: ChatModel) -> None:
        if seat.target.adapter is not None:
            seat.who = seat.name
            host.add(seat.who, seat.target, self.template)
            host.adapted.set_strength(seat.strength, seat.who)
        seat.model = host

    def _load_into(self, seat: Seat) -> None:
        target, template = seat.target, self.template
        model = ChatModel(target, device=seat.device, strength=seat.strength, template=template)
        seat.model, seat.who = model, BASE
        if target.adapter is not None or target.run is not None:
            seat.who = ADAPTER
        for other in self.seats.values():
            if seat.paired and other.paired:
                other.model, other.who = model, other.name

    def _collect(self) -> None:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _describe(self, seat: Seat, *, shares: bool) -> dict[str, Any]:
        target = seat.target
        base, adapter = fingerprint_base(target.base), target.adapter
        return {
            "name": seat.name,
            "label": target.name,
            "base": target.base.name,
            "base_path": str(target.base.path),
            "adapter": adapter is not None,
            "adapter_path": str(adapter.path) if adapter else None,
            "step": target.step,
            "run": str(target.run) if target.run else None,
            "fingerprint": f"{base}+{fingerprint_file(adapter.path / WEIGHTS)}" if adapter else base,
            "system_prompt": target.system_prompt,
            "shares": shares,
            "in_turn": seat.in_turn,
        }


def _taken_over(model: ChatModel, target: Target) -> ChatModel:
    """Give a loaded base to another target; the adapter is read anew, its file may have been retrained."""
    for name in list(model.adapted.fitted):
        model.remove(name)
    model.target = target
    model.voices = dict.fromkeys((BASE, ADAPTER), model.voice_of(target))
    if target.adapter is not None:
        model.add(ADAPTER, target)
    return model


def _too_large(name: str, needed: float, free: int) -> EngineError:
    return EngineError(
        f"{name} needs {needed / 1e9:.1f} GB beside what is loaded, and {free / 1e9:.1f} GB are free.",
        "Let the models answer in turn, or close a column.",
        "GPU-01",
    )
