"""Which modules an adapter's tensors adapt, told from their names and shapes for each method.

| method  | tensors of a module (out, in: the sizes of its linear layer)                       |
|---------|------------------------------------------------------------------------------------|
| lora    | lora_A (r, in), lora_B (out, r), and lora_magnitude_vector (out) for DoRA           |
| adalora | lora_A (r, in), lora_E (r, 1), lora_B (out, r)                                      |
| vera    | vera_lambda_d (r), vera_lambda_b (out); vera_A (r, widest in), vera_B for all        |
| ia3     | ia3_l (1, in) before the layer, or (out, 1) behind it                               |
| oft     | oft_R (blocks, b (b - 1) / 2): the upper triangle of a skew matrix for each block    |

Names as peft writes them; huggingface/peft src/peft/utils/save_and_load.py
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

from engine.models.safetensors_header import TensorEntry

PEFT_PREFIX = "base_model.model."
BASE_COPY = ".base_layer."  # peft saves the frozen head along when it is adapted; it is the base's own
VERA_SHARED = ("base_model.vera_A", "base_model.vera_B")
FLOATS = ("F64", "F32", "BF16", "F16")
_PARTS = (
    "lora_A lora_B lora_E lora_embedding_A lora_embedding_B lora_magnitude_vector "
    "vera_lambda_d vera_lambda_b ia3_l oft_R oft_embedding_R"
).split()
TOKENS = "token_adapter.trainable_tokens_delta"
_EITHER = "|".join(re.escape(part) for part in (*_PARTS, TOKENS))
_ADAPTED = re.compile(rf"^(?P<module>.+)\.(?P<part>{_EITHER})(?P<leaf>\.(?:weight|bias))?$")
Shape = tuple[int, ...]
Parts = dict[str, Shape]


@dataclass(frozen=True)
class AdapterModule:
    """One adapted module: its name in the base, its rank, its scaling's alpha and its sizes.

    A size of 0 is one that the tensors do not tell: IA3 knows one side, VeRA the output, OFT the input.
    `r` is the rank; OFT's number of blocks; 0 for IA3. Where OFT's blocks are shared there is one, and the
    input is its size. `dora` has magnitudes, `bias` a bias beside B.
    """

    name: str
    r: int
    alpha: float
    in_features: int
    out_features: int
    embedding: bool = False
    dora: bool = False
    bias: bool = False


@dataclass(frozen=True)
class Found:
    """What stands in an adapter's file: modules in its order, tensors trained whole, tokens trained alone."""

    modules: tuple[AdapterModule, ...]
    whole: tuple[tuple[str, Shape], ...]
    tokens: bool = False


class Misfit(ValueError):
    """Tensors that cannot be an adapter of the method that the file claims; the text says which."""


def find_modules(method: str, tensors: Iterable[TensorEntry], bias: bool) -> Found:
    """Sort an adapter's tensors; `bias` says that biases were trained too. Raises Misfit."""
    pairs: dict[str, Parts] = {}
    whole: dict[str, Shape] = {}
    for tensor in tensors:
        if tensor.dtype not in FLOATS:
            raise Misfit(f"{tensor.name} holds {tensor.dtype} values")
        name = tensor.name.removeprefix(PEFT_PREFIX)
        found = _ADAPTED.match(name)
        if found:
            part = found["part"] + (".bias" if found["leaf"] == ".bias" else "")
            pairs.setdefault(found["module"], {})[part] = tensor.shape
        elif BASE_COPY not in name:
            if tensor.name not in VERA_SHARED:
                whole[name] = tensor.shape
        elif bias and name.endswith(BASE_COPY + "bias"):
            whole[name.replace(BASE_COPY, ".")] = tensor.shape
    read = _READERS[method]
    modules = tuple(read(name, parts) for name, parts in pairs.items() if parts.keys() != {TOKENS})
    return Found(modules, tuple(sorted(whole.items())), any(TOKENS in parts for parts in pairs.values()))


def _need(name: str, parts: Parts, needed: Iterable[str], also: Iterable[str] = ()) -> None:
    """Raise Misfit unless exactly the needed parts are there, and of others only those in `also`."""
    missing = [part for part in needed if part not in parts]
    odd = [part for part in parts if part not in {*needed, *also}]
    if missing:
        raise Misfit(f"{name} lacks {missing[0]}")
    if odd:
        raise Misfit(f"{name} has {odd[0]}, which this method has not")


def _pair(name: str, a: Shape, b: Shape) -> tuple[int, int, int]:
    """Return rank, inputs and outputs of A (r, in) and B (out, r)."""
    if len(a) != 2 or len(b) != 2 or a[0] != b[1]:
        raise Misfit(f"the two halves of {name} do not fit")
    return a[0], a[1], b[0]


def _lora(name: str, parts: Parts) -> AdapterModule:
    embedding = "lora_embedding_A" in parts or "lora_embedding_B" in parts
    halves = ("lora_embedding_A", "lora_embedding_B") if embedding else ("lora_A", "lora_B")
    _need(name, parts, halves, ("lora_magnitude_vector", "lora_B.bias"))
    r, inner, outer = _pair(name, parts[halves[0]], parts[halves[1]])
    for part in ("lora_magnitude_vector", "lora_B.bias"):
        if part in parts and parts[part] != (outer,):
            raise Misfit(f"{part} of {name} has not as many values as B has rows")
    dora, bias = "lora_magnitude_vector" in parts, "lora_B.bias" in parts
    return AdapterModule(name, r, 0.0, inner, outer, embedding, dora, bias)


def _adalora(name: str, parts: Parts) -> AdapterModule:
    _need(name, parts, ("lora_A", "lora_E", "lora_B"))
    r, inner, outer = _pair(name, parts["lora_A"], parts["lora_B"])
    if parts["lora_E"] != (r, 1):
        raise Misfit(f"the singular values of {name} do not fit its rank")
    return AdapterModule(name, r, 0.0, inner, outer)


def _vera(name: str, parts: Parts) -> AdapterModule:
    _need(name, parts, ("vera_lambda_b", "vera_lambda_d"))
    b, d = parts["vera_lambda_b"], parts["vera_lambda_d"]
    if len(b) != 1 or len(d) != 1:
        raise Misfit(f"the scales of {name} are no vectors")
    return AdapterModule(name, d[0], 0.0, 0, b[0])


def _ia3(name: str, parts: Parts) -> AdapterModule:
    _need(name, parts, ("ia3_l",))
    shape = parts["ia3_l"]
    if len(shape) != 2 or 1 not in shape:
        raise Misfit(f"the scale of {name} is no vector")
    before = shape[0] == 1
    return AdapterModule(name, 0, 0.0, shape[1] if before else 0, 0 if before else shape[0])


def _oft(name: str, parts: Parts) -> AdapterModule:
    embedding = "oft_embedding_R" in parts
    part = "oft_embedding_R" if embedding else "oft_R"
    _need(name, parts, (part,))
    shape = parts[part]
    if len(shape) != 2 or not 1 <= shape[0] <= 1 << 20 or block_size(shape[1]) is None:
        raise Misfit(f"the rotation of {name} is no set of square blocks")
    return AdapterModule(name, shape[0], 0.0, shape[0] * (block_size(shape[1]) or 0), 0, embedding)


def block_size(values: int) -> int | None:
    """Return b when `values` is the size of a b x b matrix's upper triangle, b (b - 1) / 2; else None."""
    b = (1 + math.isqrt(1 + 8 * values)) // 2
    return b if b * (b - 1) // 2 == values else None


_READERS = {"lora": _lora, "adalora": _adalora, "vera": _vera, "ia3": _ia3, "oft": _oft}
