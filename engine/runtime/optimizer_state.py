"""What an optimizer remembers, as named tensors, and the way back: bit by bit, in the place it was."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import EngineError
from engine.runtime import shards

# Tables that bitsandbytes makes anew, and a norm that Adafactor measures but does not use here.
NOT_KEPT = ("qmap1", "qmap2", "RMS")


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> dict[str, Tensor]:
    """Return the optimizer's state as `<parameter>:<key>` tensors on the CPU.

    `names` are those of its parameters in the order of its groups. A counter that an optimizer holds as a
    plain int is called `<parameter>:<key>#`.
    """
    found: dict[str, Tensor] = {}
    for name, parameter in zip(names, _parameters(optimizer), strict=True):
        for key, value in optimizer.state.get(parameter, {}).items():
            if key in NOT_KEPT or value is None:
                continue
            if isinstance(value, Tensor):
                found[f"{name}:{key}"] = shards.whole(value.detach()).to("cpu").contiguous()
            else:
                found[f"{name}:{key}#"] = torch.tensor(int(value), dtype=torch.int64)
    return found


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: dict[str, Tensor]) -> None:
    """Put saved state back; raises EngineError MODEL-07 when it is that of other parameters.

    Written into `state` itself: `load_state_dict` would round averages to the type of their parameter.
    """
    saved: dict[str, dict[str, Tensor]] = {}
    for label, value in tensors.items():
        name, key = label.rsplit(":", 1)
        saved.setdefault(name, {})[key] = value
    unknown = sorted(set(saved) - set(names))
    if unknown:
        raise EngineError(
            f"The saved optimizer state is that of another model: it holds {unknown[0]}.",
            "Start a new run from the adapter.",
            "MODEL-07",
        )
    optimizer.state.clear()
    counted = iter(names)
    for index, group in enumerate(optimizer.param_groups):
        for place, parameter in enumerate(group["params"]):
            entry = saved.get(next(counted))
            if entry:
                _make_room(optimizer, group, parameter, index, place)
                _fill(optimizer.state[parameter], parameter, group, entry)


def _parameters(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _make_room(
    optimizer: torch.optim.Optimizer, group: dict[str, Any], parameter: nn.Parameter, index: int, place: int
) -> None:
    """Let bitsandbytes lay out its own state, with its tables and in memory that can be paged."""
    lay_out = getattr(optimizer, "init_state", None)
    if lay_out is not None:
        lay_out(group, parameter, index, place)


def _fill(
    state: dict[str, Any], parameter: nn.Parameter, group: dict[str, Any], entry: dict[str, Tensor]
) -> None:
    for key, value in entry.items():
        held = state.get(key)
        if key.endswith("#"):
            state[key[:-1]] = int(value)
        elif isinstance(held, Tensor) and held.shape == value.shape and held.dtype == value.dtype:
            held.copy_(value)
        else:  # torch counts steps on the CPU unless a kernel reads the count
            stays = key == "step" and not (group.get("fused") or group.get("capturable"))
            state[key] = value.clone() if stays else shards.like(parameter, value)
