"""What the gate lets through or not, in real attempts on a tiny model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from engine import durable
from engine.errors import EngineError
from engine.jobs.spec import read_job
from engine.runs import resume_gate, versions
from engine.runs.event_log import EventWriter
from engine.runtime import child, start
from engine.runtime.control import Control
from engine.runtime.job import Job, Requests
from engine.runtime.vitals import Vitals
from tests.integration.attempts import attempt, killed_attempt
from tests.integration.conftest import MakeRun, events_of, losses

QUICK: dict[str, Any] = {
    "data__validation_split": 0.0,
    "training__max_steps": 6,
    "training__lr_scheduler_type": "constant",
    "checkpoint__save_steps": 2,
}


def rates(folder: Path) -> dict[int, float]:
    return {e.step: e.learning_rate for e in events_of(folder) if e.type == "step"}


def test_f39_f38_that_other_live_values_and_versions_count_from_the_resume_on(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(**QUICK)
    killed_attempt(folder, monkeypatch, step=4)
    first = losses(folder)
    kept = {name: (folder / name).read_bytes() for name in ("recipe.yaml", "job.json")}
    noted = json.loads((folder / "environment.json").read_bytes())
    durable.write_json(folder / "environment.json", {**noted, "versions": {"torch": "2.10.0"}})
    values = {"training.learning_rate": 1e-4, "checkpoint.save_steps": 3}
    assert resume_gate.pass_through(folder, values).step == 2
    assert attempt(folder).type == "finished"
    assert {n: (folder / n).read_bytes() for n in kept} == kept
    told = [e for e in events_of(folder) if e.type == "warned" and e.code == "RUN-06"]
    assert [e.message for e in told] == ["Other versions than before: torch 2.10.0 -> none."]

    now = rates(folder)
    assert [now[s] for s in (1, 2)] == [5e-3] * 2 and [now[s] for s in (3, 4, 5, 6)] == [1e-4] * 4
    assert losses(folder)[3] == first[3]  # the step after a save is computed with the weights of the save
    saves = [e.step for e in events_of(folder) if e.type == "checkpoint_saved"]
    assert saves == [2, 3, 6]


def test_f37_that_a_changed_base_ends_a_resume_before_it_is_loaded(
    make_run: MakeRun, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_model, base)
    folder = make_run(**QUICK, model__path=str(base))
    killed_attempt(folder, monkeypatch, step=4)
    weights = base / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    monkeypatch.setattr(start, "load_base", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(
        EngineError, match=r"model.safetensors of the base model changed since step 2.*MODEL-08"
    ):
        attempt(folder)
    (one,) = resume_gate.examine(folder).findings
    assert one.code == "MODEL-08"


def job_of(folder: Path) -> Job:
    writer = EventWriter(folder)
    (folder / "control").mkdir(exist_ok=True)
    return Job(folder, read_job(folder), writer, Requests(Control(folder)), Vitals(writer))


def test_s08_that_a_child_ends_with_the_reason_where_a_library_is_too_old(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = versions.version_of
    monkeypatch.setattr(versions, "version_of", lambda name: "2.9.1" if name == "torch" else real(name))
    closing = child._work(job_of(make_run(**QUICK)))
    assert (closing.type, closing.code) == ("failed", "RUN-06")
    assert closing.message == "A library is too old: torch 2.9.1, 2.10 needed." and "--setup" in closing.hint


def test_f42_that_a_child_does_nothing_in_a_folder_of_a_later_format(make_run: MakeRun) -> None:
    folder = make_run(**QUICK)
    job = json.loads((folder / "job.json").read_bytes())
    (folder / "job.json").write_text(json.dumps({**job, "format": 2}))
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(EngineError, match="RUN-12"):
        child.run_job(folder)
    assert sorted(path.name for path in folder.iterdir()) == before
