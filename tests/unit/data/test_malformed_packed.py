"""Packed files: what is inside is read as it comes, what cannot be is refused."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest
import zstandard

from engine.data.options import ReadOptions
from engine.data.readers import Row, look_at
from engine.data.unpack import MAX_BYTES, Unpacker, unpacker
from engine.errors import EngineError

LINES = b"".join(b'{"question": "%d", "answer": "%d"}\n' % (i, i * 7919) for i in range(20_000))


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("rows.jsonl")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


PACKED = {
    "gzip": gzip.compress(LINES),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress(LINES),
    "zip": zipped(**{"rows.jsonl": LINES}),
}


def found(tmp_path: Path, content: bytes, name: str = "rows.jsonl.gz", part: str | None = None) -> Unpacker:
    path = tmp_path / name
    path.write_bytes(content)
    packed = unpacker(path, content[: 1 << 18], part)
    assert packed is not None
    return packed


def refusal(tmp_path: Path, content: bytes, part: str | None = None) -> EngineError:
    with pytest.raises(EngineError) as caught, found(tmp_path, content, "x", part).open() as file:
        while file.read(1 << 16):
            continue
    assert caught.value.hint and caught.value.file == str(tmp_path / "x")
    return caught.value


@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.zst", "rows.csv", "rows"])
def test_d49_that_one_packed_file_is_read_whatever_its_suffix(tmp_path: Path, kind: str, name: str) -> None:
    with found(tmp_path, PACKED[kind], name).open() as file:
        assert file.read() == LINES


def test_d49_that_several_frames_in_a_row_are_one_file(tmp_path: Path) -> None:
    for content in (PACKED["gzip"] * 2, PACKED["zstd"] * 2, PACKED["gzip"] * 2 + b"\0" * 512):
        with found(tmp_path, content).open() as file:
            assert file.read() == LINES * 2


INSIDE = {"a.jsonl.gz": "a.jsonl", "b.CSV.GZ": "b.CSV", "c.txt.zst": "c.txt", "d": "d", ".gz": ".gz"}


@pytest.mark.parametrize("name", INSIDE)
def test_that_the_name_of_what_is_inside_is_told(tmp_path: Path, name: str) -> None:
    content = PACKED["zstd"] if name.endswith("zst") else PACKED["gzip"]
    assert found(tmp_path, content, name).name == INSIDE[name]


def test_that_what_is_not_packed_is_left_alone(tmp_path: Path) -> None:
    for content in (LINES, b"", b"PAR1xxxx", "größe".encode()):
        assert unpacker(tmp_path / "x", content, None) is None


def test_that_a_workbook_is_not_taken_as_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(zipped(**{"[Content_Types].xml": b"<Types/>", "xl/workbook.xml": b"<workbook/>"}))
    assert unpacker(path, path.read_bytes(), None) is None


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.9999])
def test_d49_that_rows_before_a_cut_come_before_the_error(tmp_path: Path, kind: str, share: float) -> None:
    content = PACKED[kind]
    rows = []
    with found(tmp_path, content[: int(len(content) * share)]).open() as file:
        with pytest.raises(EngineError) as caught:
            while line := file.readline():
                rows.append(json.loads(line))
        with pytest.raises(EngineError):
            file.readline()
    assert caught.value.code == "DATA-12" and "ends in the middle" in caught.value.message
    assert len(rows) > (0 if share < 0.5 else 10_000) and rows[0] == {"question": "0", "answer": "0"}


def test_d49_that_a_large_read_gives_what_came_before_the_error(tmp_path: Path) -> None:
    with found(tmp_path, PACKED["gzip"][:-100]).open() as file:
        assert len(file.read(1 << 24)) > 100_000
        with pytest.raises(EngineError):
            file.read(1)


@pytest.mark.parametrize("kind", PACKED)
def test_d49_that_damage_in_the_middle_is_refused(tmp_path: Path, kind: str) -> None:
    content = bytearray(PACKED[kind])
    content[len(content) // 2] ^= 0xFF
    error = refusal(tmp_path, bytes(content))
    assert error.code == "DATA-12" and "cut or damaged" in error.message


STUMPS = [b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04", PACKED["zip"][:-30], PACKED["gzip"] + b"x" * 99]


@pytest.mark.parametrize("content", STUMPS)
def test_d49_that_a_stump_or_a_tail_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    error = refusal(tmp_path, content)
    assert error.code == "DATA-12" and "cut or damaged" in error.message


BOMBS = {
    "gzip": lambda size: gzip.compress(bytes(size), 9),
    "zstd": lambda size: zstandard.compress(bytes(size), 19),
    "zip": lambda size: zipped(a=bytes(size)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_d49_that_a_bomb_is_refused_early_and_says_how_large(tmp_path: Path, kind: str) -> None:
    content = BOMBS[kind](160 << 20)
    started = time.monotonic()
    error = refusal(tmp_path, content)
    assert error.code == "DATA-08" and time.monotonic() - started < 5
    size = "167,772,160 bytes" if kind == "zip" else "bytes came out of"
    assert "200 times" in error.message and size in error.message


@pytest.mark.parametrize("kind", BOMBS)
def test_d49_that_dense_packing_of_a_small_file_is_no_bomb(tmp_path: Path, kind: str) -> None:
    with found(tmp_path, BOMBS[kind](32 << 20)).open() as file:
        assert sum(len(piece) for piece in iter(lambda: file.read(1 << 20), b"")) == 32 << 20


def test_d49_that_more_than_64_gib_is_refused(tmp_path: Path) -> None:
    packed = Unpacker(tmp_path / "x", "gzip", "x")
    packed.bound(MAX_BYTES, MAX_BYTES // 3)
    with pytest.raises(EngineError) as caught:
        packed.bound(MAX_BYTES + 1, MAX_BYTES // 3)
    assert caught.value.code == "DATA-08" and "64 GiB" in caught.value.message


NESTED = {
    "gzip in gzip": gzip.compress(PACKED["gzip"]),
    "zip in gzip": gzip.compress(PACKED["zip"]),
    "gzip in zip": zipped(a=PACKED["gzip"]),
    "zip in zstd": zstandard.compress(PACKED["zip"]),
    "tar in gzip": gzip.compress(tarred(LINES)),
    "workbook in zip": zipped(**{"a.xlsx": zipped(**{"[Content_Types].xml": b"", "xl/workbook.xml": b""})}),
    "parquet in gzip": gzip.compress(b"PAR1" + bytes(100)),
}


@pytest.mark.parametrize("what", NESTED)
def test_d49_that_an_archive_in_an_archive_is_refused(tmp_path: Path, what: str) -> None:
    error = refusal(tmp_path, NESTED[what])
    assert error.code == "DATA-12" and " holds a" in error.message


@pytest.mark.parametrize(
    "content", [b"BZh91AY&SY", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x00", tarred(LINES)]
)
def test_d49_that_archives_that_are_not_read_are_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(EngineError) as caught:
        unpacker(tmp_path / "x", content, None)
    assert caught.value.code == "DATA-12" and "archive" in caught.value.message


def test_d49_that_several_members_are_offered_and_one_is_chosen(tmp_path: Path) -> None:
    content = zipped(**{"train.jsonl": LINES, "docs/readme.md": b"# hello"})
    packed = found(tmp_path, content)
    assert packed.parts == ("train.jsonl", "docs/readme.md") and packed.part is None
    with pytest.raises(EngineError) as caught:
        packed.open()
    assert "train.jsonl, docs/readme.md" in caught.value.message and caught.value.field == "data.part"
    chosen = found(tmp_path, content, part="docs/readme.md")
    assert (chosen.name, chosen.part, chosen.size) == ("readme.md", "docs/readme.md", 7)
    with chosen.open() as file:
        assert file.read() == b"# hello"
    assert refusal(tmp_path, content, part="gone").code == "DATA-12"


def test_d49_that_what_systems_leave_beside_a_file_is_no_member(tmp_path: Path) -> None:
    clutter = {"__MACOSX/._rows.jsonl": b"x", ".DS_Store": b"x", "data/": b"", "data/.hidden/a": b"x"}
    packed = found(tmp_path, zipped(**clutter, **{"data/rows.jsonl": LINES}))
    assert packed.parts == ("data/rows.jsonl",) and packed.size == len(LINES)
    for empty in (zipped(), zipped(**clutter)):
        with pytest.raises(EngineError) as caught:
            found(tmp_path, empty)
        assert caught.value.code == "DATA-07"


UNSAFE = ["../../canary", "/tmp/canary", "C:\\canary", "a\x1b]0;x\u202e", "n\udce9.jsonl"]


@pytest.mark.parametrize("name", UNSAFE)
def test_d49_that_names_of_members_are_shown_and_never_used_as_paths(tmp_path: Path, name: str) -> None:
    before = sorted(tmp_path.parent.rglob("*canary*"))
    raw = name.encode("utf-8", "surrogateescape")
    safe = "m" * len(raw)
    content = zipped(**{safe: LINES}).replace(safe.encode(), raw)
    packed = found(tmp_path, content)
    with packed.open() as file:
        assert file.readline() == LINES[: LINES.index(b"\n") + 1]
    shown = packed.name + packed.parts[0]
    assert shown.isprintable() and "\x1b" not in shown and "/" not in packed.name
    assert sorted(tmp_path.parent.rglob("*canary*")) == before


def test_d49_that_a_password_is_told(tmp_path: Path) -> None:
    content = bytearray(PACKED["zip"])
    directory = content.index(b"PK\x01\x02")
    content[6] |= 1
    content[directory + 8] |= 1
    error = refusal(tmp_path, bytes(content))
    assert error.code == "DATA-12" and "password" in error.message


def test_d49_that_methods_that_explode_are_not_unpacked(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("rows.jsonl", LINES)
    assert refusal(tmp_path, buffer.getvalue()).code == "DATA-12"


def test_d49_that_an_archive_of_too_many_files_is_refused(tmp_path: Path) -> None:
    content = zipped(**{f"m{i}": b"" for i in range(10_001)})
    with pytest.raises(EngineError) as caught:
        found(tmp_path, content)
    assert caught.value.code == "DATA-08" and "10,000" in caught.value.message


DOCUMENTS = {
    "word/document.xml": "Word",
    "ppt/presentation.xml": "PowerPoint",
    "META-INF/manifest.xml": "OpenDocument",
}


@pytest.mark.parametrize("inside", DOCUMENTS)
def test_that_documents_are_not_taken_as_archives(tmp_path: Path, inside: str) -> None:
    with pytest.raises(EngineError) as caught:
        found(tmp_path, zipped(**{"[Content_Types].xml": b"", inside: b""}))
    assert caught.value.code == "DATA-12" and DOCUMENTS[inside] in caught.value.message


READ = """
import resource, sys
from pathlib import Path
from engine.data.unpack import unpacker
from engine.errors import EngineError
path = Path(sys.argv[1])
with path.open("rb") as file:
    head = file.read(1 << 16)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
