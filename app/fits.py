"""Which sizes of model this machine can train: well-known shapes put to the planner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from app.widgets.size_ladder import Need, Rung
from engine.hardware.devices import Machine, probe
from engine.models.facts import ModelFacts, facts_of_config
from engine.plan.planner import plan
from engine.recipe import codec
from engine.recipe.recipe import Recipe

SHOWN = 5
METHOD_WORDS = {"QLoRA": "QLoRA", "LoRA": "LoRA", "Full": "every weight trained"}
VERDICT_TOKENS = {"fits": "ok", "tight": "warn", "too_large": "bad"}


@dataclass(frozen=True)
class Shape:
    """The published sizes of a family's model."""

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    vocab: int
    tied: bool
    head_dim: int = 0


# Smallest first, as their config.json files say: SmolLM2, Llama 3.2, Llama 2, Llama 3.1, Qwen2.5.
SHAPES = (
    Shape("135M", 30, 576, 1536, 9, 3, 49152, True),
    Shape("360M", 32, 960, 2560, 15, 5, 49152, True),
    Shape("1B", 16, 2048, 8192, 32, 8, 128256, True),
    Shape("3B", 28, 3072, 8192, 24, 8, 128256, True, 128),
    Shape("7B", 32, 4096, 11008, 32, 32, 32000, False),
    Shape("8B", 32, 4096, 14336, 32, 8, 128256, False),
    Shape("14B", 48, 5120, 13824, 40, 8, 152064, False),
    Shape("32B", 64, 5120, 27648, 40, 8, 152064, False),
    Shape("70B", 80, 8192, 28672, 64, 8, 128256, False),
)


@dataclass(frozen=True)
class Fit:
    """One bar: a size with a method, the memory it needs, and whether that fits."""

    name: str
    bytes: float
    verdict: str

    @property
    def token(self) -> str:
        """Return the colour of the verdict."""
        return VERDICT_TOKENS[self.verdict]


def facts_of(shape: Shape) -> ModelFacts:
    """Return a model's facts from its shape alone, as its config.json would tell them."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": shape.layers,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim or shape.hidden // shape.heads,
        "vocab_size": shape.vocab,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": shape.tied,
        "torch_dtype": "bfloat16",
    }
    return facts_of_config(config, shape.name)


def ladder(machine: Machine, own: ModelFacts | None = None) -> tuple[list[Rung], float]:
    """Return every size with what its methods need, and the memory of `machine` they stand against (bytes).

    `own` is the chosen model, put between its neighbours.
    """
    rungs = list(_known_rungs(machine))
    if own is not None:
        rungs.append((own.parameters, Rung("chosen", _needs(own, machine), own=True)))
    return [rung for _, rung in sorted(rungs, key=lambda pair: pair[0])], _memory(machine)


@lru_cache(maxsize=1)
def _known_rungs(machine: Machine) -> tuple[tuple[int, Rung], ...]:
    """Return each well-known size by its number of values, planned once: plans hold Python's lock."""
    known = (facts_of(shape) for shape in SHAPES)
    return tuple((facts.parameters, Rung(facts.name, _needs(facts, machine))) for facts in known)


def _needs(facts: ModelFacts, machine: Machine) -> tuple[Need, ...]:
    needs = []
    for method in ("QLoRA", "LoRA", "Full") if machine.devices else ("LoRA", "Full"):
        answer = plan(_recipe(method), facts, None, _memory(machine), machine)
        needs.append(Need(method, answer.memory_bytes, answer.verdict or "fits"))
    return tuple(needs)


def _memory(machine: Machine) -> float:
    """Return the memory (bytes) that models are measured against."""
    return float(machine.devices[0].total_bytes if machine.devices else machine.ram_total_bytes)


def largest_words(rungs: list[Rung]) -> str:
    """Return the largest well-known size that each method fits with."""
    parts = []
    for method in ("QLoRA", "LoRA", "Full"):
        fitting = [
            rung.name
            for rung in rungs
            for need in rung.needs
            if need.method == method and need.verdict != "too_large" and not rung.own
        ]
        known = any(need.method == method for rung in rungs for need in rung.needs)
        if known:
            parts.append(f"{fitting[-1] if fitting else 'none'} with {METHOD_WORDS[method]}")
    return f"The largest that fits: {', '.join(parts)}."


@lru_cache(maxsize=1)
def what_fits() -> tuple[list[Fit], float]:
    """Return the bars around the edge of what fits, and the memory they are measured against (bytes)."""
    machine = probe()
    gpu, memory = bool(machine.devices), _memory(machine)
    found: list[Fit] = []
    for shape in SHAPES:
        facts = facts_of(shape)
        # 4-bit weights save nothing on the machines that have no GPU to compute with them.
        for name in ("LoRA", "QLoRA") if gpu else ("LoRA",):
            answer = plan(_recipe(name), facts, None, memory, machine)
            found.append(Fit(f"{shape.name} {name}", answer.memory_bytes, answer.verdict or "fits"))
    return _around_the_edge(found), memory


def _recipe(method: str) -> Recipe:
    changes: dict[str, Any] = {
        "data.max_length": 1024,
        "training.per_device_train_batch_size": 1,
        "model.load_in_4bit": method == "QLoRA",
    }
    if method == "Full":
        changes |= {"adapter.method": "full", "training.learning_rate": 2e-5}
    return codec.override(Recipe.model_validate({"data": {"train": ["x.jsonl"]}}), changes)


def _around_the_edge(fits: list[Fit]) -> list[Fit]:
    """Return the largest that fit and the first that does not: what a person wants to know."""
    inside = [fit for fit in fits if fit.verdict != "too_large"]
    outside = [fit for fit in fits if fit.verdict == "too_large"]
    shown = inside[-(SHOWN - 1) :]
    shown += outside[: SHOWN - len(shown)]
    return shown
