"""What a person may send holds no names and no tokens, whatever an error or a run holds."""

from __future__ import annotations

import getpass
import json
import os
import platform
import stat
from pathlib import Path

import pytest

from engine import cli, paths, report
from engine.runs import store
from tests.architecture.source import sources

TOKEN = "hf_CanaryCanaryCanaryCanary42"
ODD = "q7Zt-canary-secret-of-no-known-form"
SECRETS = [
    f"token={TOKEN}",
    "Authorization: Bearer abcDEF0123456789abc",
    "{'api_key': 'sk-live0123456789abcdef'}",
    "https://kim:pass@hub.example/x",
    "/home/kim/data/patients of 2026.jsonl",
    "'/home/kim/two words/a.jsonl'",
    r"C:\Users\kim\run",
    r"\\server\share\kim",
    "~/kim/models",
    "file:///home/kim/kim.txt",
    "A" * 64,
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "kims-own-home"
    home.mkdir()
    monkeypatch.setenv("TUNESMITH_HOME", str(home))
    monkeypatch.setenv("HF_TOKEN", ODD)
    monkeypatch.setattr(getpass, "getuser", lambda: "kim")
    monkeypatch.setattr(platform, "node", lambda: "kims-laptop")
    return home


def test_s7_that_what_is_sent_holds_no_name_and_no_token(place: Path) -> None:
    for secret in SECRETS:
        text = report.scrub(f"before {secret} after kim on kims-laptop with {ODD}.")
        assert text.startswith("before "), text
        for word in ("kim", "canary", "Canary", "abcDEF", "live0123", "server", "patients", "AAAAAAAA"):
            assert word not in text, f"{word} of {secret!r} is in {text!r}"


def test_s7_that_words_and_versions_stay_readable(place: Path) -> None:
    text = "torch 2.13.0+cpu, 3/4 done at 5:30 (a/b), and/or RuntimeError: shape [2, 3] of 'x'"
    assert report.scrub(text) == text


def test_s7_that_the_system_report_is_free_of_runs_and_folders(place: Path) -> None:
    run = paths.runs_dir() / "patients-of-kim"
    run.mkdir()
    (run / "job.json").write_text(
        json.dumps({"kind": "train", "id": run.name, "name": "patients-of-kim", "created": 1.0})
    )
    (run / "exit.json").write_text(
        json.dumps({"status": "failed", "code": "GPU-01", "message": f"x {TOKEN}"})
    )
    assert [r.name for r in store.list_runs()] == ["patients-of-kim"]
    text = report.system_report()
    assert "1 x GPU-01" in text and "torch" in text and "cores" in text and "HF_TOKEN" in text
    for word in ("kim", "patients", ODD, TOKEN, str(place), os.sep + "work"):
        assert word not in text


def raised(path: str) -> Exception:
    try:
        json.loads(Path(__file__).read_text())
    except ValueError as error:
        error.add_note(f"while reading {path} of kim with {TOKEN}")
        return error
    raise AssertionError


def test_r18_that_an_unexpected_error_is_kept_as_a_report_and_told_without_its_text(place: Path) -> None:
    told = report.keep_incident(raised("/home/kim/patients.jsonl"))
    assert told.code == "APP-01" and "Expecting" not in str(told) and "JSON" not in str(told)
    kept = Path(told.file or "")
    assert kept.parent == place / "logs" and f"(report {kept.stem.removeprefix('report-')})" in told.message
    text = kept.read_text(encoding="utf-8")
    assert "JSONDecodeError" in text and "tests/reliability/text/test_report.py" in text
    for word in ("kim", "patients", TOKEN):
        assert word not in text
    assert not stat.S_IMODE(kept.stat().st_mode) & 0o111
    for _ in range(report.MOST_REPORTS + 3):
        report.keep_incident(ValueError("x"))
    assert len(list(kept.parent.glob("report-*.txt"))) <= report.MOST_REPORTS


def test_r18_that_the_command_line_tells_an_unexpected_error_by_its_report(
    place, monkeypatch, capsys
) -> None:
    def fail(args: object) -> int:
        raise KeyError("secret words of kim")

    monkeypatch.setitem(cli.VERBS, "doctor", ("x", fail, []))
    assert cli.main(["doctor", "--json"]) == 1
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    assert error["code"] == "APP-01" and "secret words" not in said.out + said.err
    assert Path(error["file"]).is_file() and "Traceback" not in said.err


def test_s7_that_the_doctor_hands_out_the_report(place: Path, capsys) -> None:
    assert cli.main(["doctor", "--report", "--json"]) == 0
    assert "torch" in json.loads(capsys.readouterr().out)["report"]


def test_m33_that_the_command_line_prints_nothing_that_steers_a_terminal(place, monkeypatch, capsys) -> None:
    odd = "a\x1b]0;mine\x07\x9b2J\u202edlrow\udcff"
    monkeypatch.setitem(cli.VERBS, "doctor", ("x", lambda args: {"name": odd, "rows": [{"path": odd}]}, []))
    for arguments in (["doctor"], ["doctor", "--json"]):
        assert cli.main(arguments) == 0
        out = capsys.readouterr().out
        assert "dlrow" in out and not set(out) & set("\x1b\x07\x9b\u202e\udcff")
    assert json.loads(out)["name"] == odd, "a program still reads the name itself"


def test_m33_that_the_command_line_has_one_printer() -> None:
    found = [
        source.at(call)
        for source in sources("engine/cli.py", "engine/verbs")
        for call, name in source.calls()
        if name in ("print", "sys.stdout.write", "sys.stderr.write")
        and source.name != "engine/verbs/spoken.py"
    ]
    # JSON is escaped before it is printed; a list's own key and a count of bytes hold no names.
    assert len(found) == 5, found
