"""What can be known of a causal model without loading it, and of one linear module in it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

# Families whose linear layers are transformers' Conv1D: the weight is stored as (in, out).
CONV1D_TYPES = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d+)\.")

NamedShape = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class Linear:
    """One linear module by its name in the model, as peft sees it."""

    name: str
    in_features: int
    out_features: int

    @cached_property
    def leaf(self) -> str:
        """Return the last part of the name, such as q_proj."""
        return self.name.rpartition(".")[2]

    @cached_property
    def layer(self) -> int | None:
        """Return the number of the layer it is in, None when it is in none."""
        found = LAYER.search(self.name)
        return int(found.group(1)) if found else None


@dataclass(frozen=True)
class Build:
    """How a model's layers are made, beside its sizes: what a plan of its memory depends on.

    `experts` are those of one layer of experts, `experts_per_token` those that take one token, `expert_size`
    the width of one (`intermediate_size` is then that of the layers without experts), `shared_expert_size`
    the width of the one that takes all tokens, `sparse_layers` how many layers have experts.
    `sliding_layers` layers see `sliding_window` tokens. `layer_norms` counts the norms over the hidden size
    in one layer, `norm` is rms, layer, or bare (a layer norm without weights). `query_norm` is head (a norm
    of each head of queries and keys), all (one over all heads) or empty. `biases` counts all their values.
    """

    gated: bool = True
    experts: int = 0
    experts_per_token: int = 0
    expert_size: int = 0
    shared_expert_size: int = 0
    sparse_layers: int = 0
    sliding_window: int | None = None
    sliding_layers: int = 0
    parallel: bool = False  # attention and MLP are added to the same residual
    norm: str = "rms"
    layer_norms: int = 2
    query_norm: str = ""
    rotary: bool = True
    activation: str = "silu"
    attention_softcap: bool = False
    logit_softcap: bool = False
    biases: int = 0


@dataclass(frozen=True)
class ModelFacts:
    """What can be known of a causal model without loading it.

    `tensors` are the names and shapes of all parameters as transformers builds the model, a head that shares
    the embedding's weight left out; empty for a family that has no table. `from_config`: read from
    config.json alone, so `dtype` and `weights_bytes` are what it says, not what lies on the disk. `rough`:
    the family has no table, so `build` is Llama's; without weights the parameters and linears are too.
    `ignored` are program files and pickles that lie in the folder, `dropped_fields` keys of config.json that
    its family does not know or no file may set.
    """

    name: str
    path: Path
    architecture: str
    model_type: str
    parameters: int
    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int
    dtype: str
    tied: bool
    chat_template: bool
    weights_bytes: int
    linears: tuple[Linear, ...]
    quantization: str | None = None
    ignored: tuple[str, ...] = ()
    dropped_fields: tuple[str, ...] = ()
    from_config: bool = False
    rough: bool = False
    build: Build = field(default=Build())
    tensors: tuple[NamedShape, ...] = field(default=(), repr=False)

    @property
    def left_aside(self) -> str:
        """Return a sentence on what of the folder is not used, empty where all of it is."""
        shown = []
        for words, names in (
            ("Never opened: ", self.ignored),
            ("Not taken from config.json: ", self.dropped_fields),
        ):
            if names:
                more = f" and {len(names) - 6} more" if len(names) > 6 else ""
                shown.append(f"{words}{', '.join(names[:6])}{more}.")
        return " ".join(shown)

    @property
    def groups(self) -> dict[str, int]:
        """Return how many linear modules end in each name, in the order of the model."""
        return dict(Counter(linear.leaf for linear in self.linears))

    @cached_property
    def linear_parameters(self) -> int:
        """Return the number of weights inside the linear modules: what 4-bit loading quantises."""
        return sum(linear.in_features * linear.out_features for linear in self.linears)

    @property
    def fan_in_fan_out(self) -> bool:
        """Return whether linear weights are stored as (in, out)."""
        return self.model_type in CONV1D_TYPES

    @property
    def gated(self) -> bool:
        """Return whether the MLP has a gate: two products of its input instead of one."""
        return self.build.gated

    @property
    def experts(self) -> int:
        """Return the experts of one layer, 0 for a model without."""
        return self.build.experts

    @property
    def experts_per_token(self) -> int:
        """Return how many experts take one token."""
        return self.build.experts_per_token

    @property
    def expert_size(self) -> int:
        """Return the width of one expert."""
        return self.build.expert_size

    @property
    def sliding_window(self) -> int | None:
        """Return how many tokens `build.sliding_layers` layers see, None where all see all."""
        return self.build.sliding_window
