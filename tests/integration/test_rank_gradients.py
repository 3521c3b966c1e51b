"""What two processes compute together is what one computes alone over the same rows."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.runtime import evaluate, train
from engine.runtime.crew import Crew
from engine.runtime.training import Training
from tests.integration.conftest import MakeRun, MakeTraining

WORKER = Path(__file__).with_name("rank_worker.py")
FSDP = {"launcher__strategy": "fsdp", "training__on_out_of_memory": "fail"}
FULL = {"adapter__method": "full"}


@dataclass(frozen=True)
class Case:
    """Options of a run whose batch `rows` is shared out, and what is asked of it."""

    rows: int
    options: dict[str, Any]
    step: int = 1
    padded: bool = False
    most_rows: int = 0  # that rank 1 has memory for
    within: float = 1e-6  # of the gradient; two ways to sum in bf16 round differently


LAST_OF_EPOCH = 12  # of 45 rows by four: one row is left for it, and rank 1 has none
CASES: dict[str, Case] = {
    "accumulated": Case(6, {"training__gradient_accumulation_steps": 2}),
    "packed": Case(2, {"data__packing": True, "data__max_length": 120}),
    "short": Case(4, {"data__validation_split": 0.25}, step=LAST_OF_EPOCH),
    "full": Case(4, FULL),
    "memory": Case(8, {"training__optim": "sgd"}, most_rows=1),
    "fsdp": Case(6, {**FSDP, "training__gradient_accumulation_steps": 2}),
    "fsdp short": Case(4, {**FSDP, "data__validation_split": 0.25}, step=LAST_OF_EPOCH),
    "fsdp padded": Case(2, {**FSDP, "data__packing": True, "data__max_length": 120}, padded=True),
    "fsdp twice": Case(4, {**FSDP, "training__gradient_checkpointing": "all"}),
    "fsdp bf16": Case(6, {**FSDP, "training__precision": "bf16"}, within=0.02),
    "fsdp full": Case(4, {**FSDP, **FULL}),
}


@dataclass(frozen=True)
class Shown:
    """Gradients, or trained values after two steps, with the loss of the step and of validation."""

    tensors: dict[str, torch.Tensor]
    loss: float | None
    validation: float | None
    cuts: tuple[int, ...] = ()


@pytest.fixture(scope="module")
def shown() -> dict[str, tuple[Shown, Shown]]:
    return {}


@pytest.fixture
def both(
    make_run: MakeRun, make_training: MakeTraining, tmp_path: Path, shown: dict[str, tuple[Shown, Shown]]
) -> Callable[[str], tuple[Shown, Shown]]:
    """Return a function that gives what one process and what two show of a case; all are done at once."""
    if not shown:
        cases = []
        for name, case in CASES.items():
            values = tmp_path / f"{name} values.safetensors"
            alone = _alone(make_training, case, values)
            shown[name] = (alone, alone)
            folder = make_run(
                **_common(case),
                launcher__processes=2,
                training__per_device_train_batch_size=case.rows // 2,
                **case.options,
            )
            cases.append(
                {
                    "folder": str(folder),
                    "strategy": case.options.get("launcher__strategy", "ddp"),
                    "step": case.step,
                    "padded": case.padded,
                    "most_rows": case.most_rows,
                    "values": str(values),
                    "out": str(tmp_path / f"{name}.safetensors"),
                }
            )
        run_ranks(cases, tmp_path)
        for name, each in zip(CASES, cases, strict=True):
            told = json.loads(Path(each["out"]).with_suffix(".json").read_text())
            together = Shown(load_file(each["out"]), told["loss"], told["validation"], tuple(told["cuts"]))
            shown[name] = (shown[name][0], together)
    return lambda name: shown[name]


def _common(case: Case) -> dict[str, Any]:
    return {"adapter__lora_dropout": 0.0} if "adapter__method" not in case.options else {}


def _alone(make_training: MakeTraining, case: Case, values: Path) -> Shown:
    """Show a case in this process, and keep the values it began with."""
    options = {k: v for k, v in case.options.items() if not k.startswith("launcher")}
    full = "adapter__method" in options
    run = make_training(
        training__per_device_train_batch_size=case.rows,
        **({"adapter__lora_dropout": 0.05} if full else {}),  # its default: the method has none
        **options,
    )
    begin_alive(run)
    save_file({n: p.detach().clone() for n, p in run.model.named_parameters() if p.requires_grad}, values)
    if case.padded:
        run.layout = replace(run.layout, flat=False)
    loss = None
    if case.most_rows:
        train.take_step(run)
        train.take_step(run)
        found = {n: p.detach() for n, p in run.model.named_parameters() if p.requires_grad}
    else:
        loss, _ = train.gradients(
            run, case.step, [[run.data.train[i] for i in b] for b in run.table.micro_batches(case.step)]
        )
        found = {n: p.grad for n, p in run.model.named_parameters() if p.grad is not None}
    run.model.eval()
    return Shown({n: t.clone() for n, t in found.items()}, loss, evaluate.validation_loss(run))


def begin_alive(run: Training) -> None:
    torch.manual_seed(5)
    for name, parameter in run.model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.02)


def run_ranks(cases: list[dict[str, Any]], folder: Path) -> None:
    """Run the cases in two processes that meet as those of a run do."""
    (folder / "cases.json").write_text(json.dumps(cases))
    crew = Crew(folder, 2)
    root = str(Path(__file__).parents[2])
    ranks = []
    for rank in range(2):
        environment = {**os.environ, **crew.environment(rank), "PYTHONPATH": root, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(WORKER), str(folder / "cases.json")]
        with open(folder / f"rank-{rank}.log", "wb") as log:
            ranks.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    ended = [rank.wait(300) for rank in ranks]
    crew.end()
    assert ended == [0, 0], "".join((folder / f"rank-{r}.log").read_text()[-3000:] for r in range(2))


@pytest.mark.parametrize("name", CASES)
def test_that_two_ranks_compute_what_one_process_does(
    both: Callable[[str], tuple[Shown, Shown]], name: str
) -> None:
    within = CASES[name].within
    alone, together = both(name)
    assert together.tensors.keys() == alone.tensors.keys()
    for tensor, expected in alone.tensors.items():
        assert expected.abs().max() > 1e-4, f"{tensor}: nothing to compare"
        limit = within if within == 1e-6 else within * expected.abs().max()
        assert (together.tensors[tensor] - expected).abs().max() <= limit, tensor
    if alone.loss is not None:
        assert together.loss == pytest.approx(alone.loss, rel=within)
    assert together.validation == pytest.approx(alone.validation, rel=within)


def test_that_one_rank_cuts_its_rows_alone_when_its_memory_runs_out(
    both: Callable[[str], tuple[Shown, Shown]],
) -> None:
    _, together = both("memory")
    assert together.cuts == (1, 4)
