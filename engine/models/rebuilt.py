"""Configurations of strangers, built anew from the fields that are known: what is left has no say in code.

Whatever reads a model gets these, never the files as they came. The names of what was left out are kept.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine import paths
from engine.errors import EngineError
from engine.models.config_keys import NEVER, is_builtin, known_keys

DTYPES = ("float32", "bfloat16", "float16", "float64")
# What transformers writes beside the configuration, or keeps for other tasks: left out without a word.
_QUIET = frozenset(
    "transformers_version _name_or_path id2label label2id problem_type _attn_implementation_autoset "
    "_commit_hash use_bfloat16 num_labels return_dict torchscript output_attentions output_hidden_states "
    "_diffusers_version chunk_size_feed_forward".split()
)
_DEPTH = 6
_TEXT = 256
_COUNTS = ("max_length", "max_new_tokens", "min_new_tokens", "min_length")
_SHARES = ("top_p", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_TOKENS = ("eos_token_id", "bos_token_id", "pad_token_id", "decoder_start_token_id")
MAX_TOKENS = 1_000_000
MAX_VOCAB = 1 << 22
_GENERATION: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_COUNTS, (0, MAX_TOKENS)),
    **dict.fromkeys(_SHARES, (0.0, 1.0)),
    "temperature": (0.0, 10.0),
    "top_k": (0, MAX_TOKENS),
    "repetition_penalty": (0.1, 10.0),
    "no_repeat_ngram_size": (0, 1024),
}
_SWITCHES = ("do_sample", "use_cache")


@dataclass(frozen=True)
class Rebuilt:
    """A configuration of known fields alone, and the names of those that were left out (sorted)."""

    values: dict[str, Any]
    dropped: tuple[str, ...]


def rebuild_config(config: Mapping[str, Any], file: str | None = None) -> Rebuilt:
    """Return a model's configuration with the keys that its model_type knows.

    Raises EngineError MODEL-04 for a type that needs its own program, MODEL-05 for a foreign quantisation.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not is_builtin(model_type):
        raise own_code(f"model_type {paths.show_name(str(model_type), 60)}", file)
    dropped: set[str] = set()
    values = _known(config, known_keys(model_type), dropped, "", file)
    if config.get("quantization_config"):
        values["quantization_config"] = rebuild_quantization(config["quantization_config"], file)
    return Rebuilt(values, tuple(sorted(dropped)))


def own_code(field: str, file: str | None) -> EngineError:
    """Return the refusal of a model that can be used only with a program of its own."""
    return EngineError(
        f"This model needs its own program code ({field}).",
        "Choose a model of a family that transformers brings along, such as llama, qwen2, gemma or phi3.",
        "MODEL-04",
        file=file,
    )


