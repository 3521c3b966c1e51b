"""Prove a GGUF file: read back, unpacked and compared with what it was made from.

Each proof is a `Finding`: passed or not, with the reason in words. The template and the tokens are taken from
the file alone, as another program would take them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.paths import show_name
from engine.runtime.gguf.numbers import Array, excess, rows_in
from engine.runtime.gguf.read import ReadBack
from engine.runtime.gguf.source import Source
from engine.runtime.gguf.tokens_back import FileTokenizer
from engine.runtime.gguf.vocabulary import written_bos
from engine.runtime.gguf.write import Content, Tell

# Conversations that part one template from another: with and without a system prompt, several turns.
TALKS: tuple[tuple[tuple[str, str], ...], ...] = (
    (("user", "Hello"),),
    (("system", "Be brief."), ("user", "What is 2 + 2?")),
    (("user", "A"), ("assistant", "B"), ("user", "C")),
    (("system", "S"), ("user", "A"), ("assistant", "B"), ("user", "C"), ("assistant", "D"), ("user", "E")),
)
# Texts that part one way of making tokens from another.
TEXTS = (
    "Hello world! It's 12345 o'clock, 3.14159 and 1000000.",
    "  two blanks\n\n\nthree lines\tand a tab   \n end ",
    "Grüße, naïve café; Ελληνικά, русский, العربية, 你好世界, 日本語, 한국어",
    'def f(x):\n    return {"a": [1, 2.5, None]}  # 100% done\r\n',
    "\U0001f600 emoji \U0001f1e9\U0001f1ea and CamelCaseWords, WE'LL SEE'S, don't",
)


@dataclass(frozen=True)
class Finding:
    """What one proof found; `figures` go into the certificate."""

    passed: bool
    reason: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as the certificate carries it."""
        return {"passed": self.passed, "reason": self.reason, **self.figures}


@dataclass(frozen=True)
class Trained:
    """How a model was trained to be spoken to; `end` is the token that ends its answers."""

    tokenizer: ModelTokenizer
    template: ChatTemplate
    system_prompt: str | None
    end: int | None

    def talk(self, messages: Sequence[tuple[str, str]]) -> str:
        """Return the text of a conversation that waits for an answer."""
        made = [{"role": role, "content": text} for role, text in messages]
        return self.template.render(made, add_generation_prompt=True)


def prove_values(file: ReadBack, content: Content, *, left_out: bool = False) -> Finding:
    """Compare every key that was to be written with the file's; floats to float32.

    `left_out` leaves out the type of the numbers, which llama.cpp's program writes anew.
    """
    for key, wanted in content.values().items():
        if left_out and key in ("general.file_type", "general.quantization_version"):
            continue
        if not _same(file.values.get(key), wanted):
            return Finding(False, f"The key {key} is not what was written.")
    return Finding(True, figures={"keys": len(file.values)})


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float):
        return isinstance(found, float | int) and np.float32(found) == np.float32(wanted)
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], float):
        return isinstance(found, list) and np.array_equal(
            np.asarray(found, np.float32), np.asarray(wanted, np.float32)
        )
    return bool(found == wanted)


def prove_tensors(
    file: ReadBack,
    sources: Sequence[Source],
    extra: dict[str, Array],
    tell: Tell,
    *,
    foreign: bool = False,
) -> Finding:
    """Compare each tensor, block by block, with its source within its type's bound."""
    expected = {source.name for source in sources} | set(extra)
    if expected != set(file.tensors):
        odd = min(expected ^ set(file.tensors))
        return Finding(False, f"The tensor {show_name(odd)} is missing or does not belong there.")
    worst, where = 0.0, ""
    for number, source in enumerate(sources):
        if file.shape(source.name) != source.shape:
            return Finding(False, f"{source.name} has another shape than its source.")
        past = _excess(file, source, foreign)
        if past > worst:
            worst, where = past, source.name
        tell("read back", number + 1, len(sources))
    for name, factors in extra.items():
        if not np.array_equal(file.rows(name, 0, 1)[0], factors):
            worst, where = float("inf"), name
    figures = {
        "compared": len(expected),
        "worst": worst if np.isfinite(worst) else None,
        "worst_tensor": where,
    }
    if not worst <= 1.0:
        return Finding(False, f"{where} is farther from its source than its type explains.", figures)
    return Finding(True, figures=figures)


