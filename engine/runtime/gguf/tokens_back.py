"""Tokens as llama.cpp makes them, from what a GGUF file holds alone: to prove that they are the model's.

text -> parted at the marks (control and user-defined tokens) -> each rest
    "gpt2":  cut by the way the file names, joined by its merges
    "llama": blanks made visible, neighbours joined by the highest score, the rest as bytes
llama.cpp's src/llama-vocab.cpp: tokenizer_st_partition, llm_tokenizer_spm_session
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from engine.runtime.gguf.splitting import way_named
from engine.runtime.gguf.vocabulary import BYTE, CONTROL, SPACE, UNKNOWN, USER_DEFINED

# llama.cpp takes the blanks behind marks away for models whose name holds one of these, but for these marks.
_STRIPPING = ("phi-3", "phi3")
_UNSTRIPPED = ("<unk>", "<s>", "<|endoftext|>")


class FileTokenizer:
    """The tokenizer of a file; `values` are its metadata."""

    def __init__(self, values: dict[str, Any]) -> None:
        front = "tokenizer.ggml."
        self.tokens: Sequence[str] = values[front + "tokens"]
        kinds: Sequence[int] = values[front + "token_type"]
        self._scores: Sequence[float] = values.get(front + "scores") or ()
        self._prefix = bool(values.get(front + "add_space_prefix", values[front + "model"] == "llama"))
        self._ids = {text: number for number, text in enumerate(self.tokens)}
        self._bytes = {text: i for i, text in enumerate(self.tokens) if kinds[i] == BYTE}
        marks = [t for i, t in enumerate(self.tokens) if kinds[i] in (CONTROL, USER_DEFINED, UNKNOWN)]
        marks.sort(key=len, reverse=True)
        self._marks = re.compile("(" + "|".join(map(re.escape, marks)) + ")") if marks else None
        self._known = frozenset(marks)
        stripping = any(word in str(values.get("general.name", "")).lower() for word in _STRIPPING)
        self._strips = self._known - set(_UNSTRIPPED) if stripping else frozenset()
        self._pieces = values[front + "model"] == "llama"
        self._bpe = None if self._pieces else self._by_merges(values, kinds)

    def _by_merges(self, values: dict[str, Any], kinds: Sequence[int]) -> Tokenizer:
        way = way_named(str(values["tokenizer.ggml.pre"]))
        if way is None:
            raise ValueError(f"unknown pre-tokenizer {values['tokenizer.ggml.pre']}")
        pairs = [tuple(pair.split(" ", 1)) for pair in values["tokenizer.ggml.merges"]]
        vocab = {text: i for text, i in self._ids.items() if kinds[i] not in (CONTROL, USER_DEFINED)}
        made = {left + right for left, right in pairs} | {part for pair in pairs for part in pair}
        vocab |= {text: self._ids[text] for text in made if text in self._ids}
        found = Tokenizer(models.BPE(vocab, pairs, ignore_merges=way.ignore_merges))
        steps: list[Any] = []
        for kind, pattern in way.steps:
            steps.append(
                pre_tokenizers.Digits(individual_digits=True)
                if kind == "digits"
                else pre_tokenizers.Split(Regex(pattern), "isolated")
            )
        steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=way.by_gpt2))
        found.pre_tokenizer = pre_tokenizers.Sequence(steps)
        return found

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, the marks in it recognised, none added."""
        found: list[int] = []
        after_mark, strip = True, False
        for part in self._marks.split(text) if self._marks else [text]:
            if part in self._known:
                found.append(self._ids[part])
                after_mark, strip = True, part in self._strips
                continue
            rest = part.lstrip() if strip else part
            if rest:
                found += self._plain(rest, after_mark)
                after_mark = False
            strip = False
        return found

    def _plain(self, text: str, first: bool) -> list[int]:
        if self._bpe is not None:
            return list(self._bpe.encode(text).ids)
        return self._join((" " + text if first and self._prefix else text).replace(" ", SPACE))

    def _join(self, text: str) -> list[int]:
        """Join neighbours by score, highest first and then from the left; what is no token becomes bytes."""
        parts: list[str] = list(text)
        before = list(range(-1, len(parts) - 1))
        after = [*range(1, len(parts)), -1]
        queue: list[tuple[float, int, int, int]] = []

        def offer(left: int, right: int) -> None:
            if left < 0 or right < 0:
                return
            number = self._ids.get(parts[left] + parts[right])
            if number is not None:
                size = len(parts[left]) + len(parts[right])
                heapq.heappush(queue, (-self._scores[number], left, right, size))

        for place in range(1, len(parts)):
            offer(place - 1, place)
        while queue:
            _, left, right, size = heapq.heappop(queue)
            if not parts[left] or not parts[right] or len(parts[left]) + len(parts[right]) != size:
                continue
            parts[left] += parts[right]
            parts[right] = ""
            after[left] = after[right]
            if after[right] >= 0:
                before[after[right]] = left
            offer(before[left], left)
            offer(left, after[left])
        return [number for part in parts if part for number in self._numbers(part)]

    def _numbers(self, part: str) -> list[int]:
        if part in self._ids:
            return [self._ids[part]]
        return [self._bytes[f"<0x{value:02X}>"] for value in part.encode("utf-8")]
