"""What a model can be exported as: formats, number types, sizes, and why something cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts
from engine.models.model_facts import ModelFacts

FORMATS = ("safetensors", "gguf", "ollama", "adapter", "gguf-adapter", "script")
# model_type -> (llama.cpp's name of the architecture, what a person calls the family)
ARCHITECTURES = {
    "llama": ("llama", "Llama"),
    "mistral": ("llama", "Mistral"),
    "qwen2": ("qwen2", "Qwen 2"),
    "qwen3": ("qwen3", "Qwen 3"),
    "gemma2": ("gemma2", "Gemma 2"),
    "gemma3_text": ("gemma3", "Gemma 3"),
    "gemma3": ("gemma3", "Gemma 3"),
    "phi3": ("phi3", "Phi-3"),
}
QUANTIZER = "llama-quantize"
PROVED_AGAIN = ("gguf", "ollama", "gguf-adapter")  # the formats that `certify` makes the whole proof of anew


@dataclass(frozen=True)
class NumberType:
    """A type of numbers in a GGUF file: bits a weight, and whether only llama.cpp's program can make it."""

    name: str
    bits: float
    foreign: bool = False


# Bits a weight: the block's bytes over its weights; of the k-types what whole models come to.
TYPES = {
    each.name: each
    for each in (
        NumberType("f32", 32),
        NumberType("f16", 16),
        NumberType("bf16", 16),
        NumberType("q8_0", 8.5),
        NumberType("q5_1", 6),
        NumberType("q5_0", 5.5),
        NumberType("q4_1", 5),
        NumberType("q4_0", 4.5),
        NumberType("q6_k", 6.6, True),
        NumberType("q5_k_m", 5.7, True),
        NumberType("q5_k_s", 5.5, True),
        NumberType("q4_k_m", 4.9, True),
        NumberType("q4_k_s", 4.6, True),
        NumberType("q3_k_m", 3.9, True),
        NumberType("q3_k_s", 3.5, True),
        NumberType("q2_k", 3.2, True),
    )
}


def number_type(name: str) -> NumberType:
    """Return the type that a person named; raises EngineError REC-01 for none that is known."""
    found = TYPES.get(name.lower().replace("-", "_"))
    if found is None:
        raise EngineError(
            f"There is no GGUF type {name}.",
            f"Use one of: {', '.join(TYPES)}.",
            "REC-01",
            field="quantization",
        )
    return found


def find_quantizer() -> Path | None:
    """Return llama.cpp's program for the k-types, None where it is not on the search path."""
    found = shutil.which(QUANTIZER)
    return Path(found) if found else None


def usable_types() -> list[str]:
    """Return the types that can be made here."""
    has = find_quantizer() is not None
    return [name for name, each in TYPES.items() if has or not each.foreign]


def why_no_gguf(model_type: str) -> str:
    """Return why a family cannot be written as GGUF, empty where it can."""
    if model_type in ARCHITECTURES:
        return ""
    known = ", ".join(dict.fromkeys(words for _, words in ARCHITECTURES.values()))
    return f"Models of the type {model_type or 'unknown'} cannot be written as GGUF here; {known} can."


def gguf_bytes(facts: ModelFacts, kind: NumberType) -> int:
    """Return about how large the file will be: all weights in the type, and a twentieth for the rest."""
    return int(facts.parameters * kind.bits / 8 * 1.05) + (8 << 20)


def why_not(base: ModelFacts, adapter: AdapterFacts | None, *, is_run: bool) -> dict[str, str]:
    """Return for each format why it cannot be made, empty where it can; a tokenizer may still be refused."""
    quantised = ""
    if base.quantization is not None:
        quantised = f"{base.name} is quantised ({base.quantization}); its plain weights are needed."
    file = why_no_gguf(base.model_type) or quantised
    lone = "" if adapter is not None else "There is no adapter."
    plain = adapter is None or (
        adapter.method == "lora" and not adapter.use_dora and not adapter.trained_whole
    )
    return {
        "safetensors": quantised if adapter is not None else "",
        "gguf": file,
        "ollama": file,
        "adapter": lone,
        "gguf-adapter": lone or file or ("" if plain else "A GGUF adapter holds plain LoRA only."),
        "script": "" if is_run else "Only a run can be written as a script.",
    }


def made_bytes(base: ModelFacts, adapter: AdapterFacts | None, format: str, kind: NumberType) -> int:
    """Return about how large what is made will be."""
    if format in ("gguf", "ollama"):
        return gguf_bytes(base, kind)
    if format == "safetensors":
        return base.weights_bytes
    return adapter.bytes if adapter is not None and format != "script" else 0


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of config.json that describes the language model."""
    inner = config.get("text_config")
    if not isinstance(inner, dict):
        return dict(config)
    return {"tie_word_embeddings": True, **inner, "model_type": inner.get("model_type", "")}
