"""How a run computes, as far as its memory depends on it: numbers, attention, whose forward pass."""

from __future__ import annotations

from dataclasses import dataclass

from engine.models.facts import ModelFacts
from engine.recipe.recipe import Recipe

ADAPTER_BYTES = 4  # adapters are trained in float32
# Families whose attention, gated layer or norm the engine computes itself: those that
# `engine.runtime.fused.blocks` lists by their classes. A test holds the two lists together.
JOINED_ATTENTION = frozenset("llama mistral mixtral qwen2 qwen3 qwen2_moe qwen3_moe gemma gemma2".split())
JOINED_MLP = frozenset("llama mistral qwen2 qwen3 gemma gemma2 smollm3".split())
OWN_NORM = frozenset("llama mistral mixtral qwen2 qwen3 phi3".split())
HEAD_INSIDE = frozenset({"opt"})  # families whose head cannot be told apart from what is below it
BASE_DROPOUT = frozenset({"gpt2", "opt", "openai-gpt", "biogpt"})  # active in the base while training
ATTENTION_DROPOUT = frozenset({"gpt2", "openai-gpt"})
OWN_ACTIVATIONS = ("silu", "swish", "gelu_pytorch_tanh")
MOST_BESIDE = 2  # sequences side by side on a CPU: at most so many times as long as a head is wide


@dataclass(frozen=True)
class Setting:
    """What the terms depend on beside the recipe: the device, the width of numbers, the longest batch.

    `batch_tokens` are computed at once, in `sequences` rows of at most `longest` tokens; a share `supervised`
    of them is learned from. With `resident` gradients there are several batches or pieces in a step. The
    last four are for other trainers than our own engine: rows padded under a mask, the width of adapters,
    a run that has not taken its first step, bitsandbytes of old.
    """

    device: str
    number_bytes: int
    batch_tokens: int
    checkpointing: bool
    longest: int = 0
    sequences: int = 1
    supervised: float = 1.0
    resident: bool = False
    padded: bool = False
    adapter_bytes: int = ADAPTER_BYTES
    first_step: bool = False

    @property
    def row(self) -> int:
        """Return the tokens of the longest row."""
        return self.longest or self.batch_tokens


@dataclass(frozen=True)
class Way:
    """One run's knobs for the operations of a layer; sizes are in values a token."""

    hidden: int
    queries: int  # heads * head_dim
    keys: int  # kv_heads * head_dim
    heads: int
    head_dim: int
    number: int  # bytes of a number that is computed with
    adapter: int  # bytes of a value of an adapter
    mask: int  # bytes of dropout's mask for one value, 0 without dropout
    method: str
    dora: bool
    block: int  # of OFT
    quantised: str  # "", 4bit or 8bit
    attention: str  # flash, many (sequences in one call), each, beside, cpu, cpu each, mask, eager, softcap
    row: int  # tokens that one query may look at
    own_norm: bool
    own_attention: bool
    own_mlp: bool
    query_norm: bool
    norm: str
    parallel: bool
    adds_plainly: bool  # what attention and MLP give is added to the residual without a norm between
    rotary: bool
    activation: str
    attention_dropout: bool
    base_dropout: bool  # of what attention and MLP add to the residual
    joins_alone: bool = False  # adapted layers outside of a joined block are the engine's own product too
    gathered: bool = False  # weights are spread over processes, and whole only while they compute
    full: bool = False
    profile: str = "own"

    @property
    def keeps_answer(self) -> bool:
        """Return whether attention keeps the very output that the next product reads."""
        copied = self.full and self.number < 4  # autocast makes it narrow again
        kinds = ("flash", "many", "plain", "mask", "banded", *(["cpu"] if self.number == 4 else []))
        return not copied and self.attention in kinds

    @property
    def casts(self) -> bool:
        """Return whether peft makes a wider copy of each adapted module's input."""
        return self.adapter > self.number


def way_of(recipe: Recipe, facts: ModelFacts, setting: Setting, profile: str, *, windowed: bool) -> Way:
    """Return how a layer computes; a `windowed` one sees no more than the family's sliding window."""
    adapter, build = recipe.adapter, facts.build
    quantised = "4bit" if recipe.model.load_in_4bit else "8bit" if recipe.model.load_in_8bit else ""
    plain = adapter.method == "lora" and adapter.bias == "none" and profile == "own"
    conv = facts.fan_in_fan_out  # transformers' Conv1D, whose products are not joined
    ddp = recipe.launcher.strategy == "ddp"
    joins = plain and ddp and not (conv or adapter.use_dora or quantised)
    joined = recipe.model.attn_implementation != "eager" and joins
    kept_mask = setting.number_bytes if setting.device == "cpu" else 1
    drops = adapter.lora_dropout > 0 and adapter.method in ("lora", "adalora", "vera")
    window = facts.sliding_window if windowed else None
    return Way(
        hidden=facts.hidden_size,
        queries=facts.heads * facts.head_dim,
        keys=facts.kv_heads * facts.head_dim,
        heads=facts.heads,
        head_dim=facts.head_dim,
        number=setting.number_bytes,
        adapter=setting.adapter_bytes,
        mask=kept_mask if drops else 0,
        method=adapter.method,
        dora=adapter.use_dora,
        block=adapter.oft_block_size,
        quantised=quantised,
        attention=attention_kind(recipe, facts, setting, profile, window),
        row=setting.row,
        own_norm=plain and facts.model_type in OWN_NORM and recipe.launcher.strategy == "ddp",
        own_attention=joined and facts.model_type in JOINED_ATTENTION,
        own_mlp=plain
        and ddp
        and not conv
        and not quantised
        and facts.model_type in JOINED_MLP
        and build.activation in OWN_ACTIVATIONS,
        query_norm=bool(build.query_norm),
        norm=build.norm,
        parallel=build.parallel,
        adds_plainly=build.layer_norms <= 2 and facts.model_type not in BASE_DROPOUT,
        rotary=build.rotary,
        activation=build.activation,
        attention_dropout=facts.model_type in ATTENTION_DROPOUT,
        base_dropout=facts.model_type in BASE_DROPOUT,
        joins_alone=joins,
        gathered=plain and recipe.launcher.strategy == "fsdp",
        full=adapter.method == "full",
        profile=profile,
    )


def attention_kind(
    recipe: Recipe, facts: ModelFacts, setting: Setting, profile: str, window: int | None
) -> str:
    """Return how attention is computed: what it keeps differs."""
    asked = recipe.model.attn_implementation
    if asked == "eager":
        return "eager"
    if profile != "own":
        return "mask" if setting.padded else "plain"
    if asked == "sdpa":
        return "mask" if setting.sequences > 1 else "plain"
    if facts.build.attention_softcap:
        return "softcap"
    if setting.device == "cpu":
        beside = setting.sequences > 1 and setting.row <= MOST_BESIDE * facts.head_dim
        return "beside" if beside else "cpu" if setting.sequences == 1 else "cpu each"
    # Under autocast rotated queries are float32, which the kernel of many sequences does not take.
    low = setting.number_bytes == 2 and recipe.adapter.method != "full"
    one_call = low and facts.head_dim <= 256
    if setting.sequences > 1 and one_call and facts.model_type not in ATTENTION_DROPOUT:
        return "many"
    if window is not None and setting.row > window:
        return "banded"
    return "each" if setting.sequences > 1 else "flash"
