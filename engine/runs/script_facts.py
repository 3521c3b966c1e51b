"""What a script has to know of a run, read from its folder; and what no script can repeat."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.data import frozen
from engine.data.dataset import Prepared
from engine.data.examples import locate
from engine.data.order import packs_of
from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.events import DataPrepared, Finished, ModelLoaded
from engine.jobs.spec import read_job
from engine.models.facts import ModelFacts, read_facts
from engine.plan import pace
from engine.recipe.recipe import Recipe
from engine.recipe.schedules import warmup_of
from engine.runs import beginnings, store
from engine.runs.event_log import EventReader
from engine.runs.script_model import several_groups

FROZEN = Path("cache") / "rows.safetensors"


@dataclass(frozen=True)
class RunFacts:
    """A run as its script tells it. `steps` are those of the schedule, `last_step` where training ended."""

    folder: Path
    recipe: Recipe
    model: Path
    facts: ModelFacts
    rows: Prepared
    digest: str
    dtype: str
    device: str
    versions: dict[str, str]
    batch: int  # rows, or packs, of a micro-batch over all processes
    steps: int
    last_step: int
    eval_steps: int
    tokenizer: ModelTokenizer
    template: str
    begins_from: str = ""  # the SHA-256 of the adapter's values that it begins from

    @property
    def files(self) -> list[str]:
        """Return where the training files stand."""
        return [str(locate(path, self.folder)) for path in self.recipe.data.train]


def read_run(folder: Path) -> RunFacts:
    """Read a run that has begun. Raises EngineError REC-01 for what a script cannot repeat, RUN-05 else."""
    recipe = store.load_recipe(folder)
    refuse(recipe)
    events = EventReader(folder).read_new()
    loaded = next((e for e in reversed(events) if isinstance(e, ModelLoaded)), None)
    kept = frozen.read(folder / FROZEN)
    prepared = any(isinstance(e, DataPrepared) for e in events)
    if loaded is None or kept is None or not prepared:
        raise EngineError(
            f"{folder.name} has no rows and no model yet.",
            "Let the run begin first; its script repeats what it did.",
            "RUN-05",
            file=str(folder),
        )
    environment = _environment(folder)
    model = Path(environment["model"]["path"])
    rows = kept[0]
    lengths = [len(e.ids) for e in rows.train]
    batch = recipe.training.per_device_train_batch_size * recipe.launcher.processes
    micro = math.ceil((packs_of(lengths, recipe.data) or len(lengths)) / batch)
    per_epoch = math.ceil(micro / recipe.training.gradient_accumulation_steps)
    total = max(1, math.ceil(per_epoch * recipe.training.num_train_epochs - 1e-9))
    total = recipe.training.max_steps or total
    if recipe.training.lr_scheduler_type == "one_cycle" and warmup_of(recipe.training, total) == 1:
        raise _cannot("training.warmup_steps", "torch's one_cycle divides by zero with a rise of one step")
    finished = next((e for e in reversed(events) if isinstance(e, Finished)), None)
    return RunFacts(
        folder=folder,
        recipe=recipe,
        model=model,
        facts=read_facts(model),
        rows=rows,
        digest=frozen.digest_of(rows),
        dtype=loaded.dtype,
        device=loaded.device or "CPU",
        versions={str(k): str(v) for k, v in environment["versions"].items() if v},
        batch=batch,
        steps=total,
        last_step=finished.steps if finished is not None and 0 < finished.steps < total else total,
        eval_steps=pace.eval_every(recipe, per_epoch, total) or total,
        tokenizer=ModelTokenizer(model),
        template=load_template(model, recipe.data.chat_template).source,
        begins_from=beginnings.digest(read_job(folder).arguments),
    )


def _environment(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "environment.json").read_bytes())
        return {"model": {"path": str(found["model"]["path"])}, "versions": dict(found["versions"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineError(
            f"environment.json of {folder.name} cannot be read.",
            "Resume the run: it is written anew when the model is loaded.",
            "RUN-05",
            file=str(folder / "environment.json"),
        ) from error


def refuse(recipe: Recipe) -> None:
    """Raise EngineError REC-01 for what a short script of transformers and peft cannot repeat exactly."""
    adapter, training = recipe.adapter, recipe.training
    if adapter.method == "adalora":
        raise _cannot("adapter.method", "AdaLoRA gives and takes ranks with the engine's own bookkeeping")
    if adapter.init_lora_weights == "eva" and adapter.method == "lora":
        raise _cannot("adapter.init_lora_weights", "EVA looks at the data before the first step")
    if adapter.init_lora_weights in ("pissa", "olora") and adapter.use_rslora:
        if adapter.rank_pattern or adapter.alpha_pattern:
            raise _cannot(
                "adapter.rank_pattern", "peft cannot save PiSSA or OLoRA with patterns and rsLoRA together"
            )
    if recipe.launcher.strategy == "fsdp" and recipe.launcher.processes > 1:
        raise _cannot("launcher.strategy", "FSDP needs several processes, a script is one")
    if training.neftune_noise_alpha is not None:
        raise _cannot(
            "training.neftune_noise_alpha", "the noise of NEFTune is drawn by the engine, row by row"
        )
    if training.optim == "muon" and several_groups(recipe):
        raise _cannot("training.optim", "Muon over several groups of parameters is the engine's own")


def _cannot(field: str, why: str) -> EngineError:
    return EngineError(
        f"{field}: no stand-alone script can repeat this run, {why}.",
        "The run's recipe.yaml repeats it with Tunesmith.",
        "REC-01",
        field=field,
    )
