"""Which tokens are trained: found by comparing the conversation's text with that of its beginnings.

The whole conversation is rendered and tokenised once. An answer begins where the rendering of what stands
before it (with the generation prompt) stops agreeing with the whole, and ends where the rendering up to and
including it stops agreeing. No marker is ever searched, so one typed by a person changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from os.path import commonprefix
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.conversation import Conversation
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError

BATCH = 256
# Stand-ins for an answer's words; two different private-use characters, which no text begins or ends with.
_STAND_IN = "\U000f0001x\U000f0002"
# How far after an answer's last word its end token may stand.
_END_DISTANCE = 4


@dataclass(frozen=True, slots=True)
class Range:
    """Characters [start, end) of one answer; `exact` means that the end token lies inside already."""

    start: int
    end: int
    words_end: int
    exact: bool = True
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Rendered:
    """A conversation as text, with the ranges to train (`ranges` None: all of it)."""

    text: str
    ranges: tuple[Range, ...] | None


@dataclass(frozen=True, slots=True)
class Tokenised:
    """Token k is learnt where `trained[k]`; `offsets` are the characters of each token, for display."""

    conversation: Conversation
    text: str
    ids: NDArray[np.int32]
    trained: NDArray[np.bool_]
    offsets: list[tuple[int, int]]


def render(conversation: Conversation, template: ChatTemplate, train_on: str) -> Rendered:
    """Return the text the model gets and where its answers stand. Raises EngineError MODEL-06."""
    if conversation.text is not None:
        return Rendered(conversation.text, None)
    messages, tools = conversation.messages, conversation.tools or None
    whole, marked = template.render_marked(messages, tools)
    if train_on == "all":
        return Rendered(whole, None)
    if marked:
        chosen = marked[-1:] if train_on == "last" else marked
        return Rendered(whole, tuple(Range(a, b, b, marked=True) for a, b in chosen))
    answers = [i for i, m in enumerate(messages) if m["role"] == "assistant"]
    if train_on == "last":
        answers = answers[-1:]
    answers = [i for i in answers if i not in conversation.untrained]
    return Rendered(whole, tuple(_range(whole, template, messages, tools, i) for i in answers))


def _range(
    whole: str, template: ChatTemplate, messages: Sequence[dict[str, Any]], tools: Any, i: int
) -> Range:
    before = _try(template, messages[:i], tools, True)
    upto = whole if i == len(messages) - 1 else _try(template, messages[: i + 1], tools, False)
    starts = before is not None and whole.startswith(before)
    ends = upto is not None and whole.startswith(upto)
    content = messages[i].get("content") or ""
    if starts and ends:
        start, end = len(before or ""), len(upto or "")
        # Calls stand behind the words, and a template may change these: then the last mark ends the answer.
        words = "" if messages[i].get("tool_calls") else content.strip()
        at = whole.find(words, start, end) if words else -1
        words_end = at + len(words) if at >= 0 else end
        return Range(start, end, words_end)
    words_start, words_end = _words(whole, template, messages, tools, i)
    if not starts:
        bare = _try(template, messages[:i], tools, False)
        agreed = len(commonprefix([whole, before or ""]))
        start = agreed if bare is not None and len(bare) <= agreed <= words_start else words_start
    else:
        start = len(before or "")
    if ends:
        return Range(start, max(start, len(upto or "")), words_end)
    return Range(start, max(start, words_end), words_end, exact=False)


def _try(template: ChatTemplate, messages: Sequence[dict[str, Any]], tools: Any, prompt: bool) -> str | None:
    """Render a beginning; some templates refuse one (no message yet), which is no fault of the row."""
    try:
        return template.render(messages, tools, add_generation_prompt=prompt)
    except EngineError:
        return None


def _words(
    whole: str, template: ChatTemplate, messages: Sequence[dict[str, Any]], tools: Any, i: int
) -> tuple[int, int]:
    """Return where the words of message `i` stand, by rendering once more with others in their place."""
    other = [*messages[:i], {**messages[i], "content": _STAND_IN}, *messages[i + 1 :]]
    changed = template.render(other, tools)
    start = len(commonprefix([whole, changed]))
    same = len(commonprefix([whole[start:][::-1], changed[start:][::-1]]))
    return start, len(whole) - same


def tokenise(
    conversations: Iterable[Conversation],
    template: ChatTemplate,
    tokenizer: ModelTokenizer,
    train_on: str = "assistant",
) -> Iterator[Tokenised | tuple[Conversation, EngineError]]:
    """Yield each conversation as ids and mask, in order; what the template refuses comes with its error."""
    stream = iter(conversations)
    while batch := list(islice(stream, BATCH)):
        rendered: list[Rendered | EngineError] = []
        for conversation in batch:
            try:
                rendered.append(render(conversation, template, train_on))
            except EngineError as error:
                rendered.append(error)
        encodings = iter(tokenizer.encode_spans([r.text for r in rendered if isinstance(r, Rendered)]))
        for conversation, made in zip(batch, rendered, strict=True):
            if isinstance(made, EngineError):
                yield conversation, made
            else:
                yield _masked(conversation, made, next(encodings), tokenizer)


def _masked(
    conversation: Conversation, rendered: Rendered, encoding: Any, tokenizer: ModelTokenizer
) -> Tokenised:
    ids: list[int] = encoding.ids
    offsets: list[tuple[int, int]] = encoding.offsets
    if conversation.text is not None:
        before = tokenizer.start_ids
        ids = [*before, *ids]
        offsets = [(0, 0)] * len(before) + offsets
        if not conversation.continues and tokenizer.eos_id is not None:
            ids.append(tokenizer.eos_id)
            offsets = [*offsets, (len(rendered.text), len(rendered.text))]
    trained = np.full(len(ids), rendered.ranges is None, dtype=np.bool_)
    if rendered.ranges is not None and ids:
        spans = np.asarray(offsets, dtype=np.int64)
        special = np.isin(np.asarray(ids), tokenizer.special_array)
        for part in rendered.ranges:
            first, last = _tokens_of(part, rendered.text, spans, special)
            trained[first:last] = True
    return Tokenised(conversation, rendered.text, np.asarray(ids, dtype=np.int32), trained, offsets)


def _tokens_of(
    part: Range, text: str, spans: NDArray[np.int64], special: NDArray[np.bool_]
) -> tuple[int, int]:
    """Return the tokens [first, last) of a range: from the first that reaches into it to its end token."""
    first = int(np.searchsorted(spans[:, 1], part.start, side="right"))
    last = int(np.searchsorted(spans[:, 1], part.end, side="right"))
    if part.marked or first >= last and part.exact:
        return first, last
    if not part.exact:
        near = np.flatnonzero(special[last : last + _END_DISTANCE])
        return first, last + int(near[0]) + 1 if len(near) else last
    marks = first + np.flatnonzero(special[first:last])
    behind = marks[spans[marks, 0] >= part.words_end]
    if len(behind):
        return first, int(behind[0]) + 1
    if len(marks):
        stop = int(marks[-1]) + 1
        if not text[int(spans[stop - 1, 1]) : part.end].strip():
            return first, stop
    if text[part.words_end : part.end].strip():
        # The template ends the answer with words of its own: blanks after them belong to what follows.
        while last > first + 1 and not text[int(spans[last - 1, 0]) : int(spans[last - 1, 1])].strip():
            last -= 1
    return first, last


def segments(made: Tokenised, count: int | None = None) -> list[dict[str, Any]]:
    """Return the text of the first `count` tokens cut where training begins or stops."""
    pieces: list[dict[str, Any]] = []
    size = len(made.ids) if count is None else min(count, len(made.ids))
    if not size:
        return pieces
    flips = [0, *(np.flatnonzero(np.diff(made.trained[:size].astype(np.int8))) + 1).tolist(), size]
    at = 0
    for first, last in zip(flips, flips[1:], strict=False):
        end = made.offsets[last][0] if last < len(made.ids) else len(made.text)
        end = max(end, at)
        pieces.append({"text": made.text[at:end], "trained": bool(made.trained[first])})
        at = end
    return pieces


def end_of_turn_id(template: ChatTemplate, tokenizer: ModelTokenizer) -> int | None:
    """Return the token that ends an answer under a template: where generation stops."""
    sample = Conversation(({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}))
    made = next(tokenise([sample], template, tokenizer))
    if not isinstance(made, Tokenised) or not made.trained.any():
        return None
    last = int(made.ids[int(np.flatnonzero(made.trained)[-1])])
    return last if last in tokenizer.special_ids else None
