"""Write an adapter again with a strength folded into its tensors, in peft's own layout.

| method          | what is multiplied, or moved from where it does nothing to where it was trained  |
|-----------------|-----------------------------------------------------------------------------------|
| LoRA            | B (and the bias beside it) times s                                                |
| DoRA            | B times s; the magnitude on the line from the base's norms                        |
| AdaLoRA         | the singular values E times s                                                     |
| VeRA            | b times s                                                                         |
| IA3             | l on the line from 1                                                              |
| OFT             | the skew matrices times s; what was constrained is written as it was used         |
| trained whole   | the tensor on the line from the base's                                            |
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine import durable, paths
from engine.errors import EngineError, from_os_error
from engine.jobs import room
from engine.models.adapter_facts import CONFIG, WEIGHTS, AdapterFacts
from engine.models.adapter_tensors import PEFT_PREFIX
from engine.models.weight_files import read_json
from engine.runtime import tensor_files
from engine.runtime.attach import read_tensors
from engine.runtime.changes import constrained, whole_key
from engine.runtime.fitted import Fitted
from engine.runtime.strength import norms
from engine.runtime.target import Target

TIMES = ("lora_B", "lora_embedding_B", "vera_lambda_b")  # AdaLoRA's B stays: its E is what is multiplied
MOST = 4.0


def save_scaled(target: Target, fitted: Fitted, strength: float, out: Path | None = None) -> Path:
    """Write the target's adapter at a strength into a new folder beside it and return the folder.

    Raises EngineError REC-01 for a strength that writes nothing of use, DISK-* when it cannot be written.
    """
    adapter = target.adapter
    if adapter is None:
        raise EngineError("This model has no adapter to be scaled.", "Choose an adapter.", "MODEL-07")
    if not 0.0 < strength <= MOST:
        raise EngineError(
            f"A strength of {strength:g} cannot be saved.",
            f"Use more than 0 and at most {MOST:g}.",
            "REC-01",
            field="strength",
        )
    tensors = scaled_tensors(adapter, fitted, strength)
    folder = out or _free_folder(target, strength)
    part = folder.with_name(f".{folder.name}.part")
    room.refuse_full(folder.parent, 2 * adapter.bytes)  # what was 16 bits wide is 32 then
    try:
        durable.remove_tree(part)
        durable.make_folder(part)
        tensor_files.save(tensors, part / WEIGHTS)
        durable.write_json(part / CONFIG, _config(adapter))
        made = {"kind": "scaled", "from": str(adapter.path), "strength": strength, "of": fitted.fingerprint}
        durable.write_json(part / "tunesmith.json", made)
        durable.replace(part, folder)
        durable.fsync_folder(folder.parent)
    except OSError as error:
        durable.discard(part)
        raise from_os_error(error, str(folder)) from error
    return folder


def _free_folder(target: Target, strength: float) -> Path:
    """A run keeps its own: what lies in its folder is spoken to as the run was trained."""
    place = target.run / "adapters" if target.run is not None else paths.adapters_dir()
    step = f"-step-{target.step}" if target.step is not None else ""
    name = f"{paths.slug(target.name, 'adapter')}{step}-x{strength:.2f}"
    taken, number = place / name, 2
    while taken.exists():
        taken, number = place / f"{name}-{number}", number + 1
    return taken


def _config(adapter: AdapterFacts) -> dict[str, Any]:
    config = json.loads(json.dumps(read_json(adapter.path / CONFIG)))
    if adapter.numbers.coft:
        config["coft"] = False  # the constraint is in the tensors; a greater strength may leave it
    return dict(config)


def scaled_tensors(adapter: AdapterFacts, fitted: Fitted, strength: float) -> dict[str, Tensor]:
    """Return the adapter's tensors at a strength; those that it changes are float32."""
    tensors = read_tensors(adapter)
    places = {whole_key(name, tensors): name for name in adapter.trained_whole}
    bases = {whole.name: whole.base for whole in fitted.wholes}
    layers = {slot.name: slot.layer for slot in fitted.slots}
    made = {}
    for key, value in tensors.items():
        if key in places:
            made[key] = _between(bases[places[key]], value, strength)
        else:
            made[key] = _of_layer(key, value, adapter, layers, strength)
    return {key: value.contiguous() for key, value in made.items()}


def _of_layer(
    key: str, value: Tensor, adapter: AdapterFacts, layers: dict[str, Any], strength: float
) -> Tensor:
    name = key.removeprefix(PEFT_PREFIX)
    if adapter.method == "adalora":
        return value.float() * strength if name.endswith(".lora_E") else value
    if ".lora_magnitude_vector" in name:
        return _between(norms(layers[name.partition(".lora_magnitude_vector")[0]]), value, strength)
    if ".oft_R" in name:
        used = constrained(value, adapter.numbers) if adapter.numbers.coft else value.float()
        return used * strength
    if ".ia3_l" in name:
        return _between(torch.ones_like(value), value, strength)
    return value.float() * strength if any(f".{part}" in name for part in TIMES) else value


def _between(nothing: Tensor, trained: Tensor, strength: float) -> Tensor:
    return torch.lerp(nothing.detach().to("cpu", torch.float32), trained.float(), strength)
