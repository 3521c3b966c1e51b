"""Files that are none, or do not stay as they are: refused at once, with a name that can be shown."""

from __future__ import annotations

import os
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from engine.data.steady import Stamp, open_regular, stamp_of, unchanged
from engine.errors import EngineError

LINES = b'{"question": "a", "answer": "b"}\n' * 20_000


def refused(path: Path) -> EngineError:
    started = time.monotonic()
    with pytest.raises(EngineError) as caught:
        open_regular(path)
    assert time.monotonic() - started < 1 and caught.value.hint
    return caught.value


@pytest.mark.skipif(sys.platform == "win32", reason="pipes, devices and link loops of POSIX")
def test_d50_that_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to_pipe").symlink_to(tmp_path / "pipe")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    words = {"pipe": "regular", "to_pipe": "regular", "a": "circle", ".": "folder", "gone": "not there"}
    for name, word in words.items():
        error = refused(tmp_path / name)
        assert error.code == "DATA-12" and word in error.message, name
    assert refused(Path("/dev/zero")).code == "DATA-12"
    assert refused(tmp_path / ("x" * 300)).code == "DATA-12"
    assert refused(tmp_path / "nul\0").code == "DATA-12"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_d50_that_a_name_that_is_not_utf8_is_refused_and_made_visible(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    path.write_bytes(LINES)
    error = refused(path)
    assert error.code == "DATA-12" and "caf<U+DCE9>.jsonl" in error.message
    error.message.encode("utf-8")


def test_d50_that_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(LINES)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with open_regular(tmp_path / "link") as file:
        assert file.read() == LINES and stat.S_ISREG(os.fstat(file.fileno()).st_mode)


@dataclass
class Looked:
    path: Path
    name: str
    stamp: Stamp


def test_d50_that_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "growing.jsonl"
    path.write_bytes(LINES)
    looked = Looked(path, path.name, stamp_of(path))
    unchanged(looked)
    for change, word in ((LINES * 2, "to 1,32"), (LINES[:100], "to 100 bytes"), (None, "without a change")):
        if change is None:
            looked = Looked(path, path.name, stamp_of(path))
            os.utime(path, ns=(0, looked.stamp.mtime_ns + 1_000_000))
        else:
            path.write_bytes(change)
        with pytest.raises(EngineError) as caught:
            unchanged(looked)
        assert caught.value.code == "DATA-12" and word in caught.value.message
    path.unlink()
    with pytest.raises(EngineError) as caught:
        unchanged(looked)
    assert caught.value.code == "DATA-12"
