"""Chat: one loaded model that answers as its base and with its adapter."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.models.facts import ModelFacts
from engine.runtime.adapted import AdaptedModel, load_target
from engine.runtime.device import choose_answering, quieten
from engine.runtime.generate import Answer, OnText, Sampling, generate, stops_of
from engine.runtime.target import Target, resolve_target


class ChatModel:
    """A target that can be spoken to: model, template and tokenizer as in its training."""

    def __init__(self, target: Target, *, device: str = "auto", strength: float = 1.0) -> None:
        quieten()
        began = time.perf_counter()
        folder = target.base.path
        self.target = target
        self.tokenizer = ModelTokenizer(folder)
        self.template = load_template(folder, target.chat_template)
        self.stops = stops_of(folder, self.template, self.tokenizer)
        self.compute = choose_answering(target.base, device)
        self.adapted: AdaptedModel = load_target(target, self.compute, strength)
        self.seconds = time.perf_counter() - began

    @property
    def base(self) -> ModelFacts:
        """Return who answers as `base`: what a model that was trained whole came from, where it is loaded."""
        whole = self.target.adapter is None and self.adapted.has_adapter
        return self.target.origin if whole and self.target.origin else self.target.base

    def prompt_ids(self, messages: list[dict[str, str]]) -> list[int]:
        """Return a conversation as the model is to continue it."""
        return self.tokenizer.encode(self.template.render(messages, add_generation_prompt=True))

    def answer(
        self,
        who: str,
        messages: list[dict[str, str]],
        sampling: Sampling,
        on_text: OnText | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> tuple[Answer, str]:
        """Answer a conversation as `base` or `adapter`; gives the fingerprint of who really answered too."""
        prompt = self.prompt_ids(messages)
        if self.target.run is not None and not self.adapted.has_adapter:
            if who == "base":
                raise EngineError(
                    f"The base of {self.target.name} is not here, or memory does not hold both.",
                    "Chat with the base alone.",
                    "MODEL-07",
                )
            who = "base"  # a model that was trained whole is loaded alone
        with self.adapted.speaking(who) as fingerprint:
            answer = generate(
                self.adapted.model,
                prompt,
                sampling,
                stops=self.stops,
                decode=lambda ids: self.tokenizer.decode(ids, skip_special_tokens=True),
                on_text=on_text,
                cancelled=cancelled,
            )
        return answer, fingerprint

    def describe(self) -> dict[str, Any]:
        """Return what a window shows of it."""
        target, base = self.target, self.base
        adapter = self.adapted.adapter_fingerprint
        trained = target.adapter or target.base
        return {
            "name": target.name,
            "base": base.name,
            "base_path": str(base.path),
            "adapter": target.name if adapter else None,
            "adapter_path": str(trained.path) if adapter else None,
            "step": target.step,
            "run": str(target.run) if target.run else None,
            "fingerprints": {
                "base": self.adapted.base_fingerprint,
                "adapter": f"{self.adapted.base_fingerprint}+{adapter}" if adapter else None,
            },
            "system_prompt": target.system_prompt,
            "template": self.template.name,
            "device": self.compute.device_name,
            "dtype": self.compute.dtype_name,
            "parameters": target.base.parameters,
            "max_positions": target.base.max_positions,
            "seconds": self.seconds,
        }


def answer_once(
    target: str,
    message: str,
    *,
    compare_base: bool = False,
    adapter_strength: float = 1.0,
    temperature: float = 0.0,
    max_new_tokens: int = 256,
    seed: int | None = None,
    system_prompt: str | None = None,
    base: str | None = None,
    top_p: float = 1.0,
    repetition_penalty: float = 1.0,
    device: str = "auto",
) -> dict[str, Any]:
    """Answer one message: {"replies": [{"target", "who", "text", "tokens", "ended", "fingerprint" ...}]}.

    With `compare_base` the base answers first, from the same loaded model. Raises EngineError.
    """
    sampling = Sampling(temperature, top_p, 0, repetition_penalty, max_new_tokens, seed)
    found = resolve_target(target, base)
    model = ChatModel(found, device=device, strength=adapter_strength)
    spoken = found.system_prompt if system_prompt is None else system_prompt
    messages = ([{"role": "system", "content": spoken}] if spoken else []) + [
        {"role": "user", "content": message}
    ]
    speakers = ["adapter"] if model.adapted.has_adapter or found.run else ["base"]
    if compare_base and model.adapted.has_adapter:
        speakers.insert(0, "base")
    replies = []
    for who in speakers:
        answer, fingerprint = model.answer(who, messages, sampling)
        replies.append(
            {
                "target": model.base.name if who == "base" else found.name,
                "who": who,
                "text": answer.text,
                "tokens": len(answer.ids),
                "seconds": round(answer.seconds, 4),
                "ended": answer.ended,
                "fingerprint": fingerprint,
            }
        )
    return {"replies": replies}
