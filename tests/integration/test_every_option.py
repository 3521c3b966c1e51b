"""Every option of the recipe, walked: another value changes what a run does, or it is refused by its name.

Nothing is asked of the recipe's text: each value goes through a run's folder, its data, its model and its
loop, in this process, on a tiny model. `option_rows.py` is the table.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.errors import EngineError
from engine.events import Finished, Stopped
from engine.jobs.spec import read_job
from engine.recipe import codec
from engine.recipe.data_options import SourceEntry
from engine.recipe.fields import field_specs
from engine.recipe.recipe import Recipe
from engine.runs import check, store
from engine.runs.event_log import EventWriter
from engine.runtime import crew, memory, optim, start
from engine.runtime import train as loop
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from engine.runtime.training import Training
from engine.runtime.vitals import Vitals
from tests.integration.conftest import events_of
from tests.integration.option_rows import DATA, REFUSED, ROWS, SETS, SOURCES, STOPS, Row

LEARNT = 3  # steps taken where weights are compared
# What a whole run tells; the rest is seen after LEARNT steps, or from the data alone.
OF_A_RUN = {"steps_taken", "result_step", "evaluated", "asked", "saved", "kept"}
OF_THE_DATA = {"train", "validation", "rows"}
BASE = {
    "model.path": f"{SETS}/tiny",
    "data.train": [f"{SETS}/chats.jsonl"],
    "data.validation_split": 0.2,
    "adapter.lora_dropout": 0.0,
    "training.learning_rate": 5e-3,
    "training.warmup_steps": 0.0,
    "training.per_device_train_batch_size": 4,
}
SHORT_RUN = {"training.max_steps": 6, "evaluation.eval_steps": 2, "checkpoint.save_steps": 6}

Outcome = dict[str, Any]


def write_sets(folder: Path, tiny: Path) -> None:
    """Write the data files and models that the table names."""

    def lines(name: str, rows: list[Any]) -> None:
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def chat(question: str, answer: str, roles: tuple[str, str] = ("user", "assistant")) -> dict[str, Any]:
        return {"messages": [{"role": roles[0], "content": question}, {"role": roles[1], "content": answer}]}

    names = ["cat", "dog", "owl", "fox", "hen", "bee"]
    chats = [
        chat(
            f"What does the {names[i % 6]} number {i} say?", f"It says {names[i % 6]}." + " Again." * (i % 4)
        )
        for i in range(30)
    ]
    pairs = [(f"What is {i}?", f"The number {i}.") for i in range(24)]
    lines("chats.jsonl", chats)
    lines("other.jsonl", [chat(*pair) for pair in pairs])
    lines("overlap.jsonl", chats[:5] + [chat("Who?", "Me.")])
    lines("both.jsonl", [{"prompt": q, "completion": a, "text": f"{q} {a}"} for q, a in pairs])
    lines("one_bad.jsonl", [*chats, {"messages": "nothing of the kind"}])
    lines("labels.jsonl", [{"text": q, "label": i % 2} for i, (q, _) in enumerate(pairs)])
    lines("roles.jsonl", [chat(*pair, ("asker", "answerer")) for pair in pairs])
    lines("marks.jsonl", [chat(f"{q} <|im_end|>", a) for q, a in pairs])
    lines("doubles.jsonl", [*chats, *chats[:6]])
    long = "The quick brown fox jumps over the lazy dog, then it sleeps in the sun until the evening comes"
    lines("near.jsonl", [*chats, chat("Go on?", f"{long} again."), chat("Go on?", f"{long}, again!")])
    lines("texts.jsonl", [{"text": f"Line {i}. " + "It goes on. " * (i % 2 * 12)} for i in range(24)])
    turns = [m for row in chats[:2] for m in row["messages"]]
    lines("turns.jsonl", [{"messages": [*turns, *row["messages"]]} for row in chats[2:]])
    (folder / "parts.json").write_text(
        json.dumps({"one": [chat(*p) for p in pairs[:12]], "two": [chat(*p) for p in pairs[12:]]})
    )
    table = "".join(f"{q},{a}\n" for q, a in pairs)
    (folder / "pairs.csv").write_text("question,answer\n" + table)
    (folder / "bare.csv").write_text("prompt,completion\n" + table)
    (folder / "semicolons.csv").write_text("prompt;completion\n" + table.replace(",", ";"))
    accents = "prompt,completion\n" + "".join(f"Où {q},Été. {a}\n" for q, a in pairs)
    (folder / "accents.csv").write_bytes(accents.encode("cp1252"))
    shutil.copytree(tiny, folder / "tiny")
    for name, seed in (("other", 1), ("biased", 2)):
        shutil.copytree(tiny, folder / name)
        weights = load_file(folder / name / "model.safetensors")
        made = torch.Generator().manual_seed(seed)
        weights = {k: torch.randn(v.shape, generator=made) * 0.02 + (v.ndim == 1) for k, v in weights.items()}
        if name == "biased":
            config = json.loads((folder / name / "config.json").read_text())
            (folder / name / "config.json").write_text(json.dumps({**config, "attention_bias": True}))
            for key in [k for k in weights if "self_attn" in k]:
                weights[key.replace(".weight", ".bias")] = torch.zeros(weights[key].shape[0])
        save_file(weights, folder / name / "model.safetensors", metadata={"format": "pt"})
    write_adapter(folder / "tiny", folder / "adapter")
    repository = folder / "hub" / "models--some--tiny"
    for reference, source in (("first", "tiny"), ("second", "other")):
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / reference).write_text(f"c0ffee{reference}")
        shutil.copytree(folder / source, repository / "snapshots" / f"c0ffee{reference}")


def write_adapter(base: Path, folder: Path) -> None:
    """Write an adapter as the usual recipe makes one for a base, of other values."""
    made, tensors = torch.Generator().manual_seed(3), {}
    for name, weight in load_file(base / "model.safetensors").items():
        if name.endswith("_proj.weight"):
            module, (out, inner) = f"base_model.model.{name.removesuffix('.weight')}", weight.shape
            tensors[f"{module}.lora_A.weight"] = torch.randn(16, inner, generator=made) * 0.1
            tensors[f"{module}.lora_B.weight"] = torch.randn(out, 16, generator=made) * 0.1
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
    (folder / "adapter_config.json").write_text(json.dumps(config))


@dataclass
class Walk:
    """Runs options and remembers what came out, so that a usual value is run once."""

    files: Path
    runs: Path
    patch: pytest.MonkeyPatch
    known: dict[str, Outcome | EngineError] = field(default_factory=dict)
    made: int = 0

    def outcome(self, options: dict[str, Any], look: str, low_memory: bool = False) -> Outcome | EngineError:
        """Return what a run with these options does, or the error that refused it."""
        base = {**BASE, **(SHORT_RUN if look == "run" else {})}
        values = json.loads(json.dumps({**base, **options}).replace(SETS, self.files.as_posix()))
        key = json.dumps([values, look, low_memory], sort_keys=True)
        if key not in self.known:
            self.known[key] = self._run(values, look, low_memory)
        return self.known[key]

    def _run(self, values: dict[str, Any], look: str, low_memory: bool) -> Outcome | EngineError:
        self.made += 1
        try:
            recipe = codec.override(Recipe(), values)
            folder = store.create_run(recipe, self.runs / f"run-{self.made}")
            return self._look(folder, look, low_memory)
        except EngineError as error:
            return error

    def _look(self, folder: Path, look: str, low_memory: bool) -> Outcome:
        writer = EventWriter(folder)
        job = Job(folder, read_job(folder), writer, Requests(Control(folder)), Vitals(writer))
        if look == "data":
            return of_data(job)
        threads = torch.get_num_threads()
        with self.patch.context() as patch:
            found: Outcome = {}
            if look == "steps":
                patch.setattr(
                    start.train, "train", lambda run: found.update(of_steps(run, patch, low_memory))
                )
            try:
                end = start.train_job(job)
            finally:
                torch.set_num_threads(threads)
        return found or of_run(folder, end)


def of_data(job: Job) -> Outcome:
    """Return the examples that a run would train and measure on."""
    recipe = store.load_recipe(job.folder)
    data = start.read_data(job, recipe, Path(recipe.model.path))

    def plain(examples: list[Any]) -> list[tuple[bytes, bytes]]:
        return sorted((e.ids.tobytes(), e.trained.tobytes()) for e in examples)

    return {"train": plain(data.train), "validation": plain(data.validation), "rows": data.report.rows}


def of_steps(run: Training, patch: pytest.MonkeyPatch, low_memory: bool) -> Outcome:
    """Take a few steps of a run that is ready to train, and return all that an option may change in them."""
    pieces: list[int] = []
    real = loop.loss_sum

    def counted(base: Any, batch: Any, *rest: Any) -> torch.Tensor:
        pieces.append(len(batch.lengths))
        if low_memory and len(batch.lengths) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return real(base, batch, *rest)

    patch.setattr(loop, "loss_sum", counted)
    run.model.train()
    for _ in range(LEARNT):
        loop.take_step(run)
    trained = {name: p for name, p in run.model.named_parameters() if p.requires_grad}
    weights = hashlib.sha256(b"".join(p.detach().float().numpy().tobytes() for p in trained.values()))
    total = run.table.total_steps
    config = next(iter(getattr(run.model, "peft_config", {}).values()), None)
    return {
        "name": run.recipe.name,
        "losses": [e.loss for e in events_of(run.job.folder) if e.type == "step"],
        "weights": weights.hexdigest(),
        "parameters": {name: tuple(p.shape) for name, p in trained.items()},
        "ranks": getattr(config, "target_r", None),
        "dtypes": sorted({str(p.dtype) for p in run.base.parameters()}),
        "attention": run.base.config._attn_implementation,
        "checkpointing": any(getattr(m, "gradient_checkpointing", False) for m in run.base.modules()),
        "rates": [optim.set_rate(run.optimizer, run.recipe.training, s, total) for s in range(1, total + 1)],
        "total_steps": total,
        "batches": [run.table.micro_batches(step) for step in (1, 2)],
        "pieces": pieces,
        "threads": torch.get_num_threads(),
        "processes": crew.wanted_processes(run.job.spec.launcher, resumed=False)
        + (run.job.spec.launcher["kind"],),
    }


def of_run(folder: Path, end: Finished | Stopped) -> Outcome:
    """Return what a run that went to its end did, from its events and its folder."""
    events = events_of(folder)
    steps = lambda kind: [e.step for e in events if e.type == kind]  # noqa: E731
    return {
        "steps_taken": max(steps("step")),
        "evaluated": steps("evaluated"),
        "asked": sorted({e.prompt for e in events if e.type == "sample_generated"}),
        "saved": steps("checkpoint_saved"),
        "kept": [check.step_of(path) for path in check.checkpoint_folders(folder)],
        "result_step": end.adapter_step if isinstance(end, Finished) else None,
    }


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Any:
    files, runs = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("runs")
    write_sets(files, tiny_model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_CACHE", str(files / "hub"))
        patch.setattr(memory, "free", lambda device: None)
        yield Walk(files, runs, patch)


def look_of(row: Row, path: str) -> str:
    """Return how far a run has to go for what a row looks at: data, steps or run."""
    if row.must in OF_A_RUN:
        return "run"
    of_data_alone = row.must in OF_THE_DATA or (row.must == STOPS and path in DATA)
    return "data" if of_data_alone else "steps"


def test_that_every_option_has_a_row() -> None:
    fields = {spec.path for spec in field_specs()}
    assert fields - set(ROWS) == set(), "add a row to option_rows.py for each"
    assert set(ROWS) - fields == set(), "these options are gone"
    assert set(SOURCES) == set(SourceEntry.model_fields)
    assert all(row.a != row.b for row in ROWS.values())


@pytest.mark.parametrize("path", list(ROWS))
def test_that_another_value_changes_the_run_or_is_refused_by_name(walk: Walk, path: str) -> None:
    row = ROWS[path]
    look = look_of(row, path)
    a, b = (walk.outcome({**row.given, path: value}, look, row.low_memory) for value in (row.a, row.b))
    compare(a, b, row, path)


CHOICES = [spec for spec in field_specs() if len(spec.choices) > 2 and spec.path != "data.format"]


@pytest.mark.parametrize("spec", CHOICES, ids=lambda spec: spec.path)
def test_that_each_choice_does_something_of_its_own_or_is_refused_by_name(walk: Walk, spec: Any) -> None:
    row, seen = ROWS[spec.path], {}
    for value in spec.choices:
        if value == "auto":
            continue  # it is one of the others, as the machine has it
        found = walk.outcome({**row.given, spec.path: value}, look_of(row, spec.path), row.low_memory)
        if isinstance(found, EngineError):
            assert spec.path.startswith("data.") or (found.field == spec.path and found.hint), found
        else:
            twin = next((other for other, key in seen.items() if key == found[row.must]), None)
            assert twin is None, f"{spec.path}: {value} does what {twin} does"
            seen[value] = found[row.must]


@pytest.mark.parametrize("name", list(SOURCES))
def test_that_what_differs_for_one_file_changes_its_rows(walk: Walk, name: str) -> None:
    file, first, second, must = SOURCES[name]
    path = f"{SETS}/{file}"
    entries = [{} if value in (None, {}) else {path: {name: value}} for value in (first, second)]
    given = {"data.train": [path, f"{SETS}/other.jsonl"], "data.validation_split": 0.0}
    a, b = (walk.outcome({**given, "data.sources": entry}, "data") for entry in entries)
    compare(a, b, Row(first, second, must), f"data.sources.{name}")


def compare(a: Outcome | EngineError, b: Outcome | EngineError, row: Row, path: str) -> None:
    """Assert that two outcomes differ as a row says."""
    if row.must == REFUSED:
        assert not isinstance(a, EngineError), a
        assert isinstance(b, EngineError) and b.field == path and b.hint, b
        return
    if row.must == STOPS:
        (stopped,) = [found for found in (a, b) if isinstance(found, EngineError)]
        assert stopped.message and stopped.hint
        return
    assert not isinstance(a, EngineError), a
    assert not isinstance(b, EngineError), b
    assert a[row.must] != b[row.must], f"{path}: {row.a!r} and {row.b!r} do the same"
    for key in row.same:
        assert a[key] == b[key], f"{path} changes {key} too"


@pytest.mark.parametrize("look", ["data", "steps", "run"])
def test_that_the_same_options_do_the_same(walk: Walk, look: str) -> None:
    first = walk.outcome({}, look)
    walk.known.clear()
    assert isinstance(first, dict) and walk.outcome({}, look) == first


def test_that_the_walk_sees_an_option_that_does_nothing(walk: Walk) -> None:
    a = walk.outcome({"training.power": 2.0}, "steps")  # the cosine has no power
    b = walk.outcome({"training.power": 1.0}, "steps")
    with pytest.raises(AssertionError, match="do the same"):
        compare(a, b, Row(2.0, 1.0, "rates"), "training.power")
