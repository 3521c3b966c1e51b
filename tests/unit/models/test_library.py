"""What a model's name stands for, and what is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.models import library


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def test_that_a_folder_and_its_config_name_the_same_model(tiny_model: Path) -> None:
    assert library.resolve_model(str(tiny_model)) == tiny_model.resolve()
    assert library.resolve_model(str(tiny_model / "config.json")) == tiny_model.resolve()


@pytest.mark.parametrize(
    ("name", "code"), [("nobody/nothing", "HUB-01"), ("/no/where", "DISK-03"), ("../up/../x", "DISK-03")]
)
def test_that_what_is_not_here_is_said_with_its_code(name: str, code: str) -> None:
    with pytest.raises(EngineError) as told:
        library.resolve_model(name)
    assert told.value.code == code


def test_that_a_hub_id_is_found_in_the_local_cache(tiny_model: Path, tmp_path: Path) -> None:
    repository = tmp_path / "hub" / "models--some--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / "c0ffee").symlink_to(tiny_model, target_is_directory=True)
    assert library.resolve_model("some/tiny") == repository / "snapshots" / "c0ffee"
    with pytest.raises(EngineError):
        library.resolve_model("some/tiny", "v2")


def test_that_an_added_model_is_listed_once_and_a_lost_one_no_more(tiny_model: Path, tmp_path: Path) -> None:
    for _ in range(2):
        library.add_model(tiny_model)
    assert [facts.path for facts in library.list_models()] == [tiny_model]
    (tmp_path / "home" / "library.json").write_text('{"models": ["/gone"]}')
    assert library.list_models() == []
    (tmp_path / "home" / "library.json").write_text("{")
    assert library.list_models() == []


def test_that_a_text_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(EngineError, match="no model"):
        library.add_model(tmp_path / "notes.txt")


def test_that_a_broken_gguf_is_refused_before_a_child_is_started(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF\x03")
    with pytest.raises(EngineError) as told:
        library.resolve_model(str(tmp_path / "m.gguf"))
    assert told.value.code == "MODEL-02"
