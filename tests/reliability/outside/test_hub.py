"""F45, M40 and S5: downloads cut, stalled, forged, and where the token goes; a real child, a local server."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine import hub, hub_token, paths
from engine.errors import EngineError
from engine.jobs import fetch, process
from tests.unit.data.hub_stub import MODEL, SET, Hub, serving

CANARY = "hf_canaryTokenThatMustNeverBeSeen"
ROWS = b"".join(json.dumps({"text": f"row {i}"}).encode() + b"\n" for i in range(2000))

MANY = ROWS * 600  # the client takes and tells ten megabytes at a time; half of this is more


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Serve one data set, from a home of the test's own, with a token in the environment."""
    for name in fetch.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_TOKEN", CANARY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with serving() as made:
        made.files = {"train.jsonl": ROWS}
        monkeypatch.setenv("HF_ENDPOINT", made.url)
        yield made
        made.go_on.set()


def downloading() -> list[psutil.Process]:
    """Return this process's children that download."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):  # one that just ended
            if "engine.jobs.fetch" in child.cmdline():
                found.append(child)
    return found


def found_offline(identity: str) -> Path:
    """Return where a process without a network finds a model."""
    script = f"from engine import hub\nprint(hub.cached_model({identity!r}))"
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        env=process.child_environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def written_below(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in folder.rglob("*") if p.is_file())


def test_f45_that_a_download_comes_from_a_child_that_tells_how_far_it_is(stub: Hub) -> None:
    heard: list[tuple[int, int]] = []
    assert [file.name for file in fetch.dataset_files(SET)] == ["train.jsonl"]
    folder = fetch.download_dataset(SET, progress=lambda *figures: heard.append(figures))
    assert (
        (folder / "train.jsonl").read_bytes()
        == ROWS
        == (hub.cached_dataset(SET) or folder).joinpath("train.jsonl").read_bytes()
    )
    assert heard[0] == (0, len(ROWS)) and heard[-1] == (len(ROWS), len(ROWS))


@pytest.mark.parametrize(
    ("mode", "code"), [("short", "HUB-02"), ("forged", "HUB-02"), ("login", "HUB-01"), ("gated", "HUB-03")]
)
def test_f45_that_a_model_that_came_wrong_is_told_and_not_kept(stub: Hub, mode: str, code: str) -> None:
    stub.files = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 40, "bad.bin": b"pickle"}
    stub.mode = mode
    with pytest.raises(EngineError) as caught:
        fetch.download_model(MODEL)
    assert caught.value.code == code and caught.value.hint
    stub.mode = "well"
    folder = fetch.download_model(MODEL)
    assert {p.name for p in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert found_offline(MODEL) == folder, "what was downloaded is there for every later start"
    assert (folder / "model.safetensors").read_bytes() == stub.files["model.safetensors"]


def test_f45_that_a_stalled_download_can_be_stopped_and_goes_on_where_it_was(stub: Hub) -> None:
    stub.files = {"a.jsonl": MANY}
    stub.mode = "stall"
    heard: list[int] = []

    def stop_once_still(done: int, _total: int) -> None:
        heard.append(done)
        if done and heard[-2:] == [done, done]:
            raise EngineError("The download was stopped.", "What is here is kept.", "HUB-02")

    with pytest.raises(EngineError, match="stopped"):
        fetch.download_dataset(SET, progress=stop_once_still)
    assert not downloading()
    parts = [p.stat().st_size for p in paths.datasets_dir().rglob("*.incomplete")]
    assert parts and 0 < parts[0] < len(MANY) and hub.cached_dataset(SET) is None
    stub.mode = "well"
    stub.go_on.set()
    assert (fetch.download_dataset(SET) / "a.jsonl").read_bytes() == MANY


def test_f45_that_a_killed_child_is_told_and_what_is_complete_stays(stub: Hub) -> None:
    stub.files = {"a.jsonl": ROWS, "b.jsonl": MANY}

    stub.mode = "stall"

    def kill_at_the_second(done: int, _total: int) -> None:
        if done > len(ROWS):
            for child in downloading():
                child.kill()

    with pytest.raises(EngineError) as caught:
        fetch.download_dataset(SET, progress=kill_at_the_second)
    assert [p.read_bytes() for p in paths.datasets_dir().rglob("a.jsonl")] == [ROWS]
    assert caught.value.code == "HUB-02" and "kept" in caught.value.hint


def test_m40_s05_that_the_token_is_in_no_argument_environment_file_or_request_to_a_mirror(
    stub: Hub, tmp_path: Path
) -> None:
    seen: list[str] = []

    def look(_done: int, _total: int) -> None:
        for child in downloading():
            with contextlib.suppress(psutil.Error):
                seen.append(" ".join(child.cmdline()) + json.dumps(child.environ()))

    fetch.download_dataset(SET, progress=look)
    assert seen and not [text for text in seen if CANARY in text]
    assert stub.seen and not stub.tokens  # a mirror gets none
    assert CANARY.encode() not in written_below(tmp_path)


def at_the_hub(url: str, code: str) -> dict[str, Any]:
    """Run hub functions in a process that takes `url` for the hub itself."""
    script = f"import json\nfrom engine import hub\nhub.HUB = {url!r}\nprint(json.dumps({code}))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        env={**fetch.environment(), "HF_ENDPOINT": url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_m40_that_the_hub_gets_the_token_and_another_host_it_leads_to_does_not(
    stub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as other:
        other.files = dict(stub.files)
        stub.mode, stub.other = "elsewhere", other.url.replace("127.0.0.1", "localhost")
        at_the_hub(stub.url, f"str(hub.download_dataset('some/set', token={CANARY!r}))")
        assert set(stub.tokens) == {f"Bearer {CANARY}"}
        assert other.seen and not other.tokens


def test_m40_that_other_children_are_offline_without_token_endpoint_and_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "HF_TOKEN",
        "HF_ENDPOINT",
        "HTTPS_PROXY",
        "HUGGING_FACE_HUB_TOKEN",
        "NETRC",
        "TUNESMITH_FAULTS",
    ):
        monkeypatch.setenv(name, CANARY)
    made = process.child_environment()
    assert CANARY not in made.values()
    assert (
        made["HF_HUB_OFFLINE"] == made["TRANSFORMERS_OFFLINE"] == made["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"
    )
    told = fetch.environment()
    assert told["HTTPS_PROXY"] == told["HF_ENDPOINT"] == CANARY
    assert (
        "HF_TOKEN" not in told
        and told["NETRC"] == os.devnull
        and told["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"
    )


@pytest.mark.parametrize("identity", ["https://evil/x/y", "../a/b", "-a/b", "a/b/c", "a b/c", "a/b\nc", "a/"])
def test_m40_that_an_id_is_name_and_name(identity: str) -> None:
    with pytest.raises(EngineError) as caught:
        hub.download_model(identity)
    assert caught.value.code == "HUB-01"


def test_m40_that_the_keyring_keeps_the_token_and_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring
    from keyring.backend import KeyringBackend
    from keyring.backends.fail import Keyring as NoKeyring
    from keyring.errors import PasswordDeleteError

    class Ring(KeyringBackend):
        priority = 1.0  # type: ignore[assignment]

        def __init__(self) -> None:
            super().__init__()
            self.kept: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            if self.kept.pop((service, username), None) is None:
                raise PasswordDeleteError

    before = keyring.get_keyring()
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    try:
        keyring.set_keyring(Ring())
        hub_token.keep(f" {CANARY} ")
        assert hub_token.find() == CANARY
        hub_token.keep("")
        hub_token.keep("")
        assert hub_token.find() is None
        (tmp_path / "token").write_text("hf_ofTheLogin\n")
        assert hub_token.find() == "hf_ofTheLogin"
        for wrong in ("two words", "größe", "a" * 5000):
            with pytest.raises(EngineError):
                hub_token.keep(wrong)
        keyring.set_keyring(NoKeyring())
        with pytest.raises(EngineError) as caught:
            hub_token.keep(CANARY)
        assert caught.value.code == "HUB-03" and "hf auth login" in caught.value.hint
    finally:
        keyring.set_keyring(before)
