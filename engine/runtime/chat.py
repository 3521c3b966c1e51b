"""Chat: one loaded model that answers as its base and with its adapter."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data.templates import BUILT_IN, ChatTemplate, load_template
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.models.facts import ModelFacts
from engine.models.weight_files import read_json
from engine.runtime.adapted import ADAPTER, BASE, AdaptedModel, load_target
from engine.runtime.chances import Chance, chances_of
from engine.runtime.device import choose_answering, quieten
from engine.runtime.generate import Answer, OnText, Sampling, generate, stops_of
from engine.runtime.target import Target, resolve_target

PROPOSED = ("temperature", "top_p", "top_k", "repetition_penalty")


@dataclass(frozen=True)
class Voice:
    """How somebody is spoken to: as it was trained, or by a template that a person chose."""

    target: Target
    template: ChatTemplate
    stops: frozenset[int]
    template_is_guessed: bool  # neither the model, nor the training, nor a person named it


class ChatModel:
    """A target that can be spoken to, and adapters beside it; each has its voice.

    `base` and `adapter` are those of the target; `add` fits further adapters to the same base.
    """

    def __init__(
        self, target: Target, *, device: str = "auto", strength: float = 1.0, template: str | None = None
    ) -> None:
        quieten()
        began = time.perf_counter()
        self.target = target
        self.device = device
        self.tokenizer = ModelTokenizer(target.base.path)
        own = self.voice_of(target, template)
        self.voices = {BASE: own, ADAPTER: own}
        self.compute = choose_answering(target.base, device)
        self.adapted: AdaptedModel = load_target(target, self.compute, strength)
        self.seconds = time.perf_counter() - began

    @property
    def base(self) -> ModelFacts:
        """Return who answers as `base`: what a model that was trained whole came from, where it is loaded."""
        whole = self.target.adapter is None and self.adapted.has_adapter
        return self.target.origin if whole and self.target.origin else self.target.base

    def voice_of(self, target: Target, template: str | None = None) -> Voice:
        """Return how a target on this base is spoken to; `template` takes the place of its own."""
        folder = self.target.base.path
        found = load_template(folder, template or target.chat_template)
        guessed = template is None and target.chat_template == "auto" and found.name in BUILT_IN
        return Voice(target, found, stops_of(folder, found, self.tokenizer), guessed)

    def add(self, name: str, target: Target, template: str | None = None) -> None:
        """Fit another adapter to the base, to answer as `name`; raises EngineError MODEL-*."""
        assert target.adapter is not None
        voice = self.voice_of(target, template)
        self.adapted.add(name, target.adapter)
        self.voices[name] = voice

    def remove(self, name: str) -> None:
        """Let an added adapter go."""
        self.adapted.remove(name)
        self.voices.pop(name, None)

    def use_template(self, template: str | None) -> None:
        """Speak to all of them by another template; None is as each was trained."""
        for name, voice in self.voices.items():
            self.voices[name] = self.voice_of(voice.target, template)

    def prompt_text(self, who: str, messages: list[dict[str, str]]) -> str:
        """Return a conversation as text, as it is given to the model to be continued."""
        return self._voice(who).template.render(messages, add_generation_prompt=True)

    def prompt_ids(self, messages: list[dict[str, str]], who: str = ADAPTER) -> list[int]:
        """Return a conversation as the model is to continue it."""
        return self.tokenizer.encode(self.prompt_text(who, messages))

    def answer(
        self,
        who: str,
        messages: list[dict[str, str]],
        sampling: Sampling,
        on_text: OnText | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> tuple[Answer, str]:
        """Answer a conversation as one of them; gives the fingerprint of who really answered too."""
        prompt = self.prompt_ids(messages, who)
        with self.adapted.speaking(self._speaker(who)) as fingerprint:
            answer = generate(
                self.adapted.model,
                prompt,
                sampling,
                stops=self._voice(who).stops,
                decode=self._decode,
                on_text=on_text,
                cancelled=cancelled,
            )
        return answer, fingerprint

    def chances(self, who: str, messages: list[dict[str, str]], ids: list[int]) -> list[Chance]:
        """Return how likely each token of an answer was to the one who gave it."""
        prompt = self.prompt_ids(messages, who)
        with self.adapted.speaking(self._speaker(who)):
            found: list[Chance] = chances_of(self.adapted.model, prompt, ids, self._decode)
            return found

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True)

    def _voice(self, who: str) -> Voice:
        return self.voices.get(who) or self.voices[BASE]

    def _speaker(self, who: str) -> str:
        """A model that was trained whole may be loaded alone: then it answers, and its base cannot."""
        if self.target.run is None or self.adapted.has_adapter or who not in (BASE, ADAPTER):
            return who
        if who == BASE:
            raise EngineError(
                f"The base of {self.target.name} is not here, or memory does not hold both.",
                "Chat with the base alone.",
                "MODEL-07",
            )
        return BASE

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
            "template": self.voices[ADAPTER].template.name,
            "template_guessed": self.voices[ADAPTER].template_is_guessed,
            "sampling": proposed_sampling(base.path),
            "device": self.compute.device_name,
            "dtype": self.compute.dtype_name,
            "parameters": target.base.parameters,
            "max_positions": target.base.max_positions,
            "seconds": self.seconds,
        }


def proposed_sampling(folder: Path) -> dict[str, float]:
    """Return the sampling that a model's generation_config.json proposes; empty where it names none."""
    if not (folder / "generation_config.json").is_file():
        return {}
    stored = read_json(folder / "generation_config.json")
    given = {n: stored[n] for n in PROPOSED if type(stored.get(n)) in (int, float)}
    if stored.get("do_sample") is False or not given:
        return {}
    try:
        Sampling(**given)
    except EngineError:
        return {}
    return given


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
