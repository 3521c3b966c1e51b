"""F27 for what is no training: evaluations and trials wait for their GPU, a chat asks before it comes."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import cli
from engine.errors import EngineError
from engine.events import Finished, Paused, Resumed
from engine.jobs import gpu_lock, lock, process
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import advance, gpu_gate, probe, queue, start_gate, store
from engine.runs.event_log import EventWriter
from engine.runtime import afterwards, child, device
from tests.reliability.resume.test_devices import make, one_gpu, started, until

__all__ = ["one_gpu"]
GPU = "GPU-fake-1"


@pytest.fixture
def training(one_gpu: None, tmp_path: Path) -> Iterator[Path]:
    """Give a run of another home whose child works on the one GPU."""
    run = make("night-run", tmp_path / "elsewhere")
    process.start(run, environment=advance.environment_of(("0",)))
    until(lambda: started(run))
    yield run
    (run / "end").write_text("finished")
    until(lambda: not lock.is_held(run))


def test_f27_that_an_evaluation_and_a_trial_are_told_of_a_training_before_they_begin(
    training: Path, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = gpu_gate.examine()
    (one,) = found.findings
    assert (one.code, one.message, one.way_on) == ("GPU-04", "night-run uses the GPU.", "Start beside it")
    assert "use the CPU" in one.hint and found.environment[gpu_lock.BESIDE] == "1"

    assert cli.main(["evaluate", str(tiny_model), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)["error"]
    assert told["code"] == "GPU-04" and "--anyway" in told["hint"]
    from engine.verbs.evaluate import place, tell_of_the_cpu

    assert place("cpu", anyway=False) == {advance.VISIBLE: "", gpu_lock.GIVEN: ""}
    assert place("auto", anyway=True) == found.environment
    tell_of_the_cpu()
    assert "night-run uses the GPU. The CPU answers" in capsys.readouterr().err

    recipe = codec.override(Recipe(), {"data.train": ["rows.jsonl"], "model.path": str(tiny_model)})
    with pytest.raises(EngineError, match="GPU-04") as refused:
        probe.start(recipe, 2)
    assert "anyway" not in refused.value.hint
    assert gpu_gate.working_on([GPU, ""]) == [training]


def test_f27_that_a_paused_training_leaves_its_gpu_to_others(training: Path) -> None:
    writer = EventWriter(training)
    writer.write(Paused(step=1))
    found = gpu_gate.examine()
    assert found.findings == () and found.environment[gpu_lock.BESIDE] == "1"
    assert gpu_gate.working_on([GPU]) == []
    writer.write(Resumed(step=1))
    writer.close()
    assert gpu_gate.working_on([GPU]) == [training]


def test_f27_that_a_chat_left_to_itself_answers_on_the_cpu_meanwhile(
    training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(device, "probe", lambda: SimpleNamespace(devices=[SimpleNamespace(uuid=GPU)]))
    asked: list[str] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(asked.append("asked")))
    facts: Any = SimpleNamespace(parameters=1000)
    assert device.choose_answering(facts, "auto").device.type == "cpu" and asked == []
    device.choose_answering(facts, "cuda")
    assert asked == ["asked"]  # a person let it come beside the training


@pytest.mark.parametrize("kind", child.ON_GPU)
def test_f27_that_a_training_waits_for_an_evaluation_or_trial(
    one_gpu: None, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []

    def work(job: Any) -> Finished:
        run = make(f"waits-{kind}")
        queue.add(run)
        seen.append((gpu_lock.holder(GPU), advance.advance(), queue.read().queued == (run,)))
        return Finished(steps=0, seconds=0.0)

    monkeypatch.setattr(child, "_kinds", lambda: {kind: work})
    monkeypatch.setenv(gpu_lock.GIVEN, GPU)
    job: Any = SimpleNamespace(folder=tmp_path / "job", spec=SimpleNamespace(kind=kind), alone=False)
    assert isinstance(child._work(job), Finished)
    assert seen == [(tmp_path / "job", [], True)]
    assert not gpu_lock.is_held(GPU)
    with gpu_lock.held(tmp_path / "other", 1):
        refused = child._work(job)
    assert refused.code == "GPU-04" and "other uses this GPU" in refused.message
    assert store.state_of(queue.read().queued[0]) == "queued"


def test_f27_that_what_a_run_measures_at_its_end_is_let_onto_its_own_gpu(
    one_gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []

    def start(folder: Path, *, environment: dict[str, str]) -> None:
        given.append(environment)
        raise EngineError("Not today.", "Later.", "DISK-01")

    monkeypatch.setattr(afterwards, "process", SimpleNamespace(start=start))
    monkeypatch.setattr(afterwards, "let_go", lambda run: None)
    run = make("measures")
    job = SimpleNamespace(folder=run, phase=lambda words: None, write=lambda event: None)
    recipe = Namespace(evaluation=Namespace(benchmarks=["arithmetic-2-digits"]))
    afterwards.measure(Namespace(recipe=recipe, ranks=Namespace(first=True), job=job))  # type: ignore[arg-type]
    assert given == [{gpu_lock.GIVEN: ""}]
    monkeypatch.setenv(gpu_lock.GIVEN, "")
    with gpu_lock.held(run, 1) as mine:
        assert list(mine) == [] and os.environ[gpu_lock.GIVEN] == ""
    assert start_gate.let_through(gpu_gate.examine()) == advance.environment_of(("0",))
