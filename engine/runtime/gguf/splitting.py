"""How a text is cut before its parts become tokens: tokenizer.json's way, by llama.cpp's name for it.

llama.cpp knows each way by a name in the file (`tokenizer.ggml.pre`, llama-vocab.cpp). The name is found from
tokenizer.json's own description, never guessed from a model's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineError
from engine.paths import show_name

_ENDS = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_FRONT = r"[^\r\n\p{L}\p{N}]?"
_MARKS = r"| ?[^\s\p{L}\p{N}]+"


def _words(numbers: str) -> str:
    """Return the pattern that Llama 3 began: short forms, words, numbers, marks, ends of lines."""
    return rf"{_SHORT}|{_FRONT}\p{{L}}+|{numbers}{_MARKS}[\r\n]*{_ENDS}"


def _cases(short: str, numbers: str) -> str:
    """Return the pattern that parts a word where small letters turn to capitals."""
    first = rf"{_FRONT}{_UPPER}*{_LOWER}+{short}"
    second = rf"{_FRONT}{_UPPER}+{_LOWER}*{short}"
    return rf"{first}|{second}|{numbers}{_MARKS}[\r\n/]*{_ENDS}"


@dataclass(frozen=True)
class Way:
    """One way: tokenizer.json's steps before the bytes, and whether a whole word skips the merges."""

    name: str
    steps: tuple[tuple[str, str], ...]
    ignore_merges: bool = False
    by_gpt2: bool = False


WAYS = (
    Way("gpt-2", (), by_gpt2=True),
    Way("smollm", (("digits", ""),), by_gpt2=True),
    Way("llama-bpe", (("split", _words(r"\p{N}{1,3}")),), ignore_merges=True),
    Way("dbrx", (("split", _words(r"\p{N}{1,3}")),)),
    Way("qwen2", (("split", _words(r"\p{N}")),)),
    Way("tekken", (("split", _cases("", r"\p{N}")),), ignore_merges=True),
    Way("gpt-4o", (("split", _cases(f"{_SHORT}?", r"\p{N}{1,3}")),)),
)


def way_named(name: str) -> Way | None:
    """Return the way of a name in a file, None when it is none of ours."""
    return next((way for way in WAYS if way.name == name), None)


def find_way(described: Mapping[str, Any]) -> Way:
    """Return the way that a parsed tokenizer.json describes; raises EngineError MODEL-05 for another."""
    steps, by_gpt2 = _steps(described.get("pre_tokenizer"))
    ignore = described["model"].get("ignore_merges") is True
    for way in WAYS:
        if (way.steps, way.by_gpt2, way.ignore_merges) == (steps, by_gpt2, ignore):
            return way
    raise unknown_way(f"the pattern {steps[-1][1]}" if steps and steps[-1][1] else "its steps")


def unknown_way(what: str) -> EngineError:
    """Return the refusal of a tokenizer that a GGUF has no name for."""
    return EngineError(
        f"A GGUF has no name for the way this tokenizer cuts text: {show_name(what, 200)}.",
        "Export it as safetensors.",
        "MODEL-05",
        field="format",
    )


def _steps(described: Any) -> tuple[tuple[tuple[str, str], ...], bool]:
    """Return the steps before the bytes, and whether the bytes are cut by GPT-2's own pattern."""
    if not isinstance(described, dict):
        raise unknown_way("no steps at all")
    parts = described.get("pretokenizers") if described.get("type") == "Sequence" else [described]
    steps: list[tuple[str, str]] = []
    for number, part in enumerate(parts or []):
        kind = part.get("type")
        if kind == "ByteLevel" and number == len(parts or []) - 1:
            if part.get("add_prefix_space"):
                raise unknown_way("a blank before each text")
            return tuple(steps), part.get("use_regex") is not False
        if kind == "Digits" and part.get("individual_digits") is True:
            steps.append(("digits", ""))
        elif kind == "Split" and part.get("behavior") == "Isolated" and not part.get("invert"):
            steps.append(("split", str(part.get("pattern", {}).get("Regex", ""))))
        else:
            raise unknown_way(str(kind))
    raise unknown_way("no bytes at its end")
