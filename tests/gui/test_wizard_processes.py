"""Several processes in the wizard: offered where there are several GPUs, for experts elsewhere."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from app.pages.wizard import processes
from app.pages.wizard.training_step import TrainingStep
from app.pages.wizard.wizard import WizardPage
from app.services import Services
from engine.hardware.devices import Machine, probe
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from tests.gui.wizard_place import open_page, ready, settle, write_rows

pytestmark = pytest.mark.qt_log_ignore("This plugin does not support")


def driver_with(gpus: int, memory: int = 24 * 10**9) -> Any:
    """Return what pynvml answers on a machine with so many GPUs."""
    return SimpleNamespace(
        NVMLError=OSError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlSystemGetDriverVersion=lambda: b"580.95",
        nvmlDeviceGetCount=lambda: gpus,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=memory, free=memory, used=0),
        nvmlDeviceGetName=lambda handle: "NVIDIA GeForce RTX 4090",
        nvmlDeviceGetUUID=lambda handle: f"GPU-{handle}",
        nvmlDeviceGetCudaComputeCapability=lambda handle: (8, 9),
    )


@pytest.fixture
def page(qtbot: Any, services: Services) -> WizardPage:
    return open_page(qtbot, services)


@pytest.fixture
def step(page: WizardPage) -> TrainingStep:
    page.go_to("training")
    found = page.steps["training"]
    assert isinstance(found, TrainingStep)
    return found


def meet_machine(page: WizardPage, monkeypatch: pytest.MonkeyPatch, gpus: int, **options: Any) -> None:
    """Let the window find a machine with so many GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", driver_with(gpus, **options))
    page.services.hardware.machine = probe()
    page.services.hardware.probed.emit(page.services.hardware.machine)


def offer_of(step: TrainingStep) -> Any:
    return next((a for a in step.advice() if "GPU" in a.title), None)


def test_that_processes_are_an_experts_option_on_a_machine_without_gpus(page, step):
    page.services.hardware.machine = Machine("cpu", 8, 16, 64 * 10**9, 60 * 10**9, ())
    step.set_level("simple")
    assert step.several.isHidden() and offer_of(step) is None
    step.set_level("all")
    assert not step.several.isHidden() and not step.rows[processes.PROCESSES].isHidden()
    assert step.rows[processes.STRATEGY].isHidden()  # it says nothing of one process
    page.state.set_value(processes.PROCESSES, 2)
    assert not step.rows[processes.STRATEGY].isHidden()
    assert "share this processor" in step.several_words.text()


def test_that_several_gpus_are_offered_to_everybody_with_one_press(qtbot, page, step, monkeypatch):
    step.set_level("simple")
    assert step.several.isHidden()
    meet_machine(page, monkeypatch, 2)
    assert not step.several.isHidden() and not step.rows[processes.PROCESSES].isHidden()
    assert "2 GPUs; one of them is used" in step.several_words.text()
    offer = offer_of(step)
    assert offer.title == "2 GPUs, and one is used" and offer.action[0] == "Use all 2 GPUs"
    page.state.set_value("training.gradient_accumulation_steps", 4)
    offer_of(step).action[1]()
    recipe = page.state.recipe
    assert (recipe.launcher.kind, recipe.launcher.processes) == ("torchrun", 2)
    assert recipe.training.gradient_accumulation_steps == 2  # the same examples in a step as before
    assert "8 × 2 × 2 = 32 examples" in step.batch_words.text()
    assert offer_of(step) is None
    codec.refuse_unsupported(
        recipe.model_copy(update={"data": recipe.data.model_copy(update={"train": ["x"]})})
    )


def test_that_one_gpu_is_no_choice(page, step, monkeypatch):
    step.set_level("simple")
    meet_machine(page, monkeypatch, 1)
    assert step.several.isHidden() and offer_of(step) is None


def test_that_more_processes_than_gpus_are_told_with_the_press_that_mends_it(page, step, monkeypatch):
    meet_machine(page, monkeypatch, 2)
    page.state.set_value(processes.PROCESSES, 4)
    offer = offer_of(step)
    assert offer.kind == "bad" and offer.title == "4 processes, but 2 GPUs"
    offer.action[1]()
    assert page.state.recipe.launcher.processes == 2


def test_that_a_model_too_large_for_one_gpu_may_be_shared_out(
    qtbot, page, step, monkeypatch, tiny_model, tmp_path
):
    ready(qtbot, page, tiny_model, write_rows(tmp_path / "rows.jsonl"))
    meet_machine(page, monkeypatch, 2, memory=10**8)  # less than what any model needs
    page.state.set_value("training.seed", 3)
    settle(qtbot, page)
    offer = offer_of(step)
    assert offer.title == "Too large for one GPU"
    offer.action[1]()
    launcher = page.state.recipe.launcher
    assert (launcher.processes, launcher.strategy) == (2, "fsdp")
    assert page.state.recipe.training.on_out_of_memory == "fail"
    settle(qtbot, page)


def test_that_choosing_a_strategy_brings_what_goes_with_it(page, step):
    page.state.set_value(processes.PROCESSES, 2)
    step._on_edited(processes.STRATEGY, "fsdp")
    recipe = page.state.recipe
    assert (recipe.launcher.strategy, recipe.training.on_out_of_memory) == ("fsdp", "fail")
    step._on_edited(processes.STRATEGY, "ddp")
    assert page.state.recipe.training.on_out_of_memory == "split"
    assert processes.shared_out(page.state.recipe, 2)
    page.state.set_value("model.load_in_4bit", True)
    assert not processes.shared_out(page.state.recipe, 2)  # a quantised base cannot be shared out


@pytest.mark.parametrize(
    ("batch", "times", "before", "gpus", "after"),
    [
        (8, 4, 1, 2, (8, 2)),
        (8, 1, 1, 2, (4, 1)),
        (8, 1, 1, 3, (8, 1)),
        (4, 1, 2, 4, (2, 1)),
        (1, 8, 1, 4, (1, 2)),
    ],
)
def test_that_all_gpus_take_the_same_steps_where_that_can_be(
    batch: int, times: int, before: int, gpus: int, after: tuple[int, int]
) -> None:
    recipe = codec.override(
        Recipe(),
        {
            "training.per_device_train_batch_size": batch,
            "training.gradient_accumulation_steps": times,
            "launcher.processes": before,
        },
    )
    changed = codec.override(recipe, processes.with_all(recipe, gpus)).training
    assert (changed.per_device_train_batch_size, changed.gradient_accumulation_steps) == after
