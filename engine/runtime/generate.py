"""One answer, token by token: greedy or sampled, with a cache of keys and values, stoppable between tokens.

prompt through the model at once -> scores of the next token
until it ends by itself, is long enough, or is stopped:
    choose a token -> tell the text that is certain by now -> one more step through the model
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.data.masks import end_of_turn_id
from engine.data.special_tokens import is_ordinary
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.models.weight_files import read_json
from engine.runtime.convert import END_OF_TURN

OnText = Callable[[str, int], None]


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; temperature 0 takes the likeliest (greedy)."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    max_new_tokens: int = 256
    seed: int | None = None

    def __post_init__(self) -> None:
        limits = {
            "temperature": (0.0, 10.0),
            "top_p": (1e-3, 1.0),
            "top_k": (0, 1_000_000),
            "repetition_penalty": (0.1, 10.0),
            "max_new_tokens": (1, 1_000_000),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise EngineError(
                    f"{name} = {value} is not allowed.", f"Use {least:g} to {most:g}.", "REC-01", field=name
                )


@dataclass(frozen=True)
class Answer:
    """What was said; `ended` is eos (by itself), length or stopped."""

    text: str
    ids: tuple[int, ...]
    seconds: float
    first_token_seconds: float
    ended: str


class TextStream:
    """Turns tokens into text as they come, and never tells a part of a character.

    A window of tokens is decoded with and without the newest: what was added is told once it does not end
    in the replacement character, which stands for a character whose bytes are not all there.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._start = 0
        self._told = 0

    def push(self, token: int) -> str:
        """Take a token, return the text that is certain now (often empty inside a character)."""
        self._ids.append(token)
        before = self._decode(self._ids[self._start : self._told])
        now = self._decode(self._ids[self._start :])
        if len(now) <= len(before) or now.endswith("\ufffd"):
            return ""
        self._start, self._told = self._told, len(self._ids)
        return now[len(before) :]

    def rest(self) -> str:
        """Return what was held back, at the end."""
        before = self._decode(self._ids[self._start : self._told])
        return self._decode(self._ids[self._start :])[len(before) :]


def stop_ids(folder: Path, token_id: Callable[[str], int | None]) -> frozenset[int]:
    """Return the tokens that end an answer: of generation_config.json, the tokenizer, the template."""
    found: set[int] = set()
    if (folder / "generation_config.json").is_file():
        value = read_json(folder / "generation_config.json").get("eos_token_id")
        found.update(v for v in (value if isinstance(value, list) else [value]) if type(v) is int and v >= 0)
    texts = list(END_OF_TURN)
    if (folder / "tokenizer_config.json").is_file():
        eos = read_json(folder / "tokenizer_config.json").get("eos_token")
        texts.append(str(eos.get("content", "")) if isinstance(eos, dict) else str(eos or ""))
    found.update(i for i in (token_id(text) for text in texts if text) if i is not None)
    return frozenset(found)


def stops_of(folder: Path, template: ChatTemplate, tokenizer: ModelTokenizer) -> frozenset[int]:
    """Return the tokens that end an answer, the end of a turn of this very template among them."""

    def single(text: str) -> int | None:
        ids = tokenizer.encode(text)
        return ids[0] if len(ids) == 1 else None

    end = end_of_turn_id(template, tokenizer)
    named = stop_ids(folder, single)
    known = ((i, tokenizer.token(i)) for i in named if i < tokenizer.vocab_size)
    marks = {i for i, token in known if not is_ordinary(tokenizer.bare, token)}
    return frozenset(marks if end is None else marks | {end})


