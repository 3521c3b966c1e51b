"""A plain LoRA as a GGUF that llama.cpp loads on a GGUF of the base.

The file has one alpha; llama.cpp scales a module by alpha / r. Where a module's own scale is another (its own
alpha, rank-stabilised scaling), the difference is multiplied into B.
Layout: llama.cpp's src/llama-adapter.cpp
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from engine import paths
from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts
from engine.models.facts import is_head
from engine.models.made import write_origin
from engine.runtime.attach import read_tensors
from engine.runtime.certify import write_certificate
from engine.runtime.export_subject import Exported
from engine.runtime.fidelity import Progress
from engine.runtime.gguf.families import Shape, shape_of
from engine.runtime.gguf.numbers import KINDS, Array, pack, packed_bytes
from engine.runtime.gguf.proof import Finding
from engine.runtime.gguf.read import ReadBack
from engine.runtime.gguf.source import architecture_of, heads_turned, plain_name
from engine.runtime.gguf.write import add_value, begin, fill, put
from engine.runtime.new_folder import into_folder

FILE = "adapter.gguf"
TOLERANCE = 1e-5  # of a module's largest change, in float32
Pair = tuple[str, Array, Array]


def export_gguf_adapter(
    exported: Exported, out: Path, chosen: str, tell: Progress
) -> tuple[Path, dict[str, Any], str, tuple[str, ...]]:
    """Write `out` with adapter.gguf; raises EngineError MODEL-05 for what is no plain LoRA."""
    adapter = exported.target.adapter
    if adapter is None:
        raise EngineError(
            f"{exported.name} has no adapter.", "Use --format gguf.", "MODEL-05", field="format"
        )
    if chosen not in ("f32", "f16", "bf16"):
        raise EngineError(
            f"A GGUF adapter is not quantised to {chosen}.",
            "Use f32, f16 or bf16.",
            "REC-01",
            field="quantization",
        )
    base = exported.target.base
    shape = shape_of(base.path, base.tied)
    pairs = pairs_of(adapter, shape, base.tied)
    found: dict[str, Any] = {}

    def write(folder: Path) -> None:
        write_pairs(folder / FILE, pairs, adapter, shape, chosen, exported.name)
        found.update(certificate_of(folder / FILE, adapter, shape, chosen))
        write_origin(folder, exported.origin("gguf-adapter", chosen))
        write_certificate(folder, found)
        tell("write", len(pairs), len(pairs))

    into_folder(out, sum(a.nbytes + b.nbytes for _, a, b in pairs) + (1 << 20), write)
    command = f"llama-server -m BASE.gguf --lora {shlex.quote(str(out / FILE))}"
    return out, found, command, ("It belongs onto a GGUF of the same base.",)


def certificate_of(path: Path, adapter: AdapterFacts, shape: Shape, chosen: str) -> dict[str, Any]:
    """Return the certificate of an adapter's file."""
    finding = prove_pairs(path, adapter, shape, chosen)
    told = {"kind": "gguf-adapter", "passed": finding.passed, "dtype": chosen, **finding.figures}
    return told if finding.passed else {**told, "reason": finding.reason}


def pairs_of(adapter: AdapterFacts, shape: Shape, tied: bool) -> list[Pair]:
    """Return (name, A [r, in], B [out, r]) under llama.cpp's names, B in its order of rows and scaled."""
    if adapter.method != "lora" or adapter.use_dora or adapter.trained_whole:
        what = "tensors that were trained whole" if adapter.trained_whole else adapter.label
        raise _no(adapter, f"a GGUF adapter holds plain LoRA only, not {what}")
    names = gguf.get_tensor_name_map(architecture_of(shape.arch), shape.layers)
    tensors = read_tensors(adapter)
    found = []
    for module in adapter.modules:
        plain = plain_name(f"{module.name}.weight")
        name = None if plain is None else names.get_name(plain, try_suffixes=(".weight",))
        if name is None or module.embedding or module.bias or (tied and is_head(module.name)):
            raise _no(adapter, f"llama.cpp has no place for {paths.show_name(module.name)}")
        a, b = (_tensor(tensors, module.name, side) for side in "AB")
        scale = scale_of(adapter, module.alpha, module.r) * module.r / adapter.lora_alpha
        heads = heads_turned(plain or "", shape)
        b = b * np.float32(scale)
        found.append((name, a, turned(b, heads) if heads else b))
    return found


