"""launch.py on its own: what it decides, what it says, and what it needs."""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def launch() -> ModuleType:
    """Return a fresh copy of the module, so that a test may point it at another folder."""
    spec = importlib.util.spec_from_file_location("launch_under_test", ROOT / "launch.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def torch_index() -> Iterator[str]:
    """Serve an index that offers the release for cu126 and cpu only, on this machine's loopback."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            build = self.path.split("/")[1]
            self.send_response(200 if build in ("cu126", "cu130", "cpu") else 404)
            self.end_headers()
            release = "torch-2.0.0" if build == "cu130" else "torch-2.13.0"
            self.wfile.write(f"<a>{release}+{build}-cp311.whl</a>".encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_that_an_old_python_is_refused_by_its_version(launch: ModuleType) -> None:
    with pytest.raises(launch.SetupError, match=r"3\.11 or newer is needed; this is 3\.10\.4"):
        launch.check_python((3, 10, 4))
    launch.check_python((3, 14, 0))


def test_that_the_launcher_stands_on_the_standard_library_and_reads_in_an_old_python() -> None:
    # An old Python must get as far as the plain message, so the file has to parse there.
    tree = ast.parse((ROOT / "launch.py").read_text(encoding="utf-8"), feature_version=(3, 7))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert imported <= set(sys.stdlib_module_names)


def test_that_a_cuda_build_is_never_newer_than_the_driver(launch: ModuleType) -> None:
    assert all(build.startswith("cu12") for build in launch.wanted_builds("cuda", (12, 4)))
    assert launch.wanted_builds("cuda", (13, 0))[0].startswith("cu13")
    assert launch.wanted_builds("default", None) == []


def test_that_the_first_build_the_index_really_offers_is_taken(
    launch: ModuleType, torch_index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "TORCH_INDEX", torch_index)
    assert launch.find_torch_index(["cu132", "cu130", "cu126"]) == f"{torch_index}/cu126"
    assert launch.find_torch_index(["rocm7.0"]) is None


def test_that_an_unreachable_index_leaves_the_choice_to_pip(
    launch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "TORCH_INDEX", "http://127.0.0.1:9")
    assert launch.find_torch_index(["cpu"]) is None


@pytest.mark.parametrize(
    ("program", "start"),
    [
        ("apt-get", "sudo apt-get install -y libegl1"),
        ("dnf", "sudo dnf install -y libglvnd-egl"),
        ("pacman", "sudo pacman -S --needed libglvnd"),
    ],
)
def test_that_missing_libraries_are_told_as_one_command(
    launch: ModuleType, monkeypatch: pytest.MonkeyPatch, program: str, start: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == program else None)
    command, _ = launch.install_command({"libEGL.so.1": launch.QT_LIBRARIES["libEGL.so.1"]})
    assert command == start


def test_that_a_library_that_is_not_there_is_noticed(
    launch: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "QT_LIBRARIES", {"libtunesmith-nowhere.so.7": ("a", "b", "c")})
    expected = {"libtunesmith-nowhere.so.7"} if sys.platform.startswith("linux") else set()
    assert set(launch.missing_libraries(display=False)) == expected


def test_that_the_stamp_holds_until_a_lock_file_changes(
    launch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "ROOT", tmp_path)
    monkeypatch.setattr(launch, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(launch, "STAMP", tmp_path / ".venv" / "stamp.json")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    pins = tmp_path / "requirements" / "base.lock"
    pins.write_text("numpy==1\n")
    launch.venv_python().parent.mkdir(parents=True)
    launch.venv_python().write_text("")
    assert launch.read_stamp() == {}
    launch.write_stamp({"torch": "cpu"})
    assert launch.read_stamp()["torch"] == "cpu"
    pins.write_text("numpy==2\n")
    assert launch.read_stamp() == {}


def test_that_a_damaged_stamp_means_setting_up_again(
    launch: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamp = tmp_path / "stamp.json"
    monkeypatch.setattr(launch, "STAMP", stamp)
    for text in ("{", "[1]", json.dumps({"fingerprint": "other"})):
        stamp.write_text(text)
        assert launch.read_stamp() == {}


def test_that_help_needs_no_environment(tmp_path: Path) -> None:
    shutil.copy(ROOT / "launch.py", tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", str(tmp_path / "launch.py"), "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0 and "--setup" in done.stdout
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("arguments", [["--home", "here"], ["--demo", "--home=here"]])
def test_that_a_chosen_home_also_holds_the_starter(
    launch: ModuleType, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", "elsewhere")
    launch.choose_home(arguments)
    assert os.environ["TUNESMITH_HOME"] == str(Path("here").absolute())
