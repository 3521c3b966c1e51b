"""Some hundreds of rows as one array of code points, so that what is asked of each character costs little."""

from __future__ import annotations

import json
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from engine.data.characters import DIGIT, class_table, lower_table
from engine.data.conversation import Conversation

ROWS = 512
CHARACTERS = 1 << 19
LONGEST_PART = 1 << 18  # characters of a part that are looked at
PARTS = 4  # of a row in a batch: system message and tools, question, its last line, answer
Parts = tuple[str, str, str]


def parts_of(conversation: Conversation) -> Parts:
    """Return (system message, all before the last answer, the last answer); a text is an answer."""
    if conversation.text is not None:
        return "", "", conversation.text
    messages = conversation.messages
    other = ""
    texts: list[str] = []
    for message in messages:
        text = message["content"]
        if len(message) > 2:
            text = _with_rest(text, message)
        if message["role"] == "system":
            other = text
        else:
            texts.append(text)
    if conversation.tools:
        other = f"{other}\n{json.dumps(conversation.tools, ensure_ascii=False, default=str)}"
    answer = texts.pop() if texts else ""
    return other, texts[0] if len(texts) == 1 else "\n".join(texts), answer


def _with_rest(text: str, message: dict[str, object]) -> str:
    """Return a message's text with its thoughts and calls."""
    rest = [text]
    if reasoning := message.get("reasoning_content"):
        rest.insert(0, str(reasoning))
    if calls := message.get("tool_calls"):
        rest.append(json.dumps(calls, ensure_ascii=False, default=str))
    return "\n".join(rest)


@dataclass(frozen=True)
class Batch:
    """The rows from number `first` on: `text` is all their parts, each with a line end after it.

    Part p begins at `offsets[p]`, the next at `offsets[p + 1]`. `codes` are the code points as small letters,
    `classes` what they are (characters.py), `beyond` the places of those that are not ASCII.
    """

    first: int
    rows: int
    text: str
    codes: NDArray[np.uint8] | NDArray[np.uint32]
    classes: NDArray[np.uint8]
    beyond: NDArray[np.int64]
    offsets: list[int]

    @cached_property
    def digits(self) -> NDArray[np.int64]:
        """The places of all digits from 0 to 9."""
        return np.flatnonzero(self.classes & DIGIT)

    def row_at(self, position: int) -> int:
        """Return the row, counted within the batch, that a character belongs to."""
        return (bisect_right(self.offsets, position) - 1) // PARTS

    def row_text(self, row: int) -> str:
        """Return all that a row says."""
        return self.text[self.offsets[PARTS * row] : self.offsets[PARTS * (row + 1)] - 1]

    def around(self, row: int, first: int, last: int, before: int = 40) -> str:
        """Return the text from a little before a place on, within its row."""
        start = max(first - before, self.offsets[PARTS * row])
        return self.text[start : min(max(last, start + 160), self.offsets[PARTS * (row + 1)] - 1)]


def make_batch(first: int, parts: list[Parts]) -> Batch:
    """Join the parts of some rows."""
    flat: list[str] = []
    for other, question, answer in parts:
        question = question[:LONGEST_PART]
        last = question.rfind("\n", 0, len(question.rstrip())) + 1
        flat += (other[:LONGEST_PART], question[:last], question[last:], answer[:LONGEST_PART])
    text = "\n".join(flat) + "\n"
    offsets = [0, *accumulate(len(part) + 1 for part in flat)]
    if text.isascii():
        raw = text.encode()
        low = np.frombuffer(raw.lower(), np.uint8)
        classes = np.frombuffer(raw.translate(_ascii_classes()), np.uint8)
        return Batch(first, len(parts), text, low, classes, np.zeros(0, np.int64), offsets)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    beyond = np.flatnonzero(codes > 127)
    if len(beyond) * 4 > len(codes):
        return Batch(first, len(parts), text, lower_table()[codes], class_table()[codes], beyond, offsets)
    raw = codes.astype(np.uint8).tobytes()  # most are ASCII: look up only the others
    classes = np.frombuffer(bytearray(raw.translate(_ascii_classes())), np.uint8)
    low = np.frombuffer(raw.lower(), np.uint8).astype(np.uint32)
    others = codes.take(beyond)
    classes[beyond], low[beyond] = class_table()[others], lower_table()[others]
    return Batch(first, len(parts), text, low, classes, beyond, offsets)


@cache
def _ascii_classes() -> bytes:
    return class_table()[:256].tobytes()
