"""The command line as other programs use it: JSON on stdout, exit codes, errors with their place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine.recipe import codec
from engine.recipe.recipe import Recipe


def call(*words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, **({"TUNESMITH_HOME": str(home)} if home else {}))
    return subprocess.run(
        [sys.executable, "-m", "engine", *words], capture_output=True, text=True, env=environment, timeout=300
    )


def answer(*words: str, home: Path | None = None) -> dict[str, Any]:
    done = call(*words, "--json", home=home)
    assert done.returncode == 0, done.stderr + done.stdout
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@pytest.fixture
def recipe_file(tmp_path: Path, tiny_model: Path, sound_rows: Path) -> Path:
    values = {
        "model.path": str(tiny_model),
        "data.train": [str(sound_rows)],
        "training.max_steps": 6,
        "evaluation.sample_prompts": ["What does the cat say?"],
        "training.learning_rate": 5e-3,
        "name": "sounds",
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(codec.dumps(codec.override(Recipe(), values)))
    return path


def test_that_train_prints_one_event_a_line_and_ends_with_finished(recipe_file: Path, tmp_path: Path) -> None:
    done = call(
        "train", str(recipe_file), "--run-dir", str(tmp_path / "r"), "--set", "training.max_steps=4", "--json"
    )
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["type"] == "started" and events[-1]["type"] == "finished"
    assert [e["step"] for e in events if e["type"] == "step"] == [1, 2, 3, 4]


def test_that_the_library_verbs_answer_as_the_contract_says(recipe_file: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = call("train", str(recipe_file), "--json", home=home)
    assert done.returncode == 0, done.stderr
    runs = answer("runs", "list", home=home)["runs"]
    assert [run["state"] for run in runs] == ["finished"]
    run = runs[0]["id"]
    shown = answer("runs", "show", run, home=home)
    assert shown["recipe"]["name"] == "sounds" and shown["environment"]["versions"]["torch"]
    checked = answer("runs", "check", run, home=home)
    assert checked["ok"] and checked["findings"] == []
    second = call("train", str(recipe_file), "--set", "adapter.r=4", "--json", home=home)
    assert second.returncode == 0
    other = next(r["id"] for r in answer("runs", "list", home=home)["runs"] if r["id"] != run)
    compared = answer("runs", "compare", run, other, home=home)
    assert [d["field"] for d in compared["differences"]] == ["adapter.r"]
    assert set(compared["metrics"]) == {run, other}
    assert [finding["rule"] for finding in compared["findings"]] == ["R43"]  # one run of each proves nothing
    answer("runs", "delete", other, home=home)
    assert len(answer("runs", "list", home=home)["runs"]) == 1
    watched = call("watch", run, "--json", home=home)
    assert json.loads(watched.stdout.splitlines()[-1])["type"] == "finished"


def test_that_plan_counts_and_names_its_terms(recipe_file: Path) -> None:
    plan = answer("plan", str(recipe_file))
    assert {
        "fits",
        "memory_bytes",
        "terms",
        "seconds",
        "steps",
        "trainable_parameters",
        "total_parameters",
    } <= set(plan)
    assert plan["steps"] == 6 and sum(plan["terms"].values()) > 0


def test_that_a_model_without_weights_is_shown_and_planned_but_not_trained(
    recipe_file: Path, tiny_model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "described"
    folder.mkdir()
    (folder / "config.json").write_bytes((tiny_model / "config.json").read_bytes())
    shown, whole = (answer("models", "show", str(path))["models"][0] for path in (folder, tiny_model))
    assert (shown["weights"], whole["weights"], shown["rough"]) == (False, True, False)
    assert shown["parameters"] == whole["parameters"]
    counted = answer("plan", str(recipe_file))
    change = ("--set", f"model.path={folder}")
    plan = answer("plan", str(recipe_file), *change)
    assert plan["trainable_parameters"] == counted["trainable_parameters"] and plan["memory_bytes"] > 0
    (folder / "tokenizer.json").write_bytes((tiny_model / "tokenizer.json").read_bytes())
    assert answer("plan", str(recipe_file), *change)["steps"] == 6
    done = call("train", str(recipe_file), *change, "--json", home=tmp_path / "home")
    assert done.returncode == 2
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == "MODEL-02"


def test_that_doctor_names_every_check(tmp_path: Path) -> None:
    done = call("doctor", "--json", home=tmp_path / "home")
    value = json.loads(done.stdout)
    assert {"ok", "checks", "devices"} <= set(value)
    names = {check["name"]: check for check in value["checks"]}
    assert names["torch"]["ok"] and not names["starter model"]["ok"] and names["starter model"]["hint"]
    assert done.returncode == 1 and value["ok"] is False


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["train", "/nowhere/recipe.yaml"], "DISK-03"),
        (["train", "{recipe}", "--set", "adapter.rr=3"], "REC-01"),
        (["train", "{recipe}", "--set", "data.train=/nowhere.jsonl"], "DATA-12"),
        (["train", "{recipe}", "--set", "model.path=/tmp"], "MODEL-"),
        (["train", "{recipe}", "--set", "launcher.kind=ray"], "REC-01"),
        (["resume", "nothing"], "RUN-03"),
        (["stop", "nothing"], "RUN-03"),
        (["data", "inspect", "/nowhere.jsonl"], "DATA-12"),
        (["nonsense"], "REC-01"),
        (["advise", "/nowhere/recipe.yaml"], "DISK-03"),
        (["evaluate", "x"], "RUN-03"),
        (["sweep", "x"], "REC-01"),
        (["merge", "nothing", "--out", "{out}"], "RUN-03"),
        (["models", "show", "/nowhere"], ""),
    ],
)
def test_that_a_bad_call_ends_with_2_and_an_error_in_json(
    words: list[str], code: str, recipe_file: Path, tmp_path: Path
) -> None:
    words = [w.format(recipe=recipe_file, out=tmp_path / "o") for w in words]
    done = call(*words, "--json", home=tmp_path / "home")
    assert done.returncode == 2, done.stderr + done.stdout
    error = json.loads(done.stdout.splitlines()[-1])["error"]
    assert error["code"].startswith(code) and error["message"]
    assert "Traceback" not in done.stderr and error["message"].split()[0] in done.stderr


def test_that_a_broken_row_is_told_with_file_and_line(
    recipe_file: Path, sound_rows: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.jsonl"
    lines = sound_rows.read_text().splitlines()
    lines[6] = lines[6][:-5]
    broken.write_text("\n".join(lines) + "\n")
    done = call("train", str(recipe_file), "--set", f"data.train={broken}", "--json", home=tmp_path / "home")
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1 and last["type"] == "failed"
    assert (
        last["code"] == "DATA-02"
        and last["line"] == 7
        and "broken.jsonl" in (last["file"] or last["message"])
    )


def test_that_ctrl_c_saves_and_ends_with_130(recipe_file: Path, tmp_path: Path) -> None:
    run = tmp_path / "r"
    words = ["train", str(recipe_file), "--set", "training.max_steps=5000", "--run-dir", str(run)]
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
    try:
        command = [sys.executable, "-m", "engine", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, heard)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("step 3/"):
            break
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    assert process.wait(300) == 130
    assert json.loads((run / "exit.json").read_text())["status"] == "stopped"
    assert list((run / "checkpoints").iterdir())


def test_that_detach_leaves_the_run_going_and_stop_ends_it(recipe_file: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    started = answer("train", str(recipe_file), "--set", "training.max_steps=100000", "--detach", home=home)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        runs = answer("runs", "list", home=home)["runs"]
        if [run["state"] for run in runs] == ["running"] and runs[0]["step"] > 2:
            break
        time.sleep(0.3)
    done = call("stop", started["run"], "--json", home=home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["type"] == "stopped"


def test_that_what_nobody_foresaw_is_one_line_and_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from engine import cli
    from engine.verbs import runs

    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    monkeypatch.setattr(runs.store, "list_runs", lambda: 1 / 0)
    assert cli.main(["runs", "list", "--json"]) == 1
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["code"] == "APP-01" and "Traceback" not in told.err
    assert "ZeroDivisionError" in next((tmp_path / "logs").iterdir()).read_text()
