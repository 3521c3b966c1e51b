"""Where the memory of a training run goes, term by term, in bytes.

The terms follow the peak of torch's allocator for Llama-type models (two norms, attention, gated MLP in each
layer); they were checked against dry runs on fake tensors. Here they are simplified: rough.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.models.facts import Linear, ModelFacts
from engine.plan.adapter_size import adapted_linears, trainable_parameters
from engine.plan.optimizers import state_bytes
from engine.plan.several import shared_out
from engine.recipe.recipe import Recipe

ADAPTER_BYTES = 4  # adapters are trained in float32
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # nibbles, an 8-bit scale each 64 values, a float32 each 256 scales
NF4_PLAIN_BYTES = 0.5 + 4 / 64
RUNTIME_BYTES = {"cuda": 600e6, "cpu": 450e6}
HEAD_ROWS = {"cuda": 1024, "cpu": 64}
AT_ONCE_ON_CPU = 1024  # tokens: products of matrices are no faster beyond, and memory grows
HEAD_ROW_BYTES = (
    12  # float32 scores, their gradient and the head's own output, for each entry of the vocabulary
)


def tokens_at_once(asked: int | str | None, device: str) -> int | None:
    """Return how many tokens of a batch are computed in one piece at most, None without a limit.

    `asked` is the recipe's max_batch_tokens.
    """
    if isinstance(asked, str):  # auto
        return AT_ONCE_ON_CPU if device == "cpu" else None
    return asked


@dataclass(frozen=True)
class Setting:
    """What the terms depend on beside the recipe: the device, the width of numbers, the longest batch."""

    device: str
    number_bytes: int
    batch_tokens: int
    checkpointing: bool


def memory_terms(recipe: Recipe, facts: ModelFacts, setting: Setting) -> dict[str, float]:
    """Return the bytes of each part at the peak of a step."""
    trained = trainable_parameters(facts, recipe.adapter)
    full = recipe.adapter.method == "full"
    width = ADAPTER_BYTES  # what is trained is float32, whatever it computes in
    layer = _activation_bytes(recipe, facts, setting) * setting.batch_tokens
    kept = facts.hidden_size * setting.number_bytes * setting.batch_tokens
    activations = kept * facts.layers + layer if setting.checkpointing else layer * facts.layers
    rows = min(setting.batch_tokens, HEAD_ROWS[setting.device])
    terms = {
        "weights": _weight_bytes(recipe, facts, setting),
        "adapter": 0.0 if full else float(trained * width),
        "gradients": float(trained * width),
        "optimizer": state_bytes(recipe, trained),
        "activations": float(activations),
        "logits": float(HEAD_ROW_BYTES * facts.vocab_size * rows + 2 * kept),
        "workspace": _workspace(recipe, facts, setting),
        "runtime": RUNTIME_BYTES[setting.device],
    }
    return shared_out(terms, recipe, facts)


def total_bytes(terms: dict[str, float]) -> float:
    """Return the peak: the parts together and 3 % that an allocator cannot use."""
    return (
        sum(terms.values())
        - terms["runtime"]
        + 0.03 * (sum(terms.values()) - terms["runtime"])
        + terms["runtime"]
    )


def _weight_bytes(recipe: Recipe, facts: ModelFacts, setting: Setting) -> float:
    options = recipe.model
    if recipe.adapter.method == "full":  # float32, and copies in the numbers it computes in
        return facts.parameters * (4 if setting.number_bytes == 4 else 4 + setting.number_bytes)
    quantised = facts.linear_parameters if options.load_in_4bit or options.load_in_8bit else 0
    four = NF4_BYTES if options.bnb_4bit_use_double_quant else NF4_PLAIN_BYTES
    packed = quantised * (four if options.load_in_4bit else 1.0)
    return packed + (facts.parameters - quantised) * setting.number_bytes


def _activation_bytes(recipe: Recipe, facts: ModelFacts, setting: Setting) -> float:
    """Return what one layer keeps of one token: norms, attention, MLP, and the adapters' inputs."""
    n = setting.number_bytes
    query, key = facts.heads * facts.head_dim, facts.kv_heads * facts.head_dim
    norms = 8 * facts.hidden_size
    attention = n * (query + 2 * key) + n * query + 4 * facts.heads
    mlp = 3 * n * facts.intermediate_size
    if recipe.adapter.method == "full":
        return norms + attention + mlp + n * (2 * facts.hidden_size + facts.intermediate_size)
    dropout = recipe.adapter.lora_dropout > 0
    adapters = sum(
        _adapter_input_bytes(linear, r, n, dropout) for linear, r in adapted_linears(facts, recipe.adapter)
    )
    return norms + attention + mlp + adapters / max(1, facts.layers)


def _adapter_input_bytes(linear: Linear, r: int, number_bytes: int, dropout: bool) -> float:
    """With dropout the masked input and its mask are kept for each module, without it only the input."""
    kept = linear.in_features * (number_bytes + 1 if dropout else number_bytes)
    return kept + ADAPTER_BYTES * r


def _workspace(recipe: Recipe, facts: ModelFacts, setting: Setting) -> float:
    """Return the gradients of one MLP, and the one matrix that is de-quantised at a time."""
    mlp = 3 * setting.number_bytes * facts.intermediate_size * setting.batch_tokens
    largest = max((linear.in_features * linear.out_features for linear in facts.linears), default=0)
    quantised = recipe.model.load_in_4bit or recipe.model.load_in_8bit
    return float(mlp + (setting.number_bytes * largest if quantised else 0))
