"""A workbook is proven by the probe before the readers of this process open it (D47, section 4)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import openpyxl
import pytest

from engine.data import xlsx_rows
from engine.data.readers import look_at, read_rows
from engine.data.rows import Row
from engine.errors import EngineError
from engine.probes import proof

DOCTYPE = '<!DOCTYPE a [<!ENTITY x "y">]>'


def book(path: Path, **parts: str) -> Path:
    """Write a workbook of one row; `parts` are put in beside, or in place of, its own."""
    made = openpyxl.Workbook()
    for row in (["question", "answer"], ["a", "b"]):
        made.active.append(row)
    whole = path.with_name("whole.xlsx")
    made.save(whole)
    with zipfile.ZipFile(whole) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in archive.namelist():
            if name not in parts:
                target.writestr(name, archive.read(name))
        for name, content in parts.items():
            target.writestr(name, content)
    return path


def test_d47_that_a_workbook_is_opened_here_only_once_it_is_proven(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book(tmp_path / "sound.xlsx")
    seen: list[str] = []
    monkeypatch.setattr(xlsx_rows, "Book", lambda source: seen.append(source.name) or pytest.fail("opened"))
    hidden = book(tmp_path / "bomb.xlsx", **{"xl/worksheets/sheet2.xml": f"{DOCTYPE}<a>&x;</a>"})
    with pytest.raises(EngineError) as told:
        look_at(hidden)
    assert (told.value.code, told.value.file) == ("DATA-12", str(hidden)) and not seen
    assert "document type" in told.value.message
    monkeypatch.undo()
    assert [row.value for row in read_rows(path) if isinstance(row, Row)] == [
        {"question": "a", "answer": "b"}
    ]


def test_d47_that_a_workbook_that_ends_its_probe_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "dies.py"
    script.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    first = proof.command()[:-2]
    monkeypatch.setattr(proof, "command", lambda: [*first, str(script)])
    path = book(tmp_path / "b.xlsx")
    with pytest.raises(EngineError) as told:
        look_at(path)
    assert told.value.code == "DATA-12" and told.value.hint and told.value.file == str(path)
    assert (
        "b.xlsx is a workbook that cannot be read: it crashes its reader (signal 11)." in told.value.message
    )