def _no(adapter: AdapterFacts, why: str) -> EngineError:
    return EngineError(
        f"{adapter.name} cannot be a GGUF adapter: {why}.",
        "Export it merged (--format gguf).",
        "MODEL-05",
        file=str(adapter.path),
        field="format",
    )


def scale_of(adapter: AdapterFacts, alpha: float, r: int) -> float:
    """Return what peft multiplies a module's change by."""
    return float(alpha / r**0.5 if adapter.use_rslora else alpha / r)


def _tensor(tensors: dict[str, torch.Tensor], module: str, side: str) -> Array:
    name = next(key for key in tensors if key.endswith(f"{module}.lora_{side}.weight"))
    found: Array = tensors[name].float().numpy()
    return found


def turned(rows: Array, heads: int) -> Array:
    """Return rows [heads * width, n] in llama.cpp's order: pairs that are turned together side by side."""
    half = len(rows) // heads // 2
    return np.ascontiguousarray(rows.reshape(heads, 2, half, -1).swapaxes(1, 2).reshape(rows.shape))


def turned_back(rows: Array, heads: int) -> Array:
    """Undo `turned`."""
    half = len(rows) // heads // 2
    return np.ascontiguousarray(rows.reshape(heads, half, 2, -1).swapaxes(1, 2).reshape(rows.shape))


def write_pairs(
    path: Path, pairs: list[Pair], adapter: AdapterFacts, shape: Shape, chosen: str, name: str
) -> None:
    """Write the file."""
    writer = gguf.GGUFWriter(path, shape.arch)
    for key, value in {
        "general.type": "adapter",
        "general.name": name,
        "adapter.type": "lora",
        "adapter.lora.alpha": float(adapter.lora_alpha),
    }.items():
        add_value(writer, key, value)
    flat = [(f"{n}.lora_{s}", m) for n, a, b in pairs for s, m in (("a", a), ("b", b))]
    kind = KINDS[chosen]
    for each, matrix in flat:
        size = packed_bytes(kind, matrix.shape)
        writer.add_tensor_info(each, matrix.shape, np.dtype(np.float32), size, raw_dtype=kind)
    try:
        file = begin(writer)
        for each, matrix in flat:
            put(file, pack(matrix, kind, each))
            fill(file)
        file.flush()
        os.fsync(file.fileno())
    finally:
        writer.close()


def prove_pairs(path: Path, adapter: AdapterFacts, shape: Shape, chosen: str) -> Finding:
    """Compare alpha / r * B A of the file with peft's own change, module by module."""
    file = ReadBack(path)
    alpha = float(file.values["adapter.lora.alpha"])
    names = gguf.get_tensor_name_map(architecture_of(shape.arch), shape.layers)
    tensors = read_tensors(adapter)
    worst, where = 0.0, ""
    for module in adapter.modules:
        plain = plain_name(f"{module.name}.weight") or ""
        name = names.get_name(plain, try_suffixes=(".weight",))
        if f"{name}.lora_a" not in file.tensors or f"{name}.lora_b" not in file.tensors:
            return Finding(False, f"{name} is missing.")
        a, b = (file.rows(f"{name}.lora_{s}", 0, file.shape(f"{name}.lora_{s}")[0]) for s in "ab")
        heads = heads_turned(plain, shape)
        found = alpha / len(a) * (turned_back(b, heads) if heads else b) @ a
        own_a, own_b = (_tensor(tensors, module.name, side) for side in "AB")
        wanted = scale_of(adapter, module.alpha, module.r) * own_b @ own_a
        most = float(np.abs(wanted).max())
        away = float(np.abs(found - wanted).max()) / most if most else float(np.abs(found).max())
        if away > worst:
            worst, where = away, str(name)
    allowed = {"f32": TOLERANCE, "f16": 2.0**-8, "bf16": 2.0**-5}[chosen]
    figures = {"modules": len(adapter.modules), "worst": worst, "worst_module": where}
    if worst > allowed:
        return Finding(False, f"{where} changes the base otherwise than the adapter does.", figures)
    return Finding(True, figures=figures)
