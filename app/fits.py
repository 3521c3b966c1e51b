"""Which sizes of model this machine can train: well-known shapes put to the planner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.hardware.devices import probe
from engine.models.facts import Linear, ModelFacts
from engine.plan.planner import plan
from engine.recipe import codec
from engine.recipe.recipe import Recipe

SHOWN = 5
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
    """Return a model's facts from its shape alone."""
    head = shape.head_dim or shape.hidden // shape.heads
    queries, keys = shape.heads * head, shape.kv_heads * head
    one = (
        ("self_attn.q_proj", shape.hidden, queries),
        ("self_attn.k_proj", shape.hidden, keys),
        ("self_attn.v_proj", shape.hidden, keys),
        ("self_attn.o_proj", queries, shape.hidden),
        ("mlp.gate_proj", shape.hidden, shape.intermediate),
        ("mlp.up_proj", shape.hidden, shape.intermediate),
        ("mlp.down_proj", shape.intermediate, shape.hidden),
    )
    linears = tuple(
        Linear(f"model.layers.{layer}.{name}", wide, narrow)
        for layer in range(shape.layers)
        for name, wide, narrow in one
    )
    inside = sum(wide * narrow for _, wide, narrow in one) * shape.layers
    norms = (2 * shape.layers + 1) * shape.hidden
    parameters = inside + norms + shape.vocab * shape.hidden * (1 if shape.tied else 2)
    return ModelFacts(
        name=shape.name,
        path=Path(shape.name),
        architecture="LlamaForCausalLM",
        model_type="llama",
        parameters=parameters,
        layers=shape.layers,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=head,
        vocab_size=shape.vocab,
        max_positions=8192,
        dtype="bfloat16",
        tied=shape.tied,
        chat_template=True,
        weights_bytes=2 * parameters,
        linears=linears,
    )


@lru_cache(maxsize=1)
def what_fits() -> tuple[list[Fit], float]:
    """Return the bars around the edge of what fits, and the memory they are measured against (bytes)."""
    machine = probe()
    gpu = bool(machine.devices)
    memory = float(machine.devices[0].total_bytes if gpu else machine.ram_total_bytes)
    found: list[Fit] = []
    for shape in SHAPES:
        facts = facts_of(shape)
        # 4-bit weights save nothing on the machines that have no GPU to compute with them.
        methods = (("LoRA", False), ("QLoRA", True)) if gpu else (("LoRA", False),)
        for name, four_bit in methods:
            answer = plan(_recipe(four_bit), facts, None, memory, machine)
            found.append(Fit(f"{shape.name} {name}", answer.memory_bytes, answer.verdict or "fits"))
    return _around_the_edge(found), memory


def _recipe(four_bit: bool) -> Recipe:
    changes = {
        "data.max_length": 1024,
        "training.per_device_train_batch_size": 1,
        "model.load_in_4bit": four_bit,
    }
    return codec.override(Recipe.model_validate({"data": {"train": ["x.jsonl"]}}), changes)


def _around_the_edge(fits: list[Fit]) -> list[Fit]:
    """Return the largest that fit and the first that does not: what a person wants to know."""
    inside = [fit for fit in fits if fit.verdict != "too_large"]
    outside = [fit for fit in fits if fit.verdict == "too_large"]
    shown = inside[-(SHOWN - 1) :]
    shown += outside[: SHOWN - len(shown)]
    return shown
