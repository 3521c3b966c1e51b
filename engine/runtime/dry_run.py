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

import torch
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)

from engine.data.dataset import Example, Prepared
from engine.data.report import Report
from engine.errors import EngineError
from engine.plan.data_facts import DataFacts
from engine.plan.setting import precision_of
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runtime import adapter, computing, imports, kernels, memory, train
from engine.runtime.dry import optimizers
from engine.runtime.dry.kernels import of_a_gpu
from engine.runtime.dry.model import imagine_base, plain_moves, read_config, try_layout
from engine.runtime.dry.rows import micro_batches
from engine.runtime.dry.tracker import Tracker
from engine.runtime.load import DTYPES, Compute, Layout
from engine.runtime.loss import plain_head
from engine.runtime.methods import adalora
from engine.runtime.timetable import make_timetable
from engine.runtime.training import Training

STEPS = 1000  # of an imagined run: AdaLoRA prunes late in one
Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Measured:
    """The peak of the second step in bytes, and what was alive then by kind."""

    peak_bytes: int
    terms: dict[str, int]
    trainable_parameters: int
    seconds: float
    precision: str
    layout: str
    remarks: tuple[str, ...] = ()  # what was counted in another way than it will be


def dry_run(
    recipe: Recipe,
    folder: Path,
    data: DataFacts | None = None,
    *,
    device: str = "cuda",
    precision: str | None = None,
    progress: Progress = lambda stage, done: None,
    look: Callable[[], None] = lambda: None,
    alone: bool = False,
) -> Measured:
    """Measure a recipe on the model of `folder`, of which config.json is enough.

    `device` is cuda or cpu, `precision` fp32 or bf16 where the recipe leaves it open. `look` is called now
    and then, and may raise to end the work. `alone` says that this process does nothing else.
    Raises EngineError for what cannot be counted so.
    """
    began = time.monotonic()
    imports.hold_collector(alone)
    progress("building", 0)
    config = read_config(folder)
    compute = Compute(torch.device("cpu"), _dtype(recipe, device, precision))
    recipe, remarks = _without_values(recipe, device)
    layout = try_layout(config, recipe.model.attn_implementation)
    tracker = Tracker(look)
    micro = micro_batches(recipe, data, device)
    with _imagined(device, tracker), _told_by_name(str(config.model_type)):
        run = _build(recipe, config, folder, compute, layout, tracker, micro)
        if alone:
            imports.release_collector()
        for step in (1, 2):
            progress(f"step {step}", step)
            tracker.forget_peak()
            _step(run, step, micro[:step], tracker)
    return Measured(
        peak_bytes=tracker.peak,
        terms={kind: size for kind, size in tracker.at_peak.items() if size},
        trainable_parameters=sum(p.numel() for p in adapter.trainable(run.model).values()),
        seconds=time.monotonic() - began,
        precision="fp32" if compute.dtype == torch.float32 else "bf16",
        layout=layout.reason,
        remarks=remarks,
    )


def _dtype(recipe: Recipe, device: str, precision: str | None) -> torch.dtype:
    if recipe.training.precision != "auto":
        precision = recipe.training.precision
    if precision is None:
        precision = "bf16" if device == "cuda" else precision_of(recipe, None)
    return DTYPES["bfloat16" if precision == "bf16" else "float32"]


def _without_values(recipe: Recipe, device: str) -> tuple[Recipe, tuple[str, ...]]:
    """Return what is measured in the recipe's place, and in words where it is not the very same.

    Raises EngineError REC-01 for what has to be computed to be counted.
    """
    for field, value in (
        ("training.use_liger_kernel", recipe.training.use_liger_kernel),
        ("model.attn_implementation", recipe.model.attn_implementation == kernels.FLASH),
        ("launcher.strategy", recipe.launcher.strategy == "fsdp" and recipe.launcher.processes > 1),
    ):
        if value:
            raise EngineError(
                f"{field}: what this takes cannot be counted without a GPU's own kernels.",
                "Use the formula's figure, or try 20 steps.",
                "REC-01",
                field=field,
            )
    remarks, begin = [], recipe.adapter.init_lora_weights
    if recipe.adapter.method == "lora" and begin in ("pissa", "olora", "eva"):
        remarks.append(f"init_lora_weights {begin}: counted as a plain start, whose shapes are the same.")
        recipe = codec.override(recipe, {"adapter.init_lora_weights": True})
    if recipe.adapter.method == "adalora":
        remarks.append("adalora: counted before it begins to prune.")
    if recipe.model.load_in_8bit:
        remarks.append("load_in_8bit: counted without columns of outliers, which depend on values.")
    if recipe.training.optim.startswith("paged"):
        remarks.append(f"{recipe.training.optim}: its states lie in managed memory and are not counted.")
    return recipe, tuple(remarks)


@contextmanager
def _imagined(device: str, tracker: Tracker) -> Iterator[None]:
    ways = nullcontext() if device == "cpu" else of_a_gpu()
    with computing.imagined(device), plain_moves(), ways:
        with FakeTensorMode(allow_non_fake_inputs=True), tracker:
            yield


@contextmanager
def _told_by_name(kind: str) -> Iterator[None]:
    """Turn what tensors without values cannot do into EngineError MODEL-05."""
    try:
        yield
    except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException) as error:
        raise EngineError(
            f"Models of the kind {kind} cannot be counted: what they compute hangs on values.",
            "Use the formula's figure, or try 20 steps.",
            "MODEL-05",
        ) from error


def _build(
    recipe: Recipe,
    config: Any,
    folder: Path,
    compute: Compute,
    layout: Layout,
    tracker: Tracker,
    micro: list[list[Example]],
) -> Training:
    rows = [row for rows in micro for row in rows]
    whole = recipe.adapter.method == "full"
    base = imagine_base(config, recipe, compute, layout, whole=whole)
    begin = adapter.Beginning(STEPS, rows, folder, True, compute.device, compute.dtype)
    model = adapter.add_adapter(base, recipe, begin)
    _name_parts(model, tracker, whole)
    if recipe.training.gradient_checkpointing == "all":
        memory.checkpoint_layers(base)
    tracker.vocabulary = int(config.get_text_config().vocab_size)
    none: Any = None
    return Training(
        job=none,
        recipe=recipe,
        model=model.train(),
        compute=compute,
        layout=layout,
        data=Prepared(rows, [], Report()),
        table=make_timetable(recipe, [len(row.ids) for row in rows]),
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


def _step(run: Training, step: int, micro: list[list[Example]], tracker: Tracker) -> None:
    """Take a step as `train.take_step` does, without reading what came out."""
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
