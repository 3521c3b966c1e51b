"""What of a tokenizer_config.json goes along with a model: marks, template and switches, never a program."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine import paths
from engine.models.rebuilt import Rebuilt

PLAIN_CLASS = "PreTrainedTokenizerFast"  # reads tokenizer.json as it stands
_TOKENS = frozenset("bos_token eos_token unk_token sep_token pad_token cls_token mask_token".split())
_SWITCHES = frozenset(
    "clean_up_tokenization_spaces add_bos_token add_eos_token add_prefix_space legacy split_special_tokens "
    "spaces_between_special_tokens use_default_system_prompt do_lower_case strip_accents trim_offsets "
    "tokenize_chinese_chars use_fast remove_space keep_accents add_dummy_prefix_space use_regex "
    "add_bos_token_ids from_slow lstrip rstrip normalized single_word special".split()
)
_WORDS = {
    "padding_side": ("left", "right"),
    "truncation_side": ("left", "right"),
    "errors": ("replace", "strict", "ignore"),
    "backend": ("tokenizers", "sentencepiece"),
}
_QUIET = frozenset(
    "name_or_path tokenizer_file special_tokens_map_file is_local local_files_only processor_class "
    "transformers_version device_map vocab_file merges_file backend".split()
)
_MOST = 1 << 20


def rebuild_tokenizer(stored: Mapping[str, Any]) -> Rebuilt:
    """Return a tokenizer_config.json of known fields; a foreign class becomes the plain one."""
    values: dict[str, Any] = {}
    for name, value in stored.items():
        if _is_known(name, value):
            values[name] = value
    named = stored.get("tokenizer_class")
    if named is not None and (not _is_class(named) or "auto_map" in stored):
        values["tokenizer_class"] = PLAIN_CLASS
    dropped = {k for k, v in stored.items() if k not in values and k not in _QUIET and v not in _EMPTY}
    if named is not None and values.get("tokenizer_class") != named:
        dropped.add("tokenizer_class")
    return Rebuilt(values, tuple(sorted(paths.show_name(name, 80) for name in dropped)))


_EMPTY: tuple[Any, ...] = (None, False, "", [], {})


def _is_known(name: str, value: Any) -> bool:
    if value is None:
        return name in _TOKENS
    if name in _TOKENS or name.endswith("_token"):
        return _is_token(value)
    if name in _SWITCHES:
        return isinstance(value, bool)
    if name in _WORDS:
        return value in _WORDS[name]
    if name in ("model_max_length", "max_length", "stride", "pad_to_multiple_of"):
        return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    if name == "tokenizer_class":
        return _is_class(value)
    if name == "chat_template":
        return _is_template(value)
    if name == "added_tokens_decoder":
        return isinstance(value, dict) and all(k.isdigit() and _is_token(v) for k, v in value.items())
    if name == "model_input_names":
        return isinstance(value, list) and all(isinstance(v, str) and v.isidentifier() for v in value)
    if name in ("additional_special_tokens", "extra_special_tokens"):
        parts = list(value.values()) if isinstance(value, dict) else value
        return isinstance(parts, list) and all(_is_token(part) for part in parts)
    return False


def _is_token(value: Any) -> bool:
    """Return whether a value is a token: its text, or its text with switches."""
    if isinstance(value, dict):
        known = all(k in ("content", "__type", "id") or k in _SWITCHES for k in value)
        return known and _is_token(value.get("content"))
    return isinstance(value, str) and len(value) <= 4096


def _is_template(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(v, dict) and {*v} == {"name", "template"} for v in value)
    return isinstance(value, str) and len(value) <= _MOST


def _is_class(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"[A-Z]\w{1,60}", value)) and value in _classes()


@lru_cache(maxsize=1)
def _classes() -> frozenset[str]:
    """Return the names of the tokenizers that transformers brings along, the older Fast names among them."""
    spec = importlib.util.find_spec("transformers")
    roots = list(spec.submodule_search_locations or ()) if spec else []
    file = Path(roots[0]) / "models" / "auto" / "tokenization_auto.py" if roots else None
    text = file.read_text("utf-8") if file and file.is_file() else ""
    plain = set(re.findall(r"[\"'](\w+?Tokenizer)(?:Fast)?[\"']", text))
    return frozenset(
        {*plain, *(f"{name}Fast" for name in plain), PLAIN_CLASS, "PreTrainedTokenizer", "TokenizersBackend"}
    )