code, size = "", 0
try:
    with unpacker(path, head, None).open() as file:
        while piece := file.readline(1 << 24):
            size += len(piece)
except EngineError as error:
    code = error.code
print(size, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before, code)
"""


def grown(path: Path) -> tuple[int, float, str]:
    """Return (bytes read, growth of memory in MB, code of the error) of a child that reads a file."""
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    size, growth, code = (done.stdout.rstrip("\n") + " ").split(" ")[:3]
    return int(size), int(growth) / 1024, code


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in KiB on Linux only")
@pytest.mark.parametrize("kind", ["gzip", "zstd", "zip"])
def test_d49_that_memory_stays_flat_whatever_is_packed(tmp_path: Path, kind: str) -> None:
    lines = b"".join(os.urandom(1 << 20).hex(" ", 512).encode() + b"\n" for _ in range(40))
    path = tmp_path / "large"
    pack = {"gzip": lambda c: gzip.compress(c, 1), "zstd": zstandard.compress, "zip": lambda c: zipped(a=c)}
    path.write_bytes(pack[kind](lines))
    size, growth, code = grown(path)
    assert (size, code) == (len(lines), "") and growth < 40
    path.write_bytes(BOMBS[kind]((1 << 28) if kind == "zstd" else 80 << 20))
    size, growth, code = grown(path)
    assert code == "DATA-08" and growth < 100, (size, growth)


def test_d49_that_files_are_read_through_their_packing_by_what_is_inside(tmp_path: Path) -> None:
    dialogues = b"conversations:\n- - a\n  - b\n"
    table = b"question,answer\n" + b"a,b\n" * 50
    several = zipped(**{"a.yml": dialogues, "b.csv": table})
    for content, part, kind, count in (
        (PACKED["gzip"], None, "jsonl", 20_000),
        (zstandard.compress(table), None, "csv", 50),
        (zipped(**{"a.yml": dialogues}), "conversations", "yaml", 1),
        (several, "a.yml", "yaml", 1),
        (several, "b.csv", "csv", 50),
    ):
        path = tmp_path / "rows"
        path.write_bytes(content)
        layout = look_at(path, ReadOptions(part=part))
        assert (layout.kind, sum(isinstance(row, Row) for row in layout.rows())) == (kind, count)
