"""Which tokens are trained: found by comparing the conversation's text with that of its beginnings.

The whole conversation is rendered and tokenised once. An answer begins where the rendering of what stands
before it (with the generation prompt) stops agreeing with the whole, and ends where the rendering up to and
including it stops agreeing. No marker is ever searched, so one typed by a person changes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from os.path import commonprefix
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.data.conversation import Conversation
from engine.data.rendered import Range, Rendered
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.data.typed import Typed, TypedAsText
from engine.errors import EngineError

BATCH = 256
# Stand-ins for an answer's words; two different private-use characters, which no text begins or ends with.
_STAND_IN = "\U000f0001x\U000f0002"
# How far after an answer's last word its end token may stand.
_END_DISTANCE = 4
# The characters [start, end) of token k.
Span = Callable[[int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Tokenised:
    """Token k is learnt where `trained[k]`; `offsets` are the characters of each token, for display."""

    conversation: Conversation
    text: str
    ids: NDArray[np.int32]
    trained: NDArray[np.bool_]
    offsets: list[tuple[int, int]]

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """Return the trained tokens as ranges [first, last)."""
        steps = np.flatnonzero(np.diff(self.trained.view(np.int8), prepend=0, append=0)).tolist()
        return tuple(zip(steps[::2], steps[1::2], strict=True))


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
    special_tokens: str = "tokenizer",
) -> Iterator[Tokenised | tuple[Conversation, EngineError]]:
    """Yield each conversation as ids and mask, in order; what the template refuses comes with its error.

    With `special_tokens` "text", marks typed inside the contents are read as words (see `typed`).
    """
    stream = iter(conversations)
    masks = Masks(tokenizer)
    typed = TypedAsText(tokenizer) if special_tokens == "text" else None
    while batch := list(islice(stream, BATCH)):
        rendered: list[Rendered | Typed | EngineError] = []
        for conversation in batch:
            try:
                if typed is not None and typed.is_needed(conversation):
                    rendered.append(typed.encoded(conversation, template, train_on, render))
                else:
                    rendered.append(render(conversation, template, train_on))
            except EngineError as error:
                rendered.append(error)
        encodings = iter(tokenizer.encode_spans([r.text for r in rendered if isinstance(r, Rendered)]))
        for conversation, made in zip(batch, rendered, strict=True):
            if isinstance(made, EngineError):
                yield conversation, made
            elif isinstance(made, Rendered):
                yield masks.tokenised(conversation, made, next(encodings))
            else:
                yield masks.tokenised(conversation, made.rendered, made.encoding)


class Masks:
    """Which tokens of a rendered conversation are trained, under one tokenizer."""

    def __init__(self, tokenizer: ModelTokenizer) -> None:
        self._special = tokenizer.special_ids
        self._start, self._end = tokenizer.start_ids, tokenizer.eos_id

    def framed(self, conversation: Conversation, ids: list[int]) -> list[int]:
        """Return the ids of a row; a plain text gets its start, and its end where it ends."""
        if conversation.text is None:
            return ids
        ends = not conversation.continues and self._end is not None
        return [*self._start, *ids, *([self._end] if ends and self._end is not None else [])]

    def tokenised(self, conversation: Conversation, rendered: Rendered, encoding: Any) -> Tokenised:
        """Return a rendered conversation with its mask."""
        found: list[int] = encoding.ids
        offsets: list[tuple[int, int]] = encoding.offsets
        ids = self.framed(conversation, found)
        if conversation.text is not None:
            end = len(rendered.text)
            offsets = [(0, 0)] * len(self._start) + offsets
            offsets += [(end, end)] * (len(ids) - len(offsets))
        trained = np.full(len(ids), rendered.ranges is None, dtype=np.bool_)
        for first, last in self.ranges(rendered, ids, offsets.__getitem__):
            trained[first:last] = True
        return Tokenised(conversation, rendered.text, np.asarray(ids, dtype=np.int32), trained, offsets)

    def ranges(self, rendered: Rendered, ids: list[int], span: Span) -> tuple[tuple[int, int], ...]:
        """Return the trained tokens [first, last) of each answer, none touching the next."""
        found = (self._tokens_of(p, rendered.text, ids, span) for p in rendered.ranges or ())
        made: list[tuple[int, int]] = []
        for first, last in sorted(r for r in found if r[0] < r[1]):
            if made and first <= made[-1][1]:
                made[-1] = made[-1][0], max(last, made[-1][1])
            else:
                made.append((first, last))
        return tuple(made)

    def _tokens_of(self, part: Range, text: str, ids: list[int], span: Span) -> tuple[int, int]:
        """Return a range's tokens [first, last): from the first that reaches into it to its end token."""

        def ended(characters: int, low: int = 0) -> int:
            """Return how many tokens end within so many characters."""
            return bisect_right(range(len(ids)), characters, low, key=lambda k: span(k)[1])

        first = ended(part.start)
        last = ended(part.end, first)
        if part.marked or first >= last and part.exact:
            return first, last
        special = self._special
        if not part.exact:
            near = (k for k in range(last, min(last + _END_DISTANCE, len(ids))) if ids[k] in special)
            return first, next(near, last - 1) + 1
        for k in range(ended(part.words_end, first), last):
            if ids[k] in special and span(k)[0] >= part.words_end:
                return first, k + 1
        for k in range(last - 1, first - 1, -1):
            if ids[k] in special:
                if not text[span(k)[1] : part.end].strip():
                    return first, k + 1
                break
        if text[part.words_end : part.end].strip():
            # The template ends the answer with words of its own: blanks after them belong to what follows.
            while last > first + 1 and not text[slice(*span(last - 1))].strip():
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