def _known(
    config: Mapping[str, Any], keys: frozenset[str], dropped: set[str], where: str, file: str | None
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name == "quantization_config" and not where:
            continue
        if name not in keys or not _is_plain(name, value):
            if name not in _QUIET and value not in (None, False, "", [], {}):
                dropped.add(paths.show_name(where + name, 80))
        elif isinstance(value, dict) and name.endswith("_config"):
            inner = value.get("model_type")
            if inner is not None and not (isinstance(inner, str) and is_builtin(inner)):
                raise own_code(f"{paths.show_name(name, 60)}: {paths.show_name(str(inner), 60)}", file)
            found[name] = _known(value, known_keys(inner) if inner else keys, dropped, f"{name}.", file)
        elif isinstance(value, dict):
            found[name] = {key: part for key, part in value.items() if not _decides(key)}
        else:
            found[name] = value
    return found


def _decides(name: str) -> bool:
    """Return whether a key says which program runs."""
    return name.lstrip("_") in NEVER or "attn_impl" in name or "experts_impl" in name


def _is_plain(name: str, value: Any, depth: int = 0) -> bool:
    """Return whether a value is of the kind that configurations have, and no longer than they are."""
    if _decides(name) or depth > _DEPTH:
        return False
    if name in ("dtype", "torch_dtype") and not isinstance(value, dict):
        return value in DTYPES
    if isinstance(value, str):
        return len(value) <= _TEXT and value.isprintable()
    if isinstance(value, list):
        return all(_is_plain("", part, depth + 1) for part in value)
    if isinstance(value, dict):
        return all(isinstance(k, str) and len(k) <= _TEXT for k in value) and all(
            _is_plain("", part, depth + 1) for part in value.values()
        )
    return value is None or isinstance(value, bool | int) or math.isfinite(value)


def rebuild_quantization(value: Any, file: str | None = None) -> dict[str, Any]:
    """Return the settings of a base quantised by bitsandbytes; raises EngineError MODEL-05 for others."""
    method = str(value.get("quant_method", "")) if isinstance(value, dict) else ""
    four, eight = _switch(value, "load_in_4bit"), _switch(value, "load_in_8bit")
    if method not in ("bitsandbytes", "") or four == eight:
        shown = method or "unknown"
        if method == "bitsandbytes":
            shown = "bitsandbytes without load_in_4bit or load_in_8bit"
        raise _foreign("quant_method", shown, file)
    kind = value.get("bnb_4bit_quant_type", "fp4")
    if four and kind not in ("nf4", "fp4"):
        raise _foreign("bnb_4bit_quant_type", kind, file)
    skipped = value.get("llm_int8_skip_modules")
    if skipped is not None and not _are_names(skipped):
        raise _foreign("llm_int8_skip_modules", skipped, file)
    made: dict[str, Any] = {
        "quant_method": "bitsandbytes",
        "load_in_4bit": four,
        "load_in_8bit": eight,
        "llm_int8_skip_modules": skipped,
        "llm_int8_has_fp16_weight": _switch(value, "llm_int8_has_fp16_weight"),
    }
    threshold = value.get("llm_int8_threshold", 6.0)
    if isinstance(threshold, int | float) and 0 <= threshold <= 1e4:
        made["llm_int8_threshold"] = float(threshold)
    if four:
        made["bnb_4bit_quant_type"] = kind
        made["bnb_4bit_use_double_quant"] = _switch(value, "bnb_4bit_use_double_quant")
        compute = value.get("bnb_4bit_compute_dtype", "float32")
        made["bnb_4bit_compute_dtype"] = compute if compute in DTYPES else "float32"
        storage = value.get("bnb_4bit_quant_storage", "uint8")
        made["bnb_4bit_quant_storage"] = storage if storage in (*DTYPES, "uint8") else "uint8"
    return made


def _switch(value: Any, name: str) -> bool:
    return isinstance(value, dict) and (value.get(name) is True or value.get(f"_{name}") is True)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(n, str) and re.fullmatch(r"[A-Za-z0-9_.]{1,256}", n) for n in value
    )


def _foreign(field: str, value: Any, file: str | None) -> EngineError:
    return EngineError(
        f"config.json: quantization_config.{field} = {paths.show_name(str(value), 60)} is not supported.",
        "Choose the model in full numbers; load_in_4bit makes it small while it is loaded.",
        "MODEL-05",
        file=file,
    )


def rebuild_generation(stored: Mapping[str, Any]) -> Rebuilt:
    """Return the numbers and switches of a generation_config.json that are within bounds."""
    values: dict[str, Any] = {}
    for name, value in stored.items():
        if (
            (name in _SWITCHES and isinstance(value, bool))
            or (name in _GENERATION and _within(value, *_GENERATION[name]))
            or (name in _TOKENS and _are_tokens(value))
        ):
            values[name] = value
    dropped = (k for k, v in stored.items() if k not in values and k not in _GENERATION_QUIET and v)
    return Rebuilt(values, tuple(sorted(paths.show_name(name, 80) for name in dropped)))


_GENERATION_QUIET = ("transformers_version", "_from_model_config")


def _within(value: Any, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _are_tokens(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return 0 < len(numbers) <= 64 and all(type(n) is int and 0 <= n < MAX_VOCAB for n in numbers)


def as_text(values: Mapping[str, Any]) -> str:
    """Return a configuration as it is written to a file."""
    return json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
