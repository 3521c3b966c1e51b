"""Folders as data: saved data sets, shards and splits, documents, and D50: what else a folder may hold."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from engine.data import folder_files
from engine.data.options import ReadOptions
from engine.data.readers import Finding, Layout, Row, look_at, read_rows
from engine.errors import EngineError


def write(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def lines(*texts: str) -> str:
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


def read(folder: Path, part: str | None = None) -> list[Row]:
    found = list(read_rows(folder, ReadOptions(part=part)))
    assert all(isinstance(item, Row) for item in found), found
    return [item for item in found if isinstance(item, Row)]


def texts(folder: Path, part: str | None = None) -> list[str]:
    return [row.value if isinstance(row.value, str) else row.value["text"] for row in read(folder, part)]


def refusal(folder: Path, part: str | None = None) -> EngineError:
    with pytest.raises(EngineError) as caught:
        list(read_rows(folder, ReadOptions(part=part)))
    told = caught.value
    assert told.hint and told.line and folder.name in told.message
    return told


def told(layout: Layout) -> str:
    assert all(remark.severity == "report" and remark.line for remark in layout.remarks)
    return " ".join(remark.message for remark in layout.remarks)


def saved(folder: Path, shards: list[list[str]], labels: tuple[str, ...] = ("no", "yes")) -> Path:
    """Write what `Dataset.save_to_disk` writes."""
    features = {"text": {"_type": "Value"}, "label": {"_type": "ClassLabel", "names": list(labels)}}
    mark = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([("text", pa.string()), ("label", pa.int64())], metadata=mark)
    names = [f"data-{i:05}-of-{len(shards):05}.arrow" for i in range(len(shards))]
    folder.mkdir(parents=True)
    for name, shard in zip(names, shards, strict=True):
        table = pa.table({"text": shard, "label": [len(t) % 2 for t in shard]}, schema=schema)
        with pa.OSFile(str(folder / name), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            writer.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train", "_fingerprint": "0"}
    write(folder, {"state.json": json.dumps(state), "dataset_info.json": json.dumps({"features": features})})
    return folder


def test_that_a_saved_data_set_is_read_shard_by_shard_with_its_class_names(tmp_path: Path) -> None:
    folder = saved(tmp_path / "set", [["a", "b"], ["c"]])
    layout = look_at(folder)
    assert (layout.kind, layout.parts, layout.label_names) == ("folder", (), {"label": ("no", "yes")})
    rows = read(folder)
    assert [(row.value["text"], row.line, Path(row.file).name) for row in rows] == [
        ("a", 1, "data-00000-of-00002.arrow"),
        ("b", 2, "data-00000-of-00002.arrow"),
        ("c", 1, "data-00001-of-00002.arrow"),
    ]


def test_that_a_saved_data_set_of_splits_gives_train_and_offers_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "sets"
    saved(folder / "test", [["t"]])
    saved(folder / "train", [["a"], ["b"]])
    write(folder, {"dataset_dict.json": '{"splits": ["test", "train"]}'})
    layout = look_at(folder)
    assert (layout.parts, layout.part) == (("train", "test"), "train")
    assert "train is read (2 files); not read: test (1 file)" in told(layout)
    assert (texts(folder), texts(folder, "test")) == (["a", "b"], ["t"])


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ('{"_data_files": [{"filename": "data-00009.arrow"}]}', "data-00009.arrow"),
        ('{"_data_files": [{"filename": "../outside.arrow"}]}', "outside.arrow"),
        ('{"_data_files": []}', "names no files"),
        ('{"_data_files": "x"}', "names no files"),
        ("[1]", "state.json"),
        ("{" * 50_000, "state.json"),
    ],
)
def test_that_a_saved_data_set_that_is_not_whole_is_refused(tmp_path: Path, state: str, word: str) -> None:
    folder = saved(tmp_path / "set", [["a"]])
    (tmp_path / "outside.arrow").write_bytes((folder / "data-00000-of-00001.arrow").read_bytes())
    write(folder, {"state.json": state})
    error = refusal(folder)
    assert error.code == "DATA-12" and word in error.message


def test_that_a_selection_kept_apart_from_its_rows_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "set", [["a"]])
    state = json.loads((folder / "state.json").read_text())
    write(folder, {"state.json": json.dumps(state | {"_indices_data_files": [{"filename": "i.arrow"}]})})
    assert "flatten_indices" in refusal(folder).hint


def test_that_documents_are_read_in_order_each_as_a_text_of_its_own(tmp_path: Path) -> None:
    long = "\n\n".join(f"Paragraph {i} " + "word " * 60 for i in range(40))
    files = {"ch10.md": "ten", "ch2.md": long, "part/ch1.txt": "one", "notes.rst": "n", ".hidden.md": "no"}
    folder = write(tmp_path / "book", {**files, "LICENSE.md": "Do what you like.", "cover.png": b"\x89PNG"})
    rows = read(folder)
    ends = [Path(row.file).name for row in rows if not row.continues]
    assert ends == ["ch2.md", "ch10.md", "notes.rst", "ch1.txt"]
    pieces = [row for row in rows if Path(row.file).name == "ch2.md"]
    assert len(pieces) > 2 and "".join(str(p.value) for p in pieces).split() == long.split()
    assert [row.line for row in pieces] == sorted(row.line for row in pieces)
    assert "cover.png" in told(look_at(folder)) and "LICENSE.md" in told(look_at(folder))


def test_that_a_document_that_cannot_be_read_is_a_finding_with_its_file(tmp_path: Path) -> None:
    folder = write(tmp_path / "book", {"a.txt": "good", "b.txt": "schön\n".encode("latin-1"), "c.txt": ""})
    found = list(read_rows(folder))
    (row,) = [item for item in found if isinstance(item, Row)]
    bad, empty = [item for item in found if isinstance(item, Finding)]
    assert row.value == "good"
    assert (bad.code, bad.severity, Path(bad.file).name, bad.line) == ("DATA-01", "error", "b.txt", 1)
    assert (empty.code, empty.severity, Path(empty.file).name) == ("DATA-07", "report", "c.txt")


def test_that_a_byte_order_mark_in_a_document_is_reported(tmp_path: Path) -> None:
    folder = write(tmp_path / "book", {"a.txt": b"\xef\xbb\xbfgood", "b.txt": "more"})
    found = list(read_rows(folder))
    assert [item.value for item in found if isinstance(item, Row)] == ["good", "more"]
    assert [item.severity for item in found if isinstance(item, Finding)] == ["report"]


def test_that_shards_are_read_as_one_and_splits_are_parts(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    for name, words in (
        ("train-00000-of-00002", ["a", "b"]),
        ("train-00001-of-00002", ["c"]),
        ("validation-00000-of-00001", ["v"]),
        ("test-00000-of-00001", ["t"]),
    ):
        (folder / "data").mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"text": words}), folder / "data" / f"{name}.parquet")
    write(folder, {"README.md": "# A set", ".gitattributes": "x"})
    layout = look_at(folder)
    assert (layout.parts, layout.part) == (("train", "validation", "test"), "train")
    assert layout.rows_known == 3 and "README.md" in told(layout)
    assert texts(folder) == ["a", "b", "c"]
    assert (texts(folder, "validation"), texts(folder, "test")) == (["v"], ["t"])
    error = refusal(folder, "dev")
    assert (error.code, error.field) == ("DATA-12", "data.part")
    assert "train, validation, test" in error.hint


def test_that_files_without_a_split_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", {f"p{i}.jsonl": lines(str(i)) for i in (10, 2, 1)})
    write(folder, {"2024/p3.jsonl": lines("later")})
    assert texts(folder) == ["later", "1", "2", "10"]
    assert look_at(folder).parts == ()


def test_that_sets_in_folders_of_their_own_are_parts(tmp_path: Path) -> None:
    files = {f"{c}/{s}.jsonl": lines(f"{c} {s}") for c in ("main", "socratic") for s in ("train", "test")}
    folder = write(tmp_path / "set", files)
    layout = look_at(folder)
    assert layout.parts == ("main/train", "main/test", "socratic/train", "socratic/test")
    assert texts(folder) == ["main train"]
    assert texts(folder, "socratic/test") == ["socratic test"]
    assert refusal(folder, "train").field == "data.part"


def test_that_of_several_kinds_the_largest_is_read_and_the_others_offered(tmp_path: Path) -> None:
    files = {
        "a.jsonl": lines("x" * 500, "y"),
        "b.csv": "text\nz\n",
        "c.txt": "a document",
        "run.py": "print()",
    }
    folder = write(tmp_path / "set", files)
    layout = look_at(folder)
    assert (set(layout.parts), layout.part) == ({"JSON", "CSV", "documents"}, "JSON")
    assert "not read" in told(layout) and "run.py" in told(layout)
    assert (texts(folder, "CSV"), texts(folder, "documents")) == (["z"], ["a document"])


def test_that_a_packed_double_is_not_read_twice(tmp_path: Path) -> None:
    import gzip

    packed = gzip.compress(lines("a").encode())
    folder = write(tmp_path / "set", {"a.jsonl": lines("a"), "a.jsonl.gz": packed, "b.jsonl.gz": packed})
    assert texts(folder) == ["a", "a"]
    assert "a.jsonl.gz" in told(look_at(folder))


def test_that_a_damaged_shard_refuses_the_folder_by_its_name(tmp_path: Path) -> None:
    folder = write(tmp_path / "set", {"a.jsonl": lines("a"), "b.jsonl": ""})
    with pytest.raises(EngineError) as caught:
        list(read_rows(folder))
    assert caught.value.file == str(folder / "b.jsonl")


def test_that_later_shards_tell_the_same_thing_once(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    for i in range(5):
        parquet.write_table(pa.table({"text": ["x"], "image": [b"\x89"]}), folder / f"p{i}.parquet")
    assert told(look_at(folder)).count("image") == 1
    assert texts(folder) == ["x"] * 5


@pytest.mark.parametrize(
    ("files", "code", "words"),
    [
        ({}, "DATA-07", ["empty"]),
        ({".hidden": "x"}, "DATA-07", ["empty"]),
        ({"a.png": "x", "b.png": "x", "c.py": "x", "d.py": "x", "e": "x"}, "DATA-12", ["2 .png", "2 .py"]),
        ({"config.json": "{}", "model.safetensors": "x"}, "DATA-12", ["model", "model.safetensors"]),
    ],
)
def test_d50_that_a_folder_without_data_is_refused_with_what_it_holds(
    tmp_path: Path, files: dict[str, str | bytes], code: str, words: list[str]
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    error = refusal(write(folder, files))
    assert error.code == code and all(word in error.message for word in words)


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX systems")
def test_d50_that_links_out_loops_and_pipes_are_left_out_and_told(tmp_path: Path) -> None:
    write(tmp_path, {"secret.txt": "secret", "other/x.txt": "elsewhere"})
    folder = write(tmp_path / "set", {"a.txt": "a", "deep/b.txt": "b"})
    (folder / "inside.txt").symlink_to(folder / "a.txt")
    (folder / "out.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "deep" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "elsewhere").symlink_to(tmp_path / "other", target_is_directory=True)
    (folder / "circle.txt").symlink_to(folder / "circle.txt")
    (folder / "gone.txt").symlink_to(folder / "nothing")
    os.mkfifo(folder / "pipe.txt")
    assert texts(folder) == ["a", "b", "a"]
    report = told(look_at(folder))
    assert "2 broken links" in report and "3 links" in report and "1 special file" in report


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX systems")
def test_that_links_of_a_snapshot_lead_into_its_repository_only(tmp_path: Path) -> None:
    repository = tmp_path / "datasets--some--set"
    write(repository, {"blobs/1": lines("a"), "snapshots/c0ffee/x": ""})
    folder = repository / "snapshots" / "c0ffee"
    (folder / "x").unlink()
    (folder / "a.jsonl").symlink_to(Path("..") / ".." / "blobs" / "1")
    (tmp_path / "outside.jsonl").write_text(lines("outside"))
    (folder / "b.jsonl").symlink_to(tmp_path / "outside.jsonl")
    assert texts(folder) == ["a"]


def test_that_a_folder_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_files, "MOST_FILES", 10)
    folder = write(tmp_path / "set", {f"{i}.txt": "x" for i in range(11)})
    assert refusal(folder).code == "DATA-08"


def test_that_folders_deeper_than_the_limit_are_left_out_and_told(tmp_path: Path) -> None:
    deep = tmp_path / "set" / "/".join(["d"] * (folder_files.MOST_DEPTH + 2))
    write(tmp_path / "set", {"a.txt": "a"})
    write(deep, {"b.txt": "b"})
    assert texts(tmp_path / "set") == ["a"]
    assert "too deep" in told(look_at(tmp_path / "set"))


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("test/part-1.jsonl", "test"),
        ("my_dev.csv", "validation"),
        ("set.val.jsonl", "validation"),
        ("contest.jsonl", None),
        ("trainer_notes.jsonl", None),
        ("trains.jsonl", None),
    ],
)
def test_that_a_split_is_a_word_of_the_path(path: str, split: str | None) -> None:
    assert folder_files.split_of(Path(path)) == split
