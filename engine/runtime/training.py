"""What the loop holds: the run with its model, data, timetable and the step it is at."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch

from engine.data.dataset import Prepared
from engine.data.templates import ChatTemplate
from engine.data.tokenizer import ModelTokenizer
from engine.recipe.recipe import Recipe
from engine.runs.spikes import SpikeWatch
from engine.runtime.evaluate import Prompt
from engine.runtime.evidence import Probe
from engine.runtime.job import Job
from engine.runtime.load import Compute, Layout
from engine.runtime.ranks import Ranks
from engine.runtime.timetable import Timetable


@dataclass
class Training:
    """Everything the loop holds; `step` is the last one taken."""

    job: Job
    recipe: Recipe
    model: Any
    compute: Compute
    layout: Layout
    data: Prepared
    table: Timetable
    optimizer: torch.optim.Optimizer
    head: torch.Tensor | None
    prompts: list[Prompt]
    tokenizer: ModelTokenizer
    template: ChatTemplate
    stops: frozenset[int]
    system_prompt: str | None  # the recipe's, or the one that all rows begin with
    probe: Probe  # what the untouched base says of a few trained tokens
    reload: Callable[[], Training]  # loads everything anew, as it was before the first step
    ranks: Ranks = field(default_factory=Ranks)
    step: int = 0
    best_step: int | None = None
    best_loss: float | None = None
    parts: int = 1  # micro-batches are cut in so many after memory ran out
    evaluation_parts: int = 1  # and those of validation, which need less memory
    cuts: tuple[int, ...] = ()  # the parts of every rank, as last told
    bad_in_a_row: int = 0
    losses: SpikeWatch = field(default_factory=SpikeWatch)
    norms: SpikeWatch = field(default_factory=lambda: SpikeWatch(times=10.0))  # gradients vary by themselves
    owes_evaluation: bool = False  # a stop was asked in the middle of one: a resume begins with it
    evaluations_without_gain: int = 0  # in a row; early stopping ends the run when they are too many
    saved_step: int = -1
    saved_at: float = field(default_factory=time.monotonic)
    saver: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "save"))
    saving: Future[None] | None = None  # the save that is being written
    told_of_low_room: bool = False
    names: list[str] = field(default_factory=list)

    @property
    def base(self) -> Any:
        """Return the causal model inside peft's wrapper."""
        return self.model.get_base_model()
