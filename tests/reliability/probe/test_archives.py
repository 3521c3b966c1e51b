"""M13: a model or adapter in an archive; only plain files inside its own folder come out of it."""

from __future__ import annotations

import gzip
import io
import json
import os
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import paths
from engine.errors import EngineError
from engine.models import archives
from engine.models.library import add_adapter, list_adapters

LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
Pack = Callable[[Path, list[tuple[str, bytes]]], Path]


def weights() -> bytes:
    shapes = {f"{LAYER}.lora_A.weight": [2, 8], f"{LAYER}.lora_B.weight": [8, 2]}
    head, at = {}, 0
    for name, shape in shapes.items():
        head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 64]}
        at += 64
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


CONFIG = {
    **{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"},
    "base_model_name_or_path": "example/base",
}
SOUND = [
    ("ours/adapter_config.json", json.dumps(CONFIG).encode()),
    ("ours/adapter_model.safetensors", weights()),
]
PROGRAM = ("ours/modeling.py", b"raise SystemExit")


def zipped(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            each = zipfile.ZipInfo("x")
            each.filename = name  # as it stands, not as the library would mend it
            with warnings.catch_warnings(action="ignore"):  # of one name twice
                archive.writestr(each, content, zipfile.ZIP_DEFLATED)
    return path


def taped(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files:
            each = tarfile.TarInfo(name)
            each.size = len(content)
            archive.addfile(each, io.BytesIO(content))
    return path


def linked(kind: bytes) -> Pack:
    def pack(path: Path, files: list[tuple[str, bytes]]) -> Path:
        taped(path, files)
        with tarfile.open(path, "w:gz") as archive:
            each = tarfile.TarInfo("ours/config.json")
            each.type, each.linkname = kind, "/etc/passwd"
            archive.addfile(each)
        return path

    return pack


def link_in_a_zip(path: Path, files: list[tuple[str, bytes]]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        each = zipfile.ZipInfo("ours/config.json")
        each.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(each, "/etc/passwd")
    return path


def with_name(name: str, pack: Pack = zipped) -> Pack:
    return lambda path, files: pack(path, [*files, (name, b"{}")])


BOMB = bytes(4 << 20)
FORGED: dict[str, tuple[Pack, str]] = {
    "above": (with_name("ours/../../../evil.json"), "MODEL-03"),
    "above_in_a_tar": (with_name("../evil.json", taped), "MODEL-03"),
    "absolute": (with_name("/tmp/evil.json"), "MODEL-03"),
    "drive": (with_name("C:/evil.json"), "MODEL-03"),
    "backslash": (with_name("..\\evil.json"), "MODEL-03"),
    "link": (linked(tarfile.SYMTYPE), "MODEL-03"),
    "hard_link": (linked(tarfile.LNKTYPE), "MODEL-03"),
    "link_in_a_zip": (link_in_a_zip, "MODEL-03"),
    "device": (linked(tarfile.CHRTYPE), "MODEL-03"),
    "pipe": (linked(tarfile.FIFOTYPE), "MODEL-03"),
    "twice": (with_name("ours/adapter_config.json"), "MODEL-03"),
    "twice_in_a_tar": (with_name("ours/adapter_config.json", taped), "MODEL-03"),
    "case": (with_name("ours/Adapter_Config.json"), "MODEL-03"),
    "case_of_a_folder": (with_name("Ours/more.json"), "MODEL-03"),
    "file_as_folder": (with_name("ours/adapter_config.json/x.json"), "MODEL-03"),
    "control": (with_name("ours/a\nb.json"), "MODEL-03"),
    "bomb": (lambda path, files: zipped(path, [*files, ("ours/zeros.txt", BOMB)]), "DATA-08"),
    "bomb_in_a_tar": (lambda path, files: taped(path, [*files, ("ours/zeros.txt", BOMB)]), "DATA-08"),
    "nothing_of_a_model": (lambda path, files: zipped(path, [("a.txt", b"x")]), "MODEL-02"),
    "cut": (lambda path, files: _cut(taped(path, files)), "MODEL-02"),
    "no_tar": (lambda path, files: path.write_bytes(gzip.compress(b"x" * 4000)) and path, "MODEL-02"),
    "cut_zip": (lambda path, files: _cut(zipped(path, files)), "MODEL-02"),
}


def _cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-60])
    return path


@pytest.mark.parametrize("name", FORGED)
def test_m13_that_a_forged_archive_is_refused_and_leaves_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack, code = FORGED[name]
    monkeypatch.setattr(archives, "RATIO_FROM_BYTES", 1 << 20)
    (tmp_path / "deep" / "down").mkdir(parents=True)
    archive = pack(tmp_path / "deep" / "down" / "adapter.zip", SOUND)
    with pytest.raises(EngineError) as told:
        add_adapter(archive)
    assert told.value.code == code and told.value.hint and "adapter.zip" in told.value.message
    assert not list(paths.adapters_dir().iterdir())
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize("pack", [zipped, taped])
def test_m13_that_a_sound_archive_gives_its_plain_files_and_no_program(pack: Pack, tmp_path: Path) -> None:
    long = ("ours/" + "n" * 90 + "/" + "m" * 90 + ".json", b"{}")
    archive = pack(tmp_path / "My adapter.zip", [*SOUND, PROGRAM, ("ours/weights.bin", b"\x80"), long])
    facts = add_adapter(archive)
    assert facts.path.name == "my-adapter" and facts.path.parent == paths.adapters_dir()
    found = {p.name for p in facts.path.rglob("*") if p.is_file()}
    assert found == {"adapter_config.json", "adapter_model.safetensors", "m" * 90 + ".json"}
    assert not any(os.access(p, os.X_OK) for p in facts.path.rglob("*") if p.is_file())
    assert [a.path for a in list_adapters()] == [facts.path]
    assert add_adapter(archive).path.name == "my-adapter-2"


def test_m13_that_what_is_no_adapter_inside_is_removed_again(tmp_path: Path) -> None:
    damaged = [SOUND[0], (SOUND[1][0], b"no tensors")]
    with pytest.raises(EngineError) as told:
        add_adapter(zipped(tmp_path / "a.zip", damaged))
    assert told.value.code == "MODEL-02"
    assert not list(paths.adapters_dir().iterdir())


def test_m13_that_a_full_disk_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = zipped(tmp_path / "a.zip", SOUND)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(EngineError) as told:
        add_adapter(archive)
    assert told.value.code == "DISK-01" and not list(paths.adapters_dir().iterdir())
