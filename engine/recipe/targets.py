"""The groups of layers a recipe may name instead of a family's own names: query, key, mlp, head and so on."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

ALL_LINEAR = "all-linear"

# Ends of module names in the families that transformers brings along. A layer that makes queries, keys and
# values at once belongs to all three; one that makes gate and up at once to both.
_ENDS: dict[str, tuple[str, ...]] = {
    "query": ("q_proj", "qkv_proj", "query_key_value", "attn.c_attn", "Wqkv"),
    "key": ("k_proj", "qkv_proj", "query_key_value", "attn.c_attn", "Wqkv"),
    "value": ("v_proj", "qkv_proj", "query_key_value", "attn.c_attn", "Wqkv"),
    "output": (
        "o_proj",
        "out_proj",
        "attention.dense",
        "self_attention.dense",
        "self_attn.dense",
        "attn.c_proj",
    ),
    "gate": ("gate_proj", "gate_up_proj"),
    "up": ("up_proj", "gate_up_proj", "fc1", "fc_in", "c_fc", "dense_h_to_4h"),
    "down": ("down_proj", "fc2", "fc_out", "mlp.c_proj", "dense_4h_to_h"),
    "head": ("lm_head", "embed_out"),
}
_WIDE = {"attention": ("query", "key", "value", "output"), "mlp": ("gate", "up", "down")}
GROUPS: tuple[str, ...] = (*_ENDS, *_WIDE)


def ends_in(name: str, pattern: str) -> bool:
    """Return whether a module's dotted name is `pattern` or ends in it at a dot."""
    return name == pattern or name.endswith("." + pattern)


@lru_cache(maxsize=16384)  # modules of some models times the groups: asked anew at every key of a form
def in_group(name: str, group: str) -> bool:
    """Return whether a module belongs to one of `GROUPS`."""
    return any(ends_in(name, end) for part in _WIDE.get(group, (group,)) for end in _ENDS.get(part, ()))


def fits(name: str, pattern: str) -> bool:
    """Return whether a module is meant by an entry of a recipe: a group, a name, or the end of a name."""
    return in_group(name, pattern) if pattern in GROUPS else ends_in(name, pattern)


class Lookup:
    """Entries of a recipe, made ready to be asked for many names: by their ends, not one by one."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._ends: dict[str, int] = {}
        self._groups: list[tuple[int, str]] = []
        for index, entry in enumerate(entries):
            if entry in GROUPS:
                self._groups.append((index, entry))
            else:
                self._ends.setdefault(entry, index)

    def first(self, name: str) -> int | None:
        """Return the number of the first entry that means a module (see `fits`), None when none does."""
        found = [index for index, group in self._groups if in_group(name, group)]
        end = name
        while True:
            if end in self._ends:
                found.append(self._ends[end])
            _, dot, end = end.partition(".")
            if not dot:
                return min(found, default=None)


def named(wanted: str | list[str]) -> list[str]:
    """Return the entries of `target_modules` as a list; text may hold several with commas between."""
    if isinstance(wanted, str):
        return [part.strip() for part in wanted.split(",") if part.strip()]
    return list(wanted)
