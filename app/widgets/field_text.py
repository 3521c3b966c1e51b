"""How a field's value is written, read and corrected: plain text, no widgets."""

from __future__ import annotations

from typing import Any

from engine.recipe.fields import FieldSpec

# How a choice is said; one that is not here is said as it is written.
CHOICE_WORDS: dict[str, str] = {
    "auto": "Auto",
    "float32": "float32",
    "bfloat16": "bfloat16",
    "prompt_completion": "Prompt and answer",
    "messages": "Messages",
    "sharegpt": "ShareGPT",
    "alpaca": "Alpaca",
    "text": "Plain text",
    "preference": "Preference pairs",
    "assistant": "Every answer",
    "last": "Last answer",
    "all": "Everything",
    "truncate": "Cut the end",
    "drop": "Leave out",
    "split": "Split",
    "error": "Refuse",
    "cosine": "Cosine",
    "linear": "Linear",
    "constant": "Constant",
    "constant_with_warmup": "Constant after warm-up",
    "warmup_stable_decay": "Warm-up, stable, decay",
    "cosine_with_min_lr": "Cosine to a lowest rate",
    "cosine_with_restarts": "Cosine with restarts",
    "one_cycle": "One cycle",
    "polynomial": "Polynomial",
    "inverse_sqrt": "Inverse square root",
    "1-sqrt": "1 − square root",
    "adamw": "AdamW",
    "adamw_8bit": "AdamW, 8-bit",
    "paged_adamw": "AdamW, paged",
    "paged_adamw_8bit": "AdamW, 8-bit, paged",
    "adafactor": "Adafactor",
    "lion": "Lion",
    "lion_8bit": "Lion, 8-bit",
    "muon": "Muon",
    "sgd": "SGD",
    "none": "Off",
    "fail": "Stop the run",
    "True": "Unchanged model",
    "gaussian": "Gaussian",
    "pissa": "PiSSA",
    "olora": "OLoRA",
    "eva": "EVA",
    "lora_only": "Of adapted layers",
    "nf4": "NF4",
    "fp4": "FP4",
    "ddp": "DDP",
    "fsdp": "FSDP",
}
WORDS_BY_FIELD: dict[tuple[str, str], str] = {
    ("training.gradient_checkpointing", "all"): "Every layer",
    ("training.on_out_of_memory", "split"): "Split the batch",
    ("adapter.bias", "all"): "All",
}


def choice_words(spec: FieldSpec, choice: Any) -> str:
    """Return how `choice` is said in a form."""
    key = str(choice)
    return WORDS_BY_FIELD.get((spec.path, key)) or CHOICE_WORDS.get(key, key)


def write_number(value: float) -> str:
    """Return a number as people write it in a recipe: 2e-4, 0.05, 1, 2048."""
    if isinstance(value, int) or float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    text = f"{value:.10g}"
    if abs(value) < 1e-3 or "e" in text:
        mantissa, _, exponent = f"{value:.9e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return text


def write_value(spec: FieldSpec, value: Any) -> str:
    """Return `value` as it stands in a field and as `parse_text` reads it."""
    if value is None:
        return ""
    if spec.kind in ("integer", "number", "integer_or_auto") and not isinstance(value, str):
        return write_number(value)
    if spec.kind == "choice":
        return choice_words(spec, value)
    if spec.kind == "boolean":
        return "on" if value else "off"
    if isinstance(value, dict):
        return ", ".join(f"{k}: {v}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value)
    return str(value)


def bound_words(spec: FieldSpec, value: Any) -> str:
    """Return the way out when `value` is outside the field's bounds, else an empty text."""
    if isinstance(value, (bool, str)) or not isinstance(value, (int, float)):
        return ""
    low, high = spec.minimum, spec.maximum
    if low is not None and spec.exclusive_minimum and value <= low:
        return f"Use more than {write_number(low)}."
    if low is not None and value < low:
        return f"Use {write_number(low)} or more."
    if high is not None and value > high:
        return f"Use {write_number(high)} or less."
    return ""


def way_out(spec: FieldSpec, error: ValueError) -> str:
    """Word a reading error as what to do; parse_text's own words are kept where they already say so."""
    said = str(error)
    if said.startswith("Use "):
        return said
    return {
        "integer": "Use a whole number.",
        "number": "Use a number, such as 0.0002 or 2e-4.",
        "integer_or_auto": "Use a whole number, auto or epoch.",
        "integers": "Use whole numbers with commas between.",
        "mapping": "Use name: whole number, with commas between.",
    }.get(spec.kind, "Use another value.")
