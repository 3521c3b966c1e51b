"""What leads elsewhere, told from the fields that os.lstat publishes on Windows."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine import durable, links
from engine.errors import EngineError
from engine.jobs import lock
from engine.models import gate
from engine.runs import check, run_names

DIRECTORY, REPARSE = 0x10, 0x400
SYMLINK, JUNCTION, APP_LINK, LINUX_LINK = 0xA000000C, 0xA0000003, 0x8000001B, 0xA000001D
CLOUD, DEDUP, COMPRESSED = 0x9000001A, 0x80000013, 0x80000017


@pytest.mark.parametrize(
    ("attributes", "tag", "leads"),
    [
        (DIRECTORY | REPARSE, JUNCTION, True),
        (DIRECTORY | REPARSE, SYMLINK, True),
        (REPARSE, LINUX_LINK, True),
        (REPARSE, APP_LINK, True),
        (DIRECTORY | REPARSE, 0, True),
        (REPARSE, CLOUD, False),
        (DIRECTORY | REPARSE, CLOUD, False),
        (REPARSE, DEDUP, False),
        (REPARSE, COMPRESSED, False),
        (DIRECTORY, 0, False),
    ],
)
def test_m12_that_a_junction_is_a_link_and_a_cloud_file_is_none(
    attributes: int, tag: int, leads: bool
) -> None:
    mode = stat.S_IFDIR if attributes & DIRECTORY else stat.S_IFREG
    facts = SimpleNamespace(st_mode=mode | 0o777, st_file_attributes=attributes, st_reparse_tag=tag)
    assert links.leads_elsewhere(facts) is leads


def test_m12_that_links_of_this_system_are_known_and_nothing_is_none(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    os.symlink(tmp_path / "here", tmp_path / "to")
    os.symlink(tmp_path / "nowhere", tmp_path / "broken")
    found = {name: links.is_link(tmp_path / name) for name in ("here", "to", "broken", "missing", "a\0b")}
    assert found == {"here": False, "to": True, "broken": True, "missing": False, "a\0b": False}


@pytest.fixture
def junction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder in a folder, of which the system says what Windows says of a junction."""
    made = tmp_path / "run" / "cache"
    made.mkdir(parents=True)
    (made / "stranger").write_text("not ours")
    real = os.lstat

    def told(path: Any) -> Any:
        facts = real(path)
        if os.path.abspath(path) != str(made):
            return facts
        more = {"st_file_attributes": DIRECTORY | REPARSE, "st_reparse_tag": JUNCTION}
        return SimpleNamespace(st_mode=facts.st_mode, **more)

    monkeypatch.setattr(links, "lstat", told)
    return made


def test_m12_that_a_junction_is_refused_and_never_walked_into(
    junction: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = junction.parent
    with pytest.raises(EngineError) as refused:
        lock.refuse_links(run)
    assert refused.value.code == "MODEL-03" and "cache" in refused.value.message
    (entry,) = run_names.entries(run)  # what lies behind it is not listed
    assert entry.name == "cache" and run_names.foreign(entry, True)[1] == "MODEL-03"
    assert check.problem_of(junction) == "it is a link to another place"
    asked: list[Path] = []
    monkeypatch.setattr(gate, "stay_inside", lambda folder, path: asked.append(path))
    gate.refuse_links(run)
    assert asked == [junction]
    gone: list[Path] = []
    monkeypatch.setattr(durable, "remove_file", gone.append)
    durable.discard(junction)
    monkeypatch.setattr(durable.disk, "rmdir", lambda folder: None)
    durable.remove_tree(run)
    assert gone == [junction, junction] and (junction / "stranger").exists()
