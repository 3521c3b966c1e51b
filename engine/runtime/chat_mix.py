"""Chat with what a merge would make: the adapters mixed on the loaded base, before anything is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.models.merging import DENSITY, make_mix
from engine.runtime.adapted import ADAPTER, BASE
from engine.runtime.blend import Blend, resolve_blend
from engine.runtime.chat import ChatModel
from engine.runtime.chat_room import ChatRoom
from engine.runtime.mixture import fit_mixture, set_mix

NUMBERS = {"density": float, "seed": int, "svd_rank": int}


def read_mixture(value: Any, base: str | None) -> Blend:
    """Return what {"adapters": [paths], "weights": [...], "method", "density", "seed", "svd_rank"} names.

    Raises EngineError REC-01 for what cannot be read, MODEL-* for what does not go together.
    """
    if not isinstance(value, dict) or not isinstance(value.get("adapters"), list):
        raise EngineError("The mixture names no adapters.", "Choose adapters.", "REC-01", field="mixture")
    adapters = [Path(str(path)) for path in value["adapters"]]
    given: dict[str, Any] = {"density": DENSITY}
    for name, kind in NUMBERS.items():
        if value.get(name) is not None:
            given[name] = kind(_number(value[name], name))
    weights = None if value.get("weights") is None else read_weights(value["weights"])
    given["adapter_only"] = value.get("adapter_only") is True
    mix = make_mix(len(adapters), weights, str(value.get("method", "linear")), **given)
    return resolve_blend(adapters, mix, base)


def read_weights(value: Any) -> list[float]:
    """Return checked weights; raises EngineError REC-01."""
    if not isinstance(value, list):
        raise EngineError("The weights are no list.", "Give one number each.", "REC-01", field="weights")
    return [_number(each, "weights") for each in value]


def _number(value: Any, field: str) -> float:
    if type(value) not in (int, float):
        raise EngineError(f"{field} is not a number.", "Use a number.", "REC-01", field=field)
    return float(value)


def load_mixture(room: ChatRoom, blend: Blend, *, device: str = "auto", strength: float = 1.0) -> ChatModel:
    """Begin a chat anew with a mixture: `adapter` speaks with it, `base` without."""
    model = room.load(str(blend.base.path), device=device)
    mixture = fit_mixture(model.adapted.model, blend.base, blend.adapters, blend.mix)
    model.adapted.fitted[ADAPTER] = mixture
    model.adapted.set_strength(strength)
    # Without an adapter of its own: what acts on one file, such as saving it scaled, has nothing here.
    model.target = replace(blend.targets[0], name=blend.name, adapter=None, run=None, step=None)
    voice = model.voice_of(model.target)
    model.voices = {BASE: voice, ADAPTER: voice}
    for seat in room.seats.values():
        seat.target, seat.strength = model.target, strength
    return model


def change_mix(room: ChatRoom, weights: Any) -> dict[str, Any]:
    """Let each adapter of the loaded mixture count so often; raises EngineError REC-01, CHAT-01."""
    model, who = room.seat(ADAPTER)
    set_mix(model.adapted, read_weights(weights))
    with model.adapted.speaking(who) as fingerprint:
        return {"weights": weights, "fingerprint": fingerprint}