@torch.inference_mode()
def generate(
    model: Any,
    prompt: Sequence[int],
    sampling: Sampling,
    *,
    stops: frozenset[int],
    decode: Callable[[list[int]], str],
    on_text: OnText | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Answer:
    """Answer a prompt of token ids. `on_text(new text, tokens so far)` is called as text becomes certain.

    Raises EngineError MODEL-05 when the prompt leaves no room in the model's context.
    """
    from transformers import DynamicCache

    began = time.perf_counter()
    room = _room(model, len(prompt), sampling.max_new_tokens)
    chooser = _Chooser(sampling, prompt)
    stream, ids, ended, first = TextStream(decode), [], "length", 0.0
    cache = DynamicCache(config=model.config.get_text_config())
    step = stepper(model, cache)
    scores = step(torch.tensor([list(prompt)], device=model.device), 0, 1)[0]
    while True:
        token = chooser.choose(scores)
        first = first or time.perf_counter() - began
        if token in stops:
            ended = "eos"
            break
        ids.append(token)
        piece = stream.push(token)
        if on_text is not None and piece:
            on_text(piece, len(ids))
        if len(ids) >= room:
            break
        if cancelled():
            ended = "stopped"
            break
        scores = step(torch.tensor([[token]], device=model.device), len(prompt) + len(ids) - 1, 1)[0]
    rest = stream.rest()
    if on_text is not None and rest:
        on_text(rest, len(ids))
    return Answer(decode(ids), tuple(ids), time.perf_counter() - began, first, ended)


def _room(model: Any, prompt: int, wanted: int) -> int:
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    if prompt == 0:
        raise EngineError("There is nothing to answer.", "Write a message.", "REC-01", field="message")
    if not isinstance(longest, int):
        return wanted
    if prompt >= longest:
        raise EngineError(
            f"The conversation is {prompt:,} tokens long; this model reads {longest:,}.",
            "Clear the conversation, or write a shorter message.",
            "MODEL-05",
        )
    return min(wanted, longest - prompt)


def stepper(model: Any, cache: Any) -> Callable[[Tensor, int, int], Tensor]:
    """Return the step: ids [1, n] at a position -> float32 scores behind the last ones [keep, vocabulary]."""
    takes = inspect.signature(model.forward).parameters
    keeps = "logits_to_keep" in takes
    positions = "position_ids" in takes
    memory = "cache" if "cache" in takes else "past_key_values"

    def step(ids: Tensor, start: int, keep: int) -> Tensor:
        where: dict[str, Any] = {"logits_to_keep": keep} if keeps else {}
        if positions:
            where["position_ids"] = torch.arange(start, start + ids.shape[1], device=ids.device)[None]
        out = model(input_ids=ids, use_cache=True, **{memory: cache}, **where)
        scores: Tensor = out.logits[0, -keep:].float()
        return scores

    return step


class _Chooser:
    """Chooses tokens as transformers does: penalty, temperature, top-k, top-p, draw."""

    def __init__(self, sampling: Sampling, prompt: Sequence[int]) -> None:
        self._sampling = sampling
        self._seen = set(prompt)
        # Drawn on the CPU, so that a seed gives the same answer on every device.
        self._random = torch.Generator().manual_seed(
            sampling.seed if sampling.seed is not None else int(torch.randint(2**31, ()).item())
        )

    def choose(self, scores: Tensor) -> int:
        """Return the next token."""
        sampling = self._sampling
        if sampling.repetition_penalty != 1.0:
            scores = self._penalised(scores)
        if sampling.temperature == 0.0:
            token = int(scores.argmax())
        else:
            chances = _narrowed(scores.cpu() / sampling.temperature, sampling).softmax(-1)
            token = int(torch.multinomial(chances, 1, generator=self._random))
        self._seen.add(token)
        return token

    def _penalised(self, scores: Tensor) -> Tensor:
        scores = scores.clone()
        seen = torch.tensor(sorted(self._seen), device=scores.device)
        value = scores[seen]
        penalty = self._sampling.repetition_penalty
        scores[seen] = torch.where(value < 0, value * penalty, value / penalty)
        return scores


def _narrowed(scores: Tensor, sampling: Sampling) -> Tensor:
    """Leave the `top_k` likeliest tokens, then the fewest whose chances add up to `top_p`."""
    nothing = float("-inf")
    if 0 < sampling.top_k < len(scores):
        least = scores.topk(sampling.top_k).values[-1]
        scores = scores.masked_fill(scores < least, nothing)
    if sampling.top_p < 1.0:
        ordered, order = scores.sort(descending=False)
        dropped = ordered.softmax(-1).cumsum(-1) <= 1.0 - sampling.top_p
        dropped[-1] = False
        scores = scores.scatter(0, order, ordered.masked_fill(dropped, nothing))
    return scores
