"""Two training steps on tensors without values: what our own engine would hold of a device's memory.

The very code of a run builds the model from its configuration, adapts it, lays out a batch and goes through
forward, backward and update; only what needs values is left out. Nothing is computed and no weights are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from engine.data.dataset import Example, Prepared
from engine.data.report import Report
from engine.plan.planner import DataFacts, precision_of
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runtime import adapter, computing, memory, train
from engine.runtime.dry import optimizers
from engine.runtime.dry.kernels import of_a_gpu
from engine.runtime.dry.model import imagine_base, plain_moves, read_config, try_layout
from engine.runtime.dry.tracker import Tracker
from engine.runtime.load import DTYPES, Compute
from engine.runtime.loss import plain_head
from engine.runtime.methods import adalora
from engine.runtime.timetable import Timetable
from engine.runtime.training import Training

STEPS = 1000  # of an imagined run: AdaLoRA prunes late in one
ENOUGH = 2  # micro-batches of a step, and pieces of one: the second stands beside the first one's gradient
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Measured:
    """The peak of the second step in bytes, and what was alive then by kind."""

    peak_bytes: int
    terms: dict[str, int]
    trainable_parameters: int
    seconds: float
    layout: str
    remarks: tuple[str, ...] = ()


def dry_run(
    recipe: Recipe,
    folder: Path,
    data: DataFacts | None = None,
    *,
    device: str = "cuda",
    precision: str | None = None,
    progress: Progress = lambda stage, done, total: None,
    look: Callable[[], None] = lambda: None,
) -> Measured:
    """Measure a recipe on the model of `folder`, of which config.json is enough.

    `device` is cuda or cpu, `precision` fp32 or bf16 where the recipe leaves it open. `look` is called now
    and then, and may raise to end the work.
    """
    began = time.monotonic()
    progress("building", 0, 3)
    config = read_config(folder)
    compute = Compute(torch.device("cpu"), _dtype(recipe, device, precision))
    remarks: list[str] = []
    recipe = _without_values(recipe, remarks)
    layout = try_layout(config, recipe.model.attn_implementation)
    tracker = Tracker(look)
    with _imagined(device, tracker):
        run = _build(recipe, config, folder, compute, layout, tracker, _rows(recipe, data))
        for step in (1, 2):
            progress(f"step {step}", step, 3)
            tracker.forget_peak()
            _step(run, step, tracker)
    return Measured(
        peak_bytes=tracker.peak,
        terms={kind: size for kind, size in tracker.at_peak.items() if size},
        trainable_parameters=sum(p.numel() for p in adapter.trainable(run.model).values()),
        seconds=time.monotonic() - began,
        layout=layout.reason,
        remarks=tuple(remarks),
    )


def _dtype(recipe: Recipe, device: str, precision: str | None) -> torch.dtype:
    if recipe.training.precision != "auto":
        precision = recipe.training.precision
    if precision is None:
        precision = "bf16" if device == "cuda" else precision_of(recipe, None)
    return DTYPES["bfloat16" if precision == "bf16" else "float32"]


def _without_values(recipe: Recipe, remarks: list[str]) -> Recipe:
    """Return the recipe with an adapter that begins without looking at weights: of the same shapes."""
    begin = recipe.adapter.init_lora_weights
    if begin in ("pissa", "olora", "eva"):
        remarks.append(f"{begin} counted as a plain start, which has the same shapes")
        return codec.override(recipe, {"adapter.init_lora_weights": True})
    return recipe


@contextmanager
def _imagined(device: str, tracker: Tracker) -> Iterator[None]:
    kernels = nullcontext() if device == "cpu" else of_a_gpu()
    with computing.imagined(device), plain_moves(), kernels:
        with FakeTensorMode(allow_non_fake_inputs=True), tracker:
            yield


def _rows(recipe: Recipe, data: DataFacts | None) -> list[Example]:
    """Return the rows of a step: each as long as the longest of the data, and trained throughout."""
    longest = recipe.data.max_length
    if data is not None and not recipe.data.packing:
        longest = min(longest, data.longest_tokens)
    longest = max(2, longest)
    trained = np.ones(longest, dtype=bool)
    many = recipe.training.per_device_train_batch_size * min(
        ENOUGH, recipe.training.gradient_accumulation_steps
    )
    # Each begins with a token of its own, so that nothing is shared.
    ids = [np.full(longest, number, dtype=np.int32) for number in range(many)]
    return [Example(row, trained, number, 0) for number, row in enumerate(ids)]


def _build(
    recipe: Recipe,
    config: Any,
    folder: Path,
    compute: Compute,
    layout: Any,
    tracker: Tracker,
    rows: list[Example],
) -> Training:
    whole = recipe.adapter.method == "full"
    base = imagine_base(config, recipe, compute, layout, whole=whole)
    with tracker.making("adapter"):
        begin = adapter.Beginning(STEPS, rows, folder, True, compute.device, compute.dtype)
        model = adapter.add_adapter(base, recipe, begin)
    _name_parts(model, tracker, whole)
    if recipe.training.gradient_checkpointing == "all":
        memory.checkpoint_layers(base)
    tracker.vocabulary = int(config.get_text_config().vocab_size)
    none: Any = None
    lengths = tuple(len(row.ids) for row in rows)
    table = Timetable(
        lengths,
        0,
        recipe.training.per_device_train_batch_size,
        1,
        False,
        1,
        STEPS,
        None,
        STEPS,
        None,
        recipe.data.max_length if recipe.data.packing else None,
    )
    return Training(
        job=none,
        recipe=recipe,
        model=model.train(),
        compute=compute,
        layout=layout,
        data=Prepared(rows, [], Report()),
        table=table,
        optimizer=optimizers.make_optimizer(model, recipe.training),
        head=plain_head(model.get_base_model()) if layout.head_apart else None,
        prompts=[],
        tokenizer=none,
        template=none,
        stops=frozenset(),
        system_prompt=None,
        probe=none,
        reload=none,
    )


def _name_parts(model: nn.Module, tracker: Tracker, whole: bool) -> None:
    """Tell the base's storages from the adapter's: joined products are the base's, whoever made them."""
    for tensor in (*model.parameters(), *model.buffers()):
        trained = tensor.requires_grad and not whole
        tracker.call(tensor, "adapter" if trained else "weights")
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda p: tracker.call(p.grad, "gradients"))


def _step(run: Training, step: int, tracker: Tracker) -> None:
    """Take a step as `train.take_step` does, without reading what came out."""
    size = run.recipe.training.per_device_train_batch_size
    rows = run.data.train
    micro = [rows[at : at + size] for at in range(0, len(rows), size)]
    with tracker.making("activations"):
        train.add_up(run, step, micro)
    parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
    with tracker.making("workspace"):
        adalora.before_update(run.model)
        limit = run.recipe.training.max_grad_norm or float("inf")
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        del norm
        run.optimizer.step()
        for held in run.optimizer.state.values():
            for value in held.values():
                if isinstance(value, torch.Tensor):
                    tracker.call(value, "optimizer")
        adalora.after_update(run.model, step, True)
        run.optimizer.zero_grad(set_to_none=True)
