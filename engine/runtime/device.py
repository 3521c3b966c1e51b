"""Where a finished model answers: device and precision, and libraries that keep quiet and off the network."""

from __future__ import annotations

import logging
import os
import warnings
from pathlib import Path
from typing import Any

import psutil

from engine.errors import EngineError
from engine.hardware.devices import probe
from engine.models.facts import ModelFacts
from engine.runs import gpu_gate
from engine.runtime import imports

log = logging.getLogger(__name__)


def quieten() -> None:
    """Keep libraries from printing, the network and foreign kernels; called before they are used."""
    imports.forbid_kernels()
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    from transformers.utils import logging as told

    told.set_verbosity_error()
    told.disable_progress_bar()


def choose_answering(facts: ModelFacts, device: str = "auto") -> Any:
    """Return the Compute for answering: the GPU when the weights fit its free memory, else the CPU.

    `device` is auto, cpu or cuda; auto leaves a GPU alone on which a training works.
    Raises EngineError GPU-01 when cuda is asked for and too small.
    """
    import torch

    from engine.runtime.load import Compute

    if device == "auto" and (others := working_here()):
        log.info("%s uses the GPU: the CPU answers", others[0].name)
        device = "cpu"
    if device != "cpu" and torch.cuda.is_available():
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        free, _ = torch.cuda.mem_get_info()
        needed = facts.parameters * 2 * 1.15 + 5e8
        if needed < free:
            return Compute(torch.device("cuda", 0), dtype)
        if device == "cuda":
            raise EngineError(
                f"The GPU has too little memory: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free.",
                "Pause the run that uses it, or answer on the CPU.",
                "GPU-01",
            )
    return Compute(torch.device("cpu"), cpu_dtype(facts))


def working_here() -> list[Path]:
    """Return the jobs that work on the GPU which would answer."""
    return gpu_gate.working_on(gpu.uuid for gpu in probe().devices[:1])


def cpu_dtype(facts: ModelFacts) -> Any:
    """Return float32, or bfloat16 for a model whose float32 weights would not fit the free memory."""
    import torch

    room = psutil.virtual_memory().available
    return torch.float32 if facts.parameters * 4 * 1.2 < room else torch.bfloat16
