"""What the gate before a resume finds: each thing that may not be as it was, and nothing where all is."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from app.tables.runs import state_detail, state_word
from engine.errors import EngineError
from engine.hardware.devices import Gpu, Machine
from engine.jobs.lock import FolderLock
from engine.recipe import codec
from engine.recipe.fields import FieldSpec, field_specs
from engine.runs import changes, gate_checks, resume_gate, store
from engine.runs.event_log import EventReader
from engine.runs.gate_checks import Finding
from engine.runs.history import RunHistory
from engine.verbs import runs
from tests.reliability.resume.runs_begun import begun, environment


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return begun(tmp_path)


def found(folder: Path, **values: Any) -> list[Finding]:
    return list(resume_gate.examine(folder, {k.replace("__", "."): v for k, v in values.items()}).findings)


def only(folder: Path, **values: Any) -> Finding:
    (one,) = found(folder, **values)
    return one


def flip(path: Path, at: int) -> None:
    """Change one byte, in place."""
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_that_a_run_as_it_was_goes_on_from_its_last_save(run: Path) -> None:
    verdict = resume_gate.pass_through(run)
    assert (verdict.findings, verdict.step, changes.files(run)) == ((), 8, [])


# -- F36: data ---------------------------------------------------------------------------------------------
def test_f36_data_11_when_a_byte_of_the_data_changed_the_kept_rows_are_offered(run: Path) -> None:
    flip(run.parent / "rows.jsonl", 30)
    one = only(run)
    assert (one.code, one.severity, one.message) == (
        "DATA-11",
        "warning",
        "rows.jsonl changed after step 8.",
    )
    assert "rows kept in the run" in one.hint
    resume_gate.pass_through(run)  # it asks and does not stop


def test_f36_that_data_that_is_gone_is_named(run: Path) -> None:
    (run.parent / "rows.jsonl").unlink()
    assert only(run).message == "rows.jsonl is gone after step 8."


def test_f36_that_changed_data_stops_where_the_kept_rows_cannot_be_read(run: Path) -> None:
    flip(run.parent / "rows.jsonl", 30)
    rows = run / gate_checks.ROWS
    flip(rows, rows.stat().st_size - 200)
    with pytest.raises(EngineError, match=r"cannot be read either.*DATA-11"):
        resume_gate.pass_through(run, anyway=True)


# -- F37: base model -----------------------------------------------------------------------------------------
def test_f37_model_08_when_one_byte_in_the_middle_of_a_weight_file_changed(run: Path) -> None:
    weights = run.parent / "base" / "model.safetensors"
    flip(weights, weights.stat().st_size // 2)
    one = only(run)
    assert (one.code, one.severity, one.way_on) == ("MODEL-08", "error", "")
    assert one.message == "model.safetensors of the base model changed since step 8."
    assert "new run from the adapter" in one.hint and one.file == str(weights)
    with pytest.raises(EngineError, match="MODEL-08"):
        resume_gate.pass_through(run, anyway=True)


@pytest.mark.parametrize("what", ["config.json", "model.safetensors"])
def test_f37_that_a_file_of_the_base_that_is_gone_is_named(run: Path, what: str) -> None:
    (run.parent / "base" / what).unlink()
    assert only(run).message == f"{what} of the base model is gone since step 8."


def test_f37_that_a_base_that_was_copied_back_is_the_same_base(run: Path) -> None:
    base = run.parent / "base"
    shutil.copytree(base, run.parent / "again")
    shutil.rmtree(base)
    assert "The base model is gone" in only(run).message
    (run.parent / "again").rename(base)
    assert not found(run)


def test_f37_that_the_short_digests_of_earlier_runs_are_still_compared(run: Path) -> None:
    from engine.runs.file_digests import edges_of

    weights = run.parent / "base" / "model.safetensors"
    environment(run, model={"path": str(weights.parent), "files": {weights.name: edges_of(weights)}})
    assert not found(run)
    flip(weights, 5)
    assert only(run).code == "MODEL-08"


# -- F38: versions -------------------------------------------------------------------------------------------
def test_f38_run_06_tells_old_and_new_versions_and_lets_the_run_go_on(run: Path) -> None:
    before = json.loads((run / "environment.json").read_bytes())["versions"]
    environment(run, versions={**before, "torch": "2.10.0", "peft": ""})
    one = only(run)
    now = before["torch"]
    assert (one.code, one.severity) == ("RUN-06", "warning")
    assert ("torch", "2.10.0", now) in one.table and ("peft", "none", before["peft"]) in one.table
    assert f"torch 2.10.0 -> {now}" in one.message
    resume_gate.pass_through(run)


def gpu(name: str) -> Gpu:
    return Gpu(name=name, uuid=f"GPU-{name}", total_bytes=1, free_bytes=1, driver="570.1")


@pytest.mark.parametrize(
    ("before", "devices", "told"),
    [
        ("NVIDIA H100 80GB HBM3", ("H100 80GB HBM3",), None),
        ("CPU", ("H100 80GB HBM3",), None),
        ("NVIDIA A100", ("H100 80GB HBM3",), ("device", "A100", "H100 80GB HBM3")),
        ("NVIDIA A100", (), ("device", "A100", "CPU")),
    ],
)
def test_f38_that_another_device_or_system_is_told(
    before: str, devices: tuple[str, ...], told: tuple[str, str, str] | None
) -> None:
    machine = Machine("cpu", 2, 2, 1, 1, tuple(gpu(name) for name in devices))
    then = {"versions": {}, "device": before}
    tables = [row for finding in gate_checks.of_versions(then, {}, machine) for row in finding.table]
    assert tables == ([] if told is None else [told])


def test_f38_that_another_system_is_told_but_not_a_patched_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine("cpu", 2, 2, 1, 1, ())
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setattr("platform.release", lambda: "6.1.44-amd64")
    for before, count in {"Linux-6.1.2-x86_64": 0, "Windows-11-10.0.22631": 1, "Linux-5.15.0-x86": 1}.items():
        findings = gate_checks.of_versions({"versions": {}, "platform": before}, {}, machine)
        assert len(findings) == count, before


# -- F39: recipe ---------------------------------------------------------------------------------------------
def another(spec: FieldSpec, value: Any) -> Any:
    """Return another value that the field may have."""
    special = {
        "adapter.rank_pattern": {"q_proj": 4},
        "adapter.alpha_pattern": {"q_proj": 4},
        "adapter.target_modules": ["q_proj"],
        "adapter.layers_to_transform": [0],
        "adapter.init_lora_weights": "gaussian",
        "data.columns": {"answer": "completion"},
        "data.encoding": "latin-1",
        "data.delimiter": ";",
        "data.train_on": "all",
        "data.sources": {"other.jsonl": {"share": 0.5}},
        "training.warmup_steps": 0.5,
        "data.max_length": 64,
        "launcher.processes": 2,
        "evaluation.benchmarks": ["held-out"],
    }
    if spec.path in special:
        return special[spec.path]
    if spec.kind == "boolean":
        return not value
    if spec.kind == "choice":
        return next(choice for choice in spec.choices if choice != value)
    if spec.kind in ("integer", "integer_or_auto"):
        return value + 1 if isinstance(value, int) else int(spec.minimum or 1) + 1
    if spec.kind == "number":
        return (value or 0.1) * 0.5
    if spec.kind in ("names", "paths"):
        return ["other"]
    return {"a": "b"} if spec.kind == "mapping" else "other"


def test_f39_every_field_of_the_recipe_is_live_or_fixed(run: Path) -> None:
    recipe = store.load_recipe(run)
    live, fixed = set(), set()
    for spec in field_specs():
        section = getattr(recipe, spec.section) if spec.section else recipe
        value = another(spec, getattr(section, spec.name))
        for finding in gate_checks.of_recipe(run, {spec.path: value})[1]:
            assert (finding.code, finding.fields) == ("RUN-10", (spec.path,)), finding
            (fixed if finding.severity == "error" else live).add(spec.path)
    assert live == set(changes.LIVE)
    assert live | fixed == {spec.path for spec in field_specs()}
    assert {"adapter.r", "adapter.target_modules", "training.seed", "data.train", "model.path"} <= fixed


def test_f39_run_10_names_the_fields_that_cannot_change(run: Path) -> None:
    one = only(run, adapter__r=4, training__seed=7, training__learning_rate=1e-5)
    assert one.message == "adapter.r, training.seed cannot change in a started run."
    assert one.hint == "Make a copy of the run with the new values."
    assert ("adapter.r", "16", "4") in one.table


def test_f39_that_other_live_values_are_kept_beside_what_the_run_was_begun_with(run: Path) -> None:
    before = {name: (run / name).read_bytes() for name in ("recipe.yaml", "job.json")}
    verdict = resume_gate.pass_through(run, {"training.learning_rate": "1e-5", "checkpoint.save_steps": 3})
    assert [f.severity for f in verdict.findings] == ["info"]
    resume_gate.pass_through(run, {"training.learning_rate": 1e-5})  # in force already
    resume_gate.pass_through(run, {"training.learning_rate": 2e-6})
    assert [path.name for path in changes.files(run)] == ["job-2.json", "job-3.json"]
    kept = json.loads((run / "job-2.json").read_bytes())
    assert kept["changes"] == {"training.learning_rate": 1e-5, "checkpoint.save_steps": 3}
    assert kept["from_step"] == 8
    recipe = store.load_recipe(run)
    assert (recipe.training.learning_rate, recipe.checkpoint.save_steps) == (2e-6, 3)
    assert {name: (run / name).read_bytes() for name in before} == before


@pytest.mark.parametrize(
    ("field", "severity"),
    [("adapter.r", "error"), ("data.max_length", "error"), ("training.max_grad_norm", "warning")],
)
def test_f39_that_an_edit_of_the_recipe_itself_is_seen(run: Path, field: str, severity: str) -> None:
    recipe = store.load_recipe(run)
    (run / "recipe.yaml").chmod(0o644)
    (run / "recipe.yaml").write_text(codec.dumps(codec.override(recipe, {field: 10})))
    one = only(run)
    assert (one.code, one.severity, one.fields) == ("RUN-10", severity, (field,))


def test_f39_that_kept_values_may_not_hold_what_is_fixed(run: Path) -> None:
    changes.record(run, {"adapter.r": 2}, 8)
    with pytest.raises(EngineError, match=r"job-2.json cannot be read"):
        store.load_recipe(run)
    assert only(run).code == "REC-01"


# -- saves, copies, formats --------------------------------------------------------------------------------
def test_f40_run_04_goes_on_from_the_older_save(run: Path) -> None:
    flip(run / "checkpoints" / "step-00000008" / "adapter_model.safetensors", 3)
    verdict = resume_gate.examine(run)
    (one,) = verdict.findings
    assert (one.code, one.severity, verdict.step) == ("RUN-04", "warning", 4)
    assert one.message == "The save of step 8 is damaged; step 4 is sound."


def test_f41_run_05_offers_the_beginning_where_no_save_is_sound(run: Path) -> None:
    for step in (4, 8):
        flip(run / "checkpoints" / f"step-{step:08d}" / "state.json", 0)
    one = only(run)
    assert (one.code, one.severity, one.way_on) == ("RUN-05", "error", "Start from the beginning")
    with pytest.raises(EngineError, match=r"With --anyway: start from the beginning.*RUN-05"):
        resume_gate.pass_through(run)
    assert resume_gate.pass_through(run, anyway=True).step == 0


def test_f42_run_12_a_later_format_is_looked_at_and_not_gone_on_with(run: Path) -> None:
    job = json.loads((run / "job.json").read_bytes())
    (run / "job.json").write_text(json.dumps({**job, "format": 2, "kind": "dream", "more": [1]}))
    with open(run / "events.jsonl", "ab") as log:
        log.write(b'{"type":"dreamt","time":1,"mono":1,"attempt":1,"seq":9,"of":"sheep"}\n')
    one = only(run)
    assert (one.code, one.severity, one.way_on) == ("RUN-12", "error", "")
    assert "format 2" in one.message
    (run / "job.json").write_text(json.dumps({**job, "format": 2}))  # all of it is known but the number
    assert only(run) == one
    summary = store.summary(run)
    assert summary.state == "crashed" and "made by a newer Tunesmith" in summary.problem
    assert state_word(summary) == "Newer version" and state_detail(summary) == summary.problem
    events = EventReader(run).read_new()
    assert [event.type for event in events if event.type not in ("started", "checkpoint_saved")] == ["dreamt"]
    history = RunHistory()
    history.fold(events)  # what it does not know changes nothing
    assert [save.step for save in history.checkpoints] == [4, 8]


def test_f33_run_02_says_where_and_since_when_a_run_is_going(run: Path) -> None:
    import socket

    with FolderLock(run):
        one = only(run)
        with pytest.raises(EngineError, match="RUN-02"):
            resume_gate.pass_through(run, {"training.learning_rate": 1e-5})
    assert one.code == "RUN-02" and socket.gethostname() in one.message and "since 20" in one.message
    assert not found(run)


def test_f35_that_a_copy_asks_for_a_name_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    run = begun(tmp_path)
    original = store.create_run(store.load_recipe(run))
    copy = original.with_name("a-copy")
    shutil.copytree(original, copy)
    with FolderLock(original):
        (one,) = found(copy)
        assert (one.code, one.way_on) == ("RUN-02", "Go on under the same name")
        assert original.name in one.message and "is going" in one.message
    assert not found(original)
    told = runs.rename(Namespace(run=str(copy), name="My copy"))
    assert told == {"renamed": "a-copy", "name": "My copy"} and not found(copy)
    with pytest.raises(EngineError, match="REC-01"):
        runs.rename(Namespace(run=str(copy), name="  "))


def test_that_the_command_line_can_look_without_a_start(run: Path) -> None:
    flip(run.parent / "rows.jsonl", 30)
    asked = Namespace(run=str(run), set=["adapter.r=4"], check=True)
    told = runs.resume(asked)
    assert isinstance(told, dict) and not told["ok"] and told["step"] == 8
    assert json.loads(json.dumps(told)) == told
    assert [each["code"] for each in told["findings"]] == ["RUN-10", "DATA-11"]
    assert told["findings"][0]["table"] == [["adapter.r", "16", "4"]]
    assert not changes.files(run)


def test_that_a_finished_run_and_a_folder_that_is_none_are_told(run: Path, tmp_path: Path) -> None:
    (run / "exit.json").write_text('{"status": "finished"}')
    assert only(run).code == "RUN-10"
    assert only(tmp_path).code == "RUN-03"


def test_that_strange_files_are_told_before_they_are_put_away(run: Path) -> None:
    (run / "checkpoints" / "step-00000004" / "hook.py").write_text("print(1)")
    one = only(run)
    assert (one.code, one.severity) == ("MODEL-01", "warning") and "hook.py" in one.message
    (run / "out").symlink_to("/")
    one = next(each for each in found(run) if each.severity == "error")
    assert (one.code, one.way_on) == ("MODEL-03", "") and "runs repair" in one.hint


# -- S8 ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("package", "version"),
    [("torch", "2.9.1+cpu"), ("transformers", "5.2.9"), ("peft", "0.19"), ("jinja2", "3.1.5"), ("peft", "")],
)
def test_s08_that_older_libraries_are_refused_with_the_reason(
    run: Path, monkeypatch: pytest.MonkeyPatch, package: str, version: str
) -> None:
    from engine import doctor
    from engine.runs import versions

    real = versions.version_of
    monkeypatch.setattr(versions, "version_of", lambda name: version if name == package else real(name))
    monkeypatch.setattr(doctor, "version_of", versions.version_of)
    one = only(run)
    assert (one.code, one.severity, one.way_on) == ("RUN-06", "error", "")
    assert f"{package} {version or 'not installed'}, " in one.message and "needed" in one.message
    (line,) = [check for check in doctor.checks() if check.name == package]
    assert not line.ok and "--setup" in line.hint


def test_s08_that_the_libraries_of_today_are_new_enough() -> None:
    from engine.runs.versions import too_old

    assert not too_old()
    newest = {"torch": "2.10", "transformers": "5.3.0", "peft": "0.20.0", "jinja2": "3.1.6"}
    assert not too_old(newest)
