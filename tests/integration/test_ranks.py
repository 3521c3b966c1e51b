"""Whole runs in two processes: what one of them writes, how they stop, what is left when one is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import faults
from engine.jobs import lock, process
from engine.runs import check, store
from engine.runs.fsck import fsck
from tests.integration.conftest import MakeRun, events_of, losses, run_to_end, wait_for

RESULT = "adapter/adapter_model.safetensors"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
MakeRanks = Callable[..., Path]


@pytest.fixture
def make_ranks(make_run: MakeRun) -> MakeRanks:
    """Return a function that makes a run of two processes; a step of both is one of eight rows."""

    def make(**options: Any) -> Path:
        return make_run(**{"launcher__kind": "torchrun", "launcher__processes": 2, **options})

    return make


def family(child: process.JobProcess) -> list[psutil.Process]:
    """Return a child with the ranks it started."""
    first = psutil.Process(child.pid)
    return [first, *(p for p in first.children() if "engine" in _words(p))]


def _words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # such as `nvidia-smi`, which is gone again; a zombie is one, too
        return ""


def all_gone(processes: list[psutil.Process], seconds: float) -> bool:
    """Return whether all processes end within so many seconds; one that is not yet collected has ended."""
    deadline = time.monotonic() + seconds
    while any(_runs(each) for each in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _runs(each: psutil.Process) -> bool:
    try:
        return each.is_running() and each.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_step(number: int) -> Callable[[Any], bool]:
    return lambda event: event.type == "step" and event.step >= number


@pytest.fixture(scope="module")
def remembered() -> dict[str, Any]:
    return {}


@pytest.fixture
def uninterrupted(make_ranks: MakeRanks, remembered: dict[str, Any]) -> Path:
    """Return a run of two processes from start to end, looked at while it goes."""
    if "folder" not in remembered:
        folder = make_ranks()
        child = process.start(folder)
        wait_for(folder, is_step(2))
        ranks = family(child)
        remembered["ranks"] = len(ranks)
        remembered["listening"] = [
            c.laddr.ip for p in ranks for c in p.net_connections() if c.status == psutil.CONN_LISTEN
        ]
        child.wait(120)
        remembered["gone"] = all_gone(ranks, 5)
        remembered["folder"] = folder
    return Path(remembered["folder"])


@pytest.fixture
def alone(make_run: MakeRun, remembered: dict[str, Any]) -> Path:
    """Return a run of one process over all eight rows of each step, without dropout."""
    if "alone" not in remembered:
        folder = make_run(training__per_device_train_batch_size=8, adapter__lora_dropout=0.0)
        assert run_to_end(folder) == "finished"
        remembered["alone"] = folder
    return Path(remembered["alone"])


def test_that_two_processes_follow_one_with_twice_the_batch_and_it_can_go_on_for_them(
    make_ranks: MakeRanks, alone: Path
) -> None:
    folder = make_ranks(adapter__lora_dropout=0.0)
    child = process.start(folder)
    wait_for(folder, is_step(8))
    child.terminate()
    assert child.wait(300) == 0
    assert 8 <= max(losses(folder)) < max(losses(alone))
    command = [sys.executable, "-m", "engine", "resume", str(folder), "--processes", "1", "--json"]
    resumed = subprocess.run(command, env=ENVIRONMENT, capture_output=True, timeout=180)
    assert resumed.returncode == 0, resumed.stderr
    assert store.state_of(folder) == "finished"
    assert any("1 and not 2 processes" in e.message for e in events_of(folder) if e.type == "warned")
    one, both = losses(alone), losses(folder)
    assert one.keys() == both.keys()
    assert [both[s] for s in both] == pytest.approx([one[s] for s in one], abs=1e-4)
    measured = [{e.step: e.loss for e in events_of(f) if e.type == "evaluated"} for f in (alone, folder)]
    assert measured[1] == pytest.approx(measured[0], abs=1e-4)


def test_f43_that_only_rank_0_writes_and_no_port_is_open_beyond_this_machine(
    uninterrupted: Path, remembered: dict[str, Any]
) -> None:
    assert remembered["ranks"] == 2 and remembered["gone"]
    assert remembered["listening"] and set(remembered["listening"]) == {"127.0.0.1"}
    lines = (uninterrupted / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == list(range(len(lines)))
    assert sum(json.loads(line)["type"] == "started" for line in lines) == 1
    assert fsck(uninterrupted).ok
    assert json.loads((uninterrupted / "exit.json").read_text())["status"] == "finished"
    assert any("2 processes (ddp, gloo)" in e.message for e in events_of(uninterrupted) if e.type == "log")


def test_f43_that_a_killed_rank_ends_the_run_in_words_with_a_sound_save_to_go_on_from(
    make_ranks: MakeRanks, uninterrupted: Path
) -> None:
    folder = make_ranks()
    child = process.start(folder)
    wait_for(folder, is_step(4))
    ranks = family(child)
    ranks[1].kill()
    killed = time.monotonic()
    assert child.wait(120) == 1
    assert time.monotonic() - killed < 30
    assert all_gone(ranks, 1)
    note = json.loads((folder / "exit.json").read_text())
    assert (note["status"], note["code"]) == ("failed", "RUN-01")
    assert "Process 2 of 2" in note["message"] and "SIGKILL" in note["message"] and "Resume" in note["hint"]
    saved, damaged = check.last_checkpoint(folder)
    last = max(losses(folder))
    assert not damaged and saved is not None and check.step_of(saved) == last
    assert run_to_end(folder) == "finished"
    assert (folder / RESULT).read_bytes() == (uninterrupted / RESULT).read_bytes()


def test_that_a_rank_that_fails_says_why_to_rank_0_and_writes_nothing(
    make_ranks: MakeRanks, tmp_path: Path
) -> None:
    folder = make_ranks()
    (folder / "recipe.yaml").chmod(0o644)
    (folder / "recipe.yaml").write_text("data: {train: [x.jsonl], trian: 1}\n")
    before = sorted(folder.rglob("*"))
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    place = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "TUNESMITH_MEETING": str(meeting)}
    rank = subprocess.Popen(
        [sys.executable, "-m", "engine", "job", str(folder)],
        env={**ENVIRONMENT, **place},
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert rank.wait(120) == 1
    words = json.loads((meeting / "rank-1.json").read_text())
    assert words["code"] == "REC-01" and words["field"] == "data.trian" and words["hint"]
    assert sorted(folder.rglob("*")) == before


def test_f43_that_killing_rank_0_takes_the_others_along(make_ranks: MakeRanks) -> None:
    folder = make_ranks()
    child = process.start(folder)
    wait_for(folder, lambda e: e.type == "checkpoint_saved")
    ranks = family(child)
    assert process.kill(folder)
    child.wait(10)
    assert all_gone(ranks, 10) and not lock.is_held(folder)
    assert store.state_of(folder) == "crashed"
    assert check.last_checkpoint(folder)[0] is not None


def test_f43_f08_that_a_pause_a_full_disk_and_a_stop_are_obeyed_by_all_and_change_nothing(
    make_ranks: MakeRanks, uninterrupted: Path
) -> None:
    folder = make_ranks()
    child = process.start(folder, environment={faults.VARIABLE: "ckpt.file:ENOSPC@2"})
    wait_for(folder, is_step(2))
    process.send(folder, "pause")  # which saves, and finds the disk full
    full = wait_for(folder, lambda e: e.type == "paused")
    process.send(folder, "evaluate")  # asked of all ranks, of which one waits alone
    time.sleep(1.0)
    assert store.state_of(folder) == "paused" and len(family(child)) == 2
    assert max(losses(folder)) == full.step and check.last_checkpoint(folder)[0] is None
    process.send(folder, "resume")
    wait_for(folder, lambda e: e.type == "paused" and e.seq > full.seq)  # the one that was asked for
    assert store.state_of(folder) == "paused" and len(family(child)) == 2
    process.send(folder, "resume")
    wait_for(folder, lambda e: e.type == "evaluated")
    ranks = family(child)
    process.send(folder, "stop")
    assert child.wait(300) == 0
    assert store.state_of(folder) == "stopped" and all_gone(ranks, 5)
    events = events_of(folder)
    told = [e for e in events if e.type == "warned" and e.code == "DISK-01"]
    assert len(told) == 1 and "needed" in told[0].message and str(folder) in told[0].message
    kinds = [e.type for e in events if e.type in ("paused", "resumed", "checkpoint_saved")]
    assert kinds[:5] == ["paused", "resumed", "checkpoint_saved", "paused", "resumed"]
    assert run_to_end(folder) == "finished"
    assert losses(folder) == losses(uninterrupted) and fsck(folder).ok
    assert (folder / RESULT).read_bytes() == (uninterrupted / RESULT).read_bytes()


def test_that_all_ranks_agree_on_the_best_and_end_early_together(make_ranks: MakeRanks) -> None:
    folder = make_ranks(
        training__early_stopping_patience=1,
        training__early_stopping_threshold=100.0,
        evaluation__eval_steps=2,
    )
    child = process.start(folder)
    wait_for(folder, is_step(1))
    ranks = family(child)
    process.send(folder, "evaluate")
    assert child.wait(120) == 0 and all_gone(ranks, 5)
    finished = events_of(folder)[-1]
    assert finished.type == "finished" and "Stopped early at step" in finished.reason
    assert finished.steps == max(losses(folder)) < 12


def test_that_weights_shared_out_with_fsdp_save_and_go_on(make_ranks: MakeRanks, alone: Path) -> None:
    from safetensors.torch import load_file

    folder = make_ranks(
        launcher__strategy="fsdp", training__on_out_of_memory="fail", adapter__lora_dropout=0.0
    )
    child = process.start(folder)
    wait_for(folder, is_step(5))
    process.send(folder, "stop")
    assert child.wait(300) == 0
    assert run_to_end(folder) == "finished"
    whole, found = losses(alone), losses(folder)
    assert [found[s] for s in found] == pytest.approx([whole[s] for s in whole], abs=1e-3)
    shared, plain = load_file(folder / RESULT), load_file(alone / RESULT)
    assert {n: t.shape for n, t in shared.items()} == {n: t.shape for n, t in plain.items()}
    assert max(float((shared[n] - plain[n]).abs().max()) for n in plain) < 1e-2
    base = [e.text for e in events_of(folder) if e.type == "sample_generated" and e.step == 0]
    assert base == [e.text for e in events_of(alone) if e.type == "sample_generated" and e.step == 0]


def test_that_full_finetuning_shared_out_goes_on_and_its_result_is_a_plain_model(
    make_ranks: MakeRanks, make_run: MakeRun
) -> None:
    from transformers import AutoModelForCausalLM

    options = {"adapter__method": "full", "training__learning_rate": 1e-3, "training__max_steps": 6}
    whole = make_run(training__per_device_train_batch_size=8, **options)
    assert run_to_end(whole) == "finished"
    shared = make_ranks(launcher__strategy="fsdp", training__on_out_of_memory="fail", **options)
    child = process.start(shared)
    wait_for(shared, is_step(2))
    process.send(shared, "stop")
    assert child.wait(300) == 0
    assert run_to_end(shared) == "finished"
    assert losses(shared) == pytest.approx(losses(whole), abs=1e-3)
    plain, result = (
        AutoModelForCausalLM.from_pretrained(folder / "model").state_dict() for folder in (whole, shared)
    )
    assert plain.keys() == result.keys()
    assert max(float((plain[n] - result[n]).abs().max()) for n in plain) < 1e-3


def test_that_torchrun_itself_can_start_the_ranks(make_ranks: MakeRanks, uninterrupted: Path) -> None:
    folder = make_ranks()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-addr", "127.0.0.1", "--master-port", str(_free_port())]
    started = subprocess.run(
        [*command, "-m", "engine", "job", str(folder)], env=ENVIRONMENT, capture_output=True, timeout=180
    )
    assert started.returncode == 0, started.stderr[-2000:]
    assert store.state_of(folder) == "finished"
    assert (folder / RESULT).read_bytes() == (uninterrupted / RESULT).read_bytes()


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