def _excess(file: ReadBack, source: Source, foreign: bool) -> float:
    kind = file.tensors[source.name].kind
    worst, at = 0.0, 0
    for block in source.blocks():
        width = rows_in(block.shape[1])
        for start in range(0, len(block), width):
            part = block[start : start + width]
            worst = max(worst, excess(part, file.rows(source.name, at + start, len(part)), kind, foreign))
        at += len(block)
    return worst


def prove_tokens(file: ReadBack, trained: Trained, texts: Sequence[str]) -> Finding:
    """Compare the tokens that the file's own tokenizer makes with the model's, text by text."""
    try:
        own = FileTokenizer(file.values)
    except (ValueError, LookupError, TypeError) as error:
        return Finding(False, f"The file's tokenizer cannot be used ({type(error).__name__}).")
    for text in texts:
        found, wanted = own.encode(text), trained.tokenizer.encode(text)
        if found != wanted:
            at = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), 0)
            near = show_name(trained.tokenizer.decode(wanted[max(0, at - 2) : at + 3]), 60)
            return Finding(
                False, f"Read by the file, a text has other tokens than in training, near {near!r}."
            )
    return Finding(True, figures={"texts": len(texts)})


def prove_template(file: ReadBack, trained: Trained) -> Finding:
    """Render the file's template with the file's own marks and compare with what the model was trained on."""
    source = file.values.get("tokenizer.chat_template")
    if not isinstance(source, str) or not source:
        return Finding(False, "The file has no chat template: programs would guess one.")
    tokens = file.values["tokenizer.ggml.tokens"]
    marks = {
        f"{name}_token": tokens[file.values[f"tokenizer.ggml.{name}_token_id"]]
        for name in ("bos", "eos")
        if f"tokenizer.ggml.{name}_token_id" in file.values
    }
    try:
        own = ChatTemplate(source, "of the file", marks)
        rendered = [_talk(own, talk) for talk in TALKS]
    except EngineError as error:
        return Finding(False, f"The file's chat template cannot be used: {error.message}")
    compared = 0
    for text, talk in zip(rendered, TALKS, strict=True):
        wanted = _talk(trained.template, talk)
        if text != wanted:
            return Finding(
                False,
                "The chat template in the file is not the one the model was trained with: "
                f"it writes {show_name(str(text), 80)!r} and should write {show_name(str(wanted), 80)!r}.",
            )
        compared += wanted is not None
    begins = bool(written_bos(trained.template, trained.tokenizer))
    if bool(file.values.get("tokenizer.ggml.add_bos_token")) != begins:
        how = "does not begin" if begins else "begins"
        return Finding(False, f"By the file a text {how} with the BOS token; in training it was otherwise.")
    return Finding(True, figures={"conversations": compared})


def _talk(template: ChatTemplate, talk: Sequence[tuple[str, str]]) -> str | None:
    """Return a rendered conversation, None where a template refuses it, as some refuse a system prompt."""
    try:
        return template.render([{"role": r, "content": t} for r, t in talk], add_generation_prompt=True)
    except EngineError:
        return None


def prove_stops(file: ReadBack, trained: Trained) -> Finding:
    """Check that the token which ends a trained answer is one at which programs stop."""
    stops = [
        int(file.values[f"tokenizer.ggml.{name}_token_id"])
        for name in ("eos", "eot", "eom")
        if f"tokenizer.ggml.{name}_token_id" in file.values
    ]
    tokens = file.values["tokenizer.ggml.tokens"]
    words = [str(tokens[number]) for number in stops]
    if not stops:
        return Finding(False, "The file names no token at which an answer ends.")
    if trained.end is not None and trained.end not in stops:
        missing = show_name(trained.tokenizer.token(trained.end))
        return Finding(
            False,
            f"Answers were trained to end with {missing}, and the file does not stop there.",
            {"stops": words},
        )
    return Finding(True, figures={"stops": words})
