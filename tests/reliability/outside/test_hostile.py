"""S1-S3: opening what a stranger made runs nothing of it, unpickles nothing, opens nothing outside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.jobs.process import child_environment
from tests.reliability.harness.audit import ROOT
from tests.reliability.outside import hostile_files


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Any]:
    """Return what the audited process said, and where the canary would be."""
    place = tmp_path_factory.mktemp("hostile")
    canary, home = place / "CANARY", tmp_path_factory.mktemp("hostile-home")
    files = hostile_files.make(place / "files", tiny_model, canary)
    asked = place / "asked.json"
    asked.write_text(json.dumps({"tiny": str(tiny_model), "files": files}, default=str))
    script = Path(__file__).with_name("audited_verbs.py")
    done = subprocess.run(
        [sys.executable, "-I", "-X", "utf8", str(script), str(ROOT), str(asked), str(home)],
        cwd=home,
        env=child_environment({"TUNESMITH_HOME": str(home)}),
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert "ANSWER" in done.stdout, done.stdout[-2000:] + done.stderr[-4000:]
    said: dict[str, Any] = json.loads(done.stdout.rsplit("ANSWER", 1)[1])
    return {**said, "canary": canary, "count": sum(map(len, files.values()))}


def test_s1_that_no_file_of_a_stranger_runs_code(told: dict[str, Any]) -> None:
    assert told["count"] >= 60 and told["heard"] > 1000
    assert not told["canary"].exists()
    assert [o for o in told["offences"] if not o.startswith("open")] == []


def test_s3_that_nothing_outside_the_given_folders_is_opened(told: dict[str, Any]) -> None:
    opened = [o for o in told["offences"] if o.startswith("open")]
    assert not opened, "\n".join(opened)


def test_s1_that_every_refusal_is_told_without_a_traceback(told: dict[str, Any]) -> None:
    wrong = [a for a in told["answers"] if a[2] not in (0, 1, 2) or "Traceback" in a[3] or "APP-01" in a[3]]
    assert wrong == []
    refused = [a for a in told["answers"] if a[2] == 2]
    assert len(refused) > 60 and all("hint" in a[3] for a in refused)


def test_s2_that_the_hook_hears_what_it_should(tmp_path: Path) -> None:
    """A check that cannot fail proves nothing: the same hook in a process that does all of it."""
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.reliability.harness import audit\n"
        "audit.PRODUCT = ('<',)\n"
        "heard = audit.Audit(writes=['/nowhere']).install()\n"
        "import json, os, pickle, socket, subprocess\n"
        "pickle.loads(pickle.dumps(os.getcwd))\n"
        "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.connect_ex(('127.0.0.1', 9))\n"
        "subprocess.run(['true']); os.system('true'); exec('1'); open('written', 'w').close()\n"
        "print(json.dumps(sorted({o.split()[0] for o in heard.offences})))"
    )
    command = [sys.executable, "-I", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 0, done.stderr
    unpickled_and_run = {"pickle.find_class", "subprocess.Popen", "os.system", "exec"}
    assert {*unpickled_and_run, "socket.bind", "socket.connect", "open"} <= set(json.loads(done.stdout))
