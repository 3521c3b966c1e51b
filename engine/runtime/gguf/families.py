"""What a family's GGUF says of its shape, and how its tensors differ from the folder's.

Keys and their meaning: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; what a family leaves unsaid
is fixed in llama.cpp's source (src/models), so whatever a model has otherwise is refused by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import EngineError
from engine.models.export_facts import ARCHITECTURES, text_config, why_no_gguf
from engine.models.weight_files import read_json

Values = dict[str, Any]


@dataclass(frozen=True)
class Rope:
    """How positions are turned: base and kind of scaling; `local` is the base of sliding layers."""

    base: float
    kind: str
    params: Mapping[str, Any]
    local: float | None = None


@dataclass(frozen=True)
class Shape:
    """A model's shape as its GGUF is to say it.

    `values` are metadata without the architecture's prefix; `extra` are tensors that no file of the folder
    has. `turned` models store q and k in the order of rotary pairs; `shifted` ones store their norms with 1
    added.
    """

    arch: str
    words: str
    config: dict[str, Any]
    layers: int
    heads: int
    kv_heads: int
    values: Values
    extra: dict[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def turned(self) -> bool:
        """Return whether q and k are stored in the order of rotary pairs."""
        return self.arch == "llama"

    @property
    def shifted(self) -> bool:
        """Return whether the norms' weights are stored with 1 added."""
        return self.arch in ("gemma2", "gemma3")


def shape_of(folder: Path, tied: bool) -> Shape:
    """Return the shape of a model folder; raises EngineError MODEL-05 for what its GGUF could not say."""
    config = text_config(read_json(folder / "config.json"))
    outer = str(read_json(folder / "config.json").get("model_type", ""))
    if outer not in ARCHITECTURES:
        raise _no(why_no_gguf(outer), folder)
    arch, words = ARCHITECTURES[outer]
    rope = _rope(config)
    layers, heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
    kv_heads = int(config.get("num_key_value_heads") or heads)
    head_dim = int(config.get("head_dim") or config["hidden_size"] // heads)
    remarks: list[str] = []
    values: Values = {
        "vocab_size": int(config["vocab_size"]),
        "context_length": _context(arch, config, remarks),
        "embedding_length": int(config["hidden_size"]),
        "block_count": layers,
        "feed_forward_length": int(config["intermediate_size"]),
        "attention.head_count": heads,
        "attention.head_count_kv": kv_heads,
        "attention.layer_norm_rms_epsilon": float(config.get("rms_norm_eps", 1e-6)),
        "rope.freq_base": rope.base,
    }
    if arch != "phi3":
        values |= {"attention.key_length": head_dim, "attention.value_length": head_dim}
    if arch == "llama":
        values["rope.dimension_count"] = head_dim
    extra: dict[str, np.ndarray[Any, Any]] = {}
    try:
        _of_family(arch, config, rope, head_dim, layers, tied, values)
        _of_scaling(arch, config, rope, head_dim, values, extra)
    except _Unsaid as error:
        raise _no(f"A GGUF cannot say what this {words} does: {error}.", folder) from None
    if outer == "gemma3":
        remarks.append("Only the part that reads text is exported; pictures are left out.")
    return Shape(arch, words, config, layers, heads, kv_heads, values, extra, tuple(remarks))


class _Unsaid(Exception):
    """Something in config.json that llama.cpp computes otherwise."""


def _no(message: str, folder: Path) -> EngineError:
    return EngineError(
        message, "Export it as safetensors.", "MODEL-05", file=str(folder / "config.json"), field="format"
    )


def _rope(config: Mapping[str, Any]) -> Rope:
    """Read rope_parameters, or the rope_theta and rope_scaling of older files."""
    named = config.get("rope_parameters")
    params = dict(named) if isinstance(named, dict) else {}
    local = params.get("sliding_attention")
    if isinstance(params.get("full_attention"), dict):
        params = dict(params["full_attention"])
    if not params:
        params = dict(config.get("rope_scaling") or {})
    base = float(params.get("rope_theta") or config.get("rope_theta") or 10000.0)
    kind = str(params.get("rope_type") or params.get("type") or "default").lower()
    local_base = local.get("rope_theta") if isinstance(local, dict) else config.get("rope_local_base_freq")
    return Rope(base, kind, params, float(local_base) if local_base else None)


def _context(arch: str, config: Mapping[str, Any], remarks: list[str]) -> int:
    """Return the longest text; llama.cpp has no window for these families, so it is the window where less."""
    longest = int(config.get("max_position_embeddings", 2048))
    window = config.get("sliding_window")
    windowed = arch in ("llama", "phi3") or (arch in ("qwen2", "qwen3") and config.get("use_sliding_window"))
    if not windowed or not isinstance(window, int) or window >= longest:
        return longest
    remarks.append(
        f"The file's context is {window:,} tokens, the model's sliding window: "
        "llama.cpp computes this family without a window."
    )
    return window


def _of_family(
    arch: str,
    config: Mapping[str, Any],
    rope: Rope,
    head_dim: int,
    layers: int,
    tied: bool,
    values: Values,
) -> None:
    if arch.startswith("gemma"):
        _of_gemma(arch, config, rope, head_dim, layers, tied, values)
        return
    if str(config.get("hidden_act", "silu")) not in ("silu", "swish"):
        raise _Unsaid(f"its activation is {config['hidden_act']}")
    if arch == "phi3":
        share = float(rope.params.get("partial_rotary_factor") or config.get("partial_rotary_factor") or 1.0)
        values["rope.dimension_count"] = int(share * head_dim)
        values["attention.sliding_window"] = 0


def _of_gemma(
    arch: str,
    config: Mapping[str, Any],
    rope: Rope,
    head_dim: int,
    layers: int,
    tied: bool,
    values: Values,
) -> None:
    """Gemma's windows, caps and scale: the scale is fixed by the head's width, but for the largest models."""
    act = str(config.get("hidden_activation") or config.get("hidden_act") or "gelu_pytorch_tanh")
    if act != "gelu_pytorch_tanh":
        raise _Unsaid(f"its activation is {act}")
    largest = layers == (46 if arch == "gemma2" else 62)
    heads = int(config["num_attention_heads"])
    scale = config["hidden_size"] // heads if largest else head_dim
    asked = config.get("query_pre_attn_scalar", 256)
    if float(asked) != float(scale):
        raise _Unsaid(f"query_pre_attn_scalar is {asked}, and llama.cpp takes {scale}")
    step = 2 if arch == "gemma2" else 6
    kinds = config.get("layer_types")
    usual = ["full_attention" if (i + 1) % step == 0 else "sliding_attention" for i in range(layers)]
    named = config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or step
    if (list(kinds) if kinds is not None else usual) != usual or (kinds is None and named != step):
        raise _Unsaid(f"its sliding layers are not every layer but each {step}th")
    values["attention.sliding_window"] = int(config.get("sliding_window") or 4096)
    if arch == "gemma2":
        if not tied:
            raise _Unsaid("its output head is apart from its embedding")
        values["attn_logit_softcapping"] = float(config.get("attn_logit_softcapping") or 0.0)
        values["final_logit_softcapping"] = float(config.get("final_logit_softcapping") or 0.0)
        if not values["attn_logit_softcapping"] or not values["final_logit_softcapping"]:
            raise _Unsaid("its scores are not capped")
        return
    if config.get("attn_logit_softcapping"):
        raise _Unsaid("the scores of its attention are capped")
    if config.get("final_logit_softcapping"):
        values["final_logit_softcapping"] = float(config["final_logit_softcapping"])
    values["rope.freq_base_swa"] = rope.local or 10000.0


def _of_scaling(
    arch: str,
    config: Mapping[str, Any],
    rope: Rope,
    head_dim: int,
    values: Values,
    extra: dict[str, np.ndarray[Any, Any]],
) -> None:
    if rope.kind == "default":
        return
    if rope.kind == "linear":
        values |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope.params["factor"])}
    elif rope.kind == "yarn" and arch in ("llama", "qwen2", "qwen3"):
        original = rope.params.get("original_max_position_embeddings")
        values |= {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": float(rope.params["factor"]),
            "rope.scaling.original_context_length": int(original or config["max_position_embeddings"]),
        }
    elif rope.kind == "llama3" and arch == "llama":
        extra["rope_freqs.weight"] = llama3_factors(rope, head_dim)
    elif rope.kind in ("longrope", "su") and arch == "phi3":
        _long(config, rope, values, extra)
    else:
        raise _Unsaid(f"its positions are scaled by {rope.kind}")


