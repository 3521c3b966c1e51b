"""What a recipe comes to on a device: widths of numbers, and the longest batch that is computed at once."""

from __future__ import annotations

from engine.hardware.devices import Gpu
from engine.plan.data_facts import DataFacts
from engine.plan.way import Setting
from engine.recipe.recipe import Recipe

AT_ONCE_ON_CPU = 1024  # tokens: products of matrices are no faster beyond, and memory grows


def tokens_at_once(asked: int | str | None, device: str) -> int | None:
    """Return how many tokens of a batch are computed in one piece at most, None without a limit.

    `asked` is the recipe's max_batch_tokens.
    """
    if isinstance(asked, str):  # auto
        return AT_ONCE_ON_CPU if device == "cpu" else None
    return asked


def precision_of(recipe: Recipe, gpu: Gpu | None) -> str:
    """Return fp32 or bf16: auto takes bf16 on a GPU that computes in it (compute capability 8 and above)."""
    if recipe.training.precision != "auto":
        return recipe.training.precision
    return "bf16" if gpu is not None and (gpu.capability is None or gpu.capability >= (8, 0)) else "fp32"


def setting_of(
    recipe: Recipe, data: DataFacts | None, gpu: Gpu | None, *, checkpointing: bool, profile: str = "own"
) -> Setting:
    """The longest batch has as many examples as a batch holds, each as long as the longest one.

    Our own engine computes no more of it at once than the recipe or the device lets; one example always is.
    Other trainers pad their rows, and the article's begins with its longest batch, before states exist.
    """
    row = longest = max(1, recipe.data.max_length)
    if data and data.longest_tokens:
        row = min(longest, data.longest_tokens)
        longest = longest if recipe.data.packing else row
    batch = recipe.training.per_device_train_batch_size
    device = "cpu" if gpu is None else "cuda"
    own = profile == "own"
    limit = tokens_at_once(recipe.training.max_batch_tokens, device) if own else None
    tokens = batch * longest if limit is None else min(batch * longest, max(limit, longest))
    rows = tokens // longest
    held = recipe.model.dtype if recipe.adapter.method != "full" else "auto"
    wide = held == "float32" or (held == "auto" and precision_of(recipe, gpu) == "fp32")
    return Setting(
        device=device,
        number_bytes=4 if wide else 2,
        batch_tokens=tokens,
        checkpointing=checkpointing,
        longest=row,
        sequences=max(rows, 2 if recipe.data.packing and row < longest else 1),
        supervised=_supervised(data) if own else 1.0,
        resident=recipe.training.gradient_accumulation_steps > 1 or tokens < batch * longest,
        padded=not own and batch > 1,
        first_step=profile == "litgpt",
    )


def _supervised(data: DataFacts | None) -> float:
    """Return which share of the tokens is learned from; all where nothing is known."""
    if data is None or not data.total_tokens:
        return 1.0
    return min(1.0, data.supervised_tokens / data.total_tokens)