def llama3_factors(rope: Rope, head_dim: int) -> np.ndarray[Any, Any]:
    """Return what each frequency of Llama 3.1 and later is divided by, [head_dim / 2].

    Formula: transformers' modeling_rope_utils, `_compute_llama3_parameters`.
    """
    params = rope.params
    factor, low, high = (float(params[k]) for k in ("factor", "low_freq_factor", "high_freq_factor"))
    original = float(params["original_max_position_embeddings"])
    waves = 2 * math.pi * rope.base ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    smooth = (original / waves - low) / (high - low)
    between = 1 / ((1 - smooth) / factor + smooth)
    found = np.where(waves < original / high, 1.0, np.where(waves > original / low, factor, between))
    return found.astype(np.float32)


def _long(
    config: Mapping[str, Any], rope: Rope, values: Values, extra: dict[str, np.ndarray[Any, Any]]
) -> None:
    """Phi's long context: two sets of factors, and a factor of the attention from the lengths' ratio."""
    params = rope.params
    original = int(
        params.get("original_max_position_embeddings") or config.get("original_max_position_embeddings") or 0
    )
    longest = int(config["max_position_embeddings"])
    if not original:
        raise _Unsaid("original_max_position_embeddings is missing")
    ratio = longest / original
    values["rope.scaling.type"] = "longrope"
    values["rope.scaling.original_context_length"] = original
    usual = math.sqrt(1 + math.log(ratio) / math.log(original)) if ratio > 1 else 1.0
    values["rope.scaling.attn_factor"] = float(params.get("attention_factor") or usual)
    for name, tensor in (("long_factor", "rope_factors_long"), ("short_factor", "rope_factors_short")):
        factors = np.asarray(params[name], dtype=np.float32)
        if len(factors) != values["rope.dimension_count"] // 2:
            raise _Unsaid(f"{name} has {len(factors)} numbers")
        extra[f"{tensor}.weight"] = factors
