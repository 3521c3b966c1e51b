"""D48: Parquet, Arrow files and Arrow streams, sound, of the wrong type, cut, forged, and far too large."""

from __future__ import annotations

import decimal
import json
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest

from engine.data import arrow_rows
from engine.data.rows import Finding, Row
from engine.errors import EngineError
from tests.unit.data.opened import PLAIN, read_arrow, refusal_of, source_of, values

FORMS = ("parquet", "file", "stream", "feather")
ROOT = Path(__file__).parents[3]


def write(folder: Path, table: pa.Table, form: str = "parquet", **options: object) -> Path:
    path = (
        folder
        / {"parquet": "a.parquet", "file": "a.arrow", "stream": "s.arrow", "feather": "a.feather"}[form]
    )
    if form == "parquet":
        parquet.write_table(table, path, **options)
    elif form == "feather":
        feather.write_feather(table, str(path))
    else:
        new = pa.ipc.new_file if form == "file" else pa.ipc.new_stream
        with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
    return path


def pairs(count: int) -> pa.Table:
    texts = ([f"What is {i}?" for i in range(count)], [f"{i} Ω" for i in range(count)])
    return pa.table({"q": pa.array(texts[0], pa.string()), "a": pa.array(texts[1], pa.string())})


@pytest.mark.parametrize("form", FORMS)
def test_that_each_form_gives_its_rows_in_order_with_their_numbers(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, pairs(2500), form)
    found = read_arrow(path)
    assert values(found) == pairs(2500).to_pylist()
    assert [row.line for row in found] == list(range(1, 2501))
    assert arrow_rows.look(source_of(path), PLAIN).rows == (None if form == "stream" else 2500)


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
@pytest.mark.parametrize("start", [1, 999, 1000, 2499, 2500])
def test_that_reading_can_begin_at_any_row(tmp_path: Path, form: str, start: int) -> None:
    path = write(tmp_path, pairs(2500), form, **({"row_group_size": 700} if form == "parquet" else {}))
    found = read_arrow(path, start)
    assert values(found) == pairs(2500).to_pylist()[start:]
    assert [row.line for row in found] == list(range(start + 1, 2501))


@pytest.mark.parametrize("form", FORMS)
def test_d48_that_nested_columns_become_lists_and_dicts_without_empty_fields(
    tmp_path: Path, form: str
) -> None:
    message = pa.struct([("role", pa.string()), ("content", pa.large_string()), ("name", pa.string())])
    chat = [
        {"role": "user", "content": "hi", "name": None},
        {"role": "assistant", "content": "", "name": "m"},
    ]
    columns = {
        "messages": pa.array([chat, None, []], pa.list_(message)),
        "extra": pa.array([[("k", "v"), ("n", None)], [], None], pa.map_(pa.string(), pa.string())),
        "meta": pa.array([{"lang": "de", "n": 1}, None, {"lang": None, "n": 2}]),
        "label": pa.array([1, None, 3], pa.int8()),
        "score": pa.array([0.5, float("nan"), None], pa.float32()),
        "ok": [True, False, None],
        "nothing": pa.nulls(3),
        "never": pa.array([[], None, []], pa.list_(pa.null())),
    }
    assert values(read_arrow(write(tmp_path, pa.table(columns), form))) == [
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": "", "name": "m"},
            ],
            "extra": {"k": "v", "n": None},
            "meta": {"lang": "de", "n": 1},
            "label": 1,
            "score": 0.5,
            "ok": True,
            "nothing": None,
            "never": [],
        },
        dict.fromkeys(columns) | {"extra": {}, "ok": False},
        dict.fromkeys(columns) | {"messages": [], "meta": {"n": 2}, "label": 3, "never": []},
    ]


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
def test_d48_that_text_in_a_dictionary_is_text(tmp_path: Path, form: str) -> None:
    texts = ["yes", "no", None, "yes", "maybe"] * 500
    table = pa.table({"a": pa.array(texts).dictionary_encode(), "b": texts})
    assert values(read_arrow(write(tmp_path, table, form))) == [{"a": t, "b": t} for t in texts]


WRONG = {
    "binary": pa.array([b"a", b"b"]),
    "decimal128(3, 1)": pa.array([decimal.Decimal("1.5"), None], pa.decimal128(3, 1)),
    "timestamp[us]": pa.array([0, 1], pa.timestamp("us")),
    "struct<bytes: binary, path: string>": pa.array([{"bytes": b"\x89PNG", "path": "a.png"}, None]),
    "list<element: double>": pa.array([[0.5], [1.0]]),
}


@pytest.mark.parametrize("kind", WRONG)
def test_d48_that_a_column_of_the_wrong_type_is_named_and_never_offered(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, pa.table({"text": ["x", "y"], "odd": WRONG[kind]}))
    found = arrow_rows.look(source_of(path), PLAIN)
    (told,) = found.remarks
    assert (told.code, told.severity, told.line) == ("DATA-04", "report", 1)
    assert '"odd"' in told.message and kind.split("[")[0] in told.message
    assert values(read_arrow(path)) == [{"text": "x"}, {"text": "y"}]


@pytest.mark.parametrize("kind", WRONG)
def test_d48_that_a_file_without_any_text_is_refused_with_its_types(tmp_path: Path, kind: str) -> None:
    told = refusal_of(write(tmp_path, pa.table({"id": [1, 2], "odd": WRONG[kind]})))
    assert told.code == "DATA-04" and f"odd is {kind}" in told.message and "id is int64" in told.message


def test_that_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["a", "a"])
    told = refusal_of(write(tmp_path, table, "file"))
    assert told.code == "DATA-04" and '"a"' in told.message


@pytest.mark.parametrize("form", FORMS)
def test_d12_that_a_table_without_rows_is_refused(tmp_path: Path, form: str) -> None:
    assert refusal_of(write(tmp_path, pairs(0), form)).code == "DATA-07"


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
def test_d48_that_a_file_cut_anywhere_is_refused_once_and_clearly(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, pairs(3000), form)
    whole, reported = path.read_bytes(), 0
    for at in range(16, len(whole) - 1, len(whole) // 60):
        path.write_bytes(whole[:at])
        try:
            last = read_arrow(path)[-1]
        except EngineError as error:
            assert error.code == "DATA-12" and error.hint and "damaged" in error.message
        else:  # a stream that happens to be cut between two batches
            assert form == "stream" and isinstance(last, Finding) and last.severity == "report"
            reported += 1
    assert reported < 5


def test_that_a_stream_without_its_end_mark_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, pairs(10), "stream")
    path.write_bytes(path.read_bytes()[:-8])
    found = read_arrow(path)
    assert len(values(found[:-1])) == 10
    assert isinstance(found[-1], Finding) and (found[-1].severity, found[-1].line) == ("report", 10)


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
def test_d48_that_damaged_bytes_give_rows_findings_or_one_refusal(tmp_path: Path, form: str) -> None:
    chat = pa.array([[{"role": "user", "content": f"{i} é"}] for i in range(300)])
    texts = pa.array([f"t {i % 7}" for i in range(300)]).dictionary_encode()
    path = write(tmp_path, pa.table({"messages": chat, "text": texts, "n": list(range(300))}), form)
    whole, chance = path.read_bytes(), random.Random(48)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4))):
            damaged[chance.randrange(8, len(whole))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            found = read_arrow(path)
        except EngineError as error:
            assert error.code.startswith("DATA-") and error.hint and error.line, error
        else:
            assert all(item.line for item in found)


def not_utf8(kind: str) -> pa.Array:
    raw = pa.array([b"fine", b"\xff\xfe", b"good"])
    text = raw.view(pa.string())
    if kind == "text":
        return text
    if kind == "large":
        return raw.cast(pa.large_binary()).view(pa.large_string())
    if kind == "dictionary":
        return pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), text, safe=False)
    struct = pa.StructArray.from_arrays([text], names=["content"])
    return struct if kind == "struct" else pa.ListArray.from_arrays([0, 1, 2, 3], struct)


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
@pytest.mark.parametrize("kind", ["text", "large", "dictionary", "struct", "list"])
def test_d06_that_text_that_is_not_utf8_refuses_its_row_alone(tmp_path: Path, form: str, kind: str) -> None:
    path = write(tmp_path, pa.table({"a": not_utf8(kind), "b": ["x", "y", "z"]}), form)
    if (form, kind) == ("parquet", "dictionary"):  # all its texts are checked before any row is given
        assert refusal_of(path).code == "DATA-01"
        return
    first, bad, last = read_arrow(path)
    assert isinstance(first, Row) and isinstance(last, Row) and "fine" in str(first.value["a"])
    assert isinstance(bad, Finding) and (bad.code, bad.line, bad.severity) == ("DATA-01", 2, "error")
    assert "a" in bad.message and "UTF-8" in bad.message and bad.hint


def test_d08_that_a_nul_refuses_its_row_and_names_its_place(tmp_path: Path) -> None:
    chat = [[{"role": "user", "content": "a"}], [{"role": "user", "content": "b\0"}]]
    first, bad = read_arrow(write(tmp_path, pa.table({"messages": chat})))
    assert isinstance(first, Row)
    assert isinstance(bad, Finding) and (bad.code, bad.line) == ("DATA-02", 2)
    assert "messages[0].content" in bad.message and "NUL" in bad.message


def test_d21_that_a_key_twice_in_a_map_refuses_its_row(tmp_path: Path) -> None:
    maps = pa.array([[("k", "1"), ("k", "2")], [("k", "1")]], pa.map_(pa.string(), pa.string()))
    bad, good = read_arrow(write(tmp_path, pa.table({"m": maps, "t": ["x", "y"]}), "file"))
    assert isinstance(bad, Finding) and bad.code == "DATA-02" and isinstance(good, Row)


def test_d16_that_a_row_larger_than_16_mib_is_refused_alone(tmp_path: Path) -> None:
    table = pa.table({"text": ["small", "x" * (17 << 20), "small again"]})
    first, bad, last = read_arrow(write(tmp_path, table))
    assert isinstance(first, Row) and isinstance(last, Row) and last.line == 3
    assert isinstance(bad, Finding) and (bad.code, bad.line) == ("DATA-08", 2) and "16 MiB" in bad.message


@pytest.mark.parametrize("offset", [b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x10\x00\x00"])
def test_that_offsets_that_point_outside_the_file_are_refused_unread(tmp_path: Path, offset: bytes) -> None:
    path = write(tmp_path, pa.table({"t": ["abcdefghijklm"]}), "stream")
    whole = path.read_bytes()
    sound = bytes(4) + b"\x0d\0\0\0"
    assert whole.count(sound) >= 1
    at = whole.rindex(sound)
    path.write_bytes(whole[: at + 4] + offset + whole[at + 8 :])
    assert refusal_of(path).code == "DATA-12"


def test_that_class_names_come_from_the_schema(tmp_path: Path) -> None:
    features = {"label": {"_type": "ClassLabel", "names": ["bad", "good"]}, "text": {"_type": "Value"}}
    table = pa.table({"text": ["x"], "label": [1]})
    for value, names in (
        (json.dumps({"info": {"features": features}}), {"label": ("bad", "good")}),
        ("[" * 100_000, {}),
        ("{", {}),
        ("[]", {}),
        ('{"info": {"features": {"label": {"_type": "ClassLabel", "names": "x"}}}}', {}),
    ):
        path = write(tmp_path, table.replace_schema_metadata({"huggingface": value}), "stream")
        assert arrow_rows.look(source_of(path), PLAIN).label_names == names


def test_that_an_extension_type_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (canary,)

    marks = {
        "ARROW:extension:name": "arrow.py_extension_type",
        "ARROW:extension:metadata": pickle.dumps(Payload()),
    }
    schema = pa.schema([pa.field("t", pa.string(), metadata=marks)])
    path = write(tmp_path, pa.table({"t": ["x"]}, schema=schema), "file")
    assert values(read_arrow(path)) == [{"t": "x"}]
    assert not canary.exists()


def test_d50_that_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, pairs(2500), "stream")
    source = source_of(path)
    stream = arrow_rows.rows(source, arrow_rows.look(source, PLAIN))
    next(stream)
    with open(path, "ab") as file:
        file.write(b"more")
    with pytest.raises(EngineError) as caught:
        list(stream)
    assert caught.value.code == "DATA-12"


def grown(code: str, *arguments: str) -> float:
    """Return by how many MiB the memory of a fresh process grows while it runs `code` (after its imports)."""
    script = (
        "import resource, sys, pyarrow.parquet, pyarrow.compute, pytest\n"
        "from itertools import islice\nfrom pathlib import Path\nfrom engine.data import arrow_rows\n"
        "from tests.unit.data.opened import PLAIN, source_of\n"
        "def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        f"source = source_of(Path(sys.argv[1]))\nbefore = peak()\n{code}\nprint(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


COUNT = "found = arrow_rows.look(source, PLAIN)\nassert sum(1 for _ in arrow_rows.rows(source, found)) == {}"


def test_that_memory_stays_flat_over_a_million_rows_of_one_group(tmp_path: Path) -> None:
    count = 1_000_000
    numbers = pa.array(range(count)).cast(pa.string())
    path = write(tmp_path, pa.table({"q": numbers, "a": numbers}), row_group_size=count)
    assert grown(COUNT.format(count), str(path)) < 100


def test_d48_that_a_tiny_file_of_five_million_rows_is_read_as_needed(tmp_path: Path) -> None:
    same = pa.DictionaryArray.from_arrays(pa.array([0]), ["word " * 50]).take(pa.array([0] * 5_000_000))
    path = write(
        tmp_path,
        pa.table({"text": same}),
        compression="zstd",
        row_group_size=5_000_000,
        data_page_size=64 << 20,
        max_rows_per_page=5_000_000,
    )
    assert path.stat().st_size < 64 << 10
    found = arrow_rows.look(source_of(path), PLAIN)
    (told,) = found.remarks
    assert found.rows == 5_000_000 and told.severity == "report"
    assert "5,000,000 rows" in told.message and "1,000,000,000" in told.message
    few = "assert len(list(islice(arrow_rows.rows(source, arrow_rows.look(source, PLAIN)), 3000))) == 3000"
    assert grown(few, str(path)) < 100


@pytest.mark.parametrize("kept", [True, False])
def test_that_a_long_text_in_every_row_of_a_small_file_costs_its_length_once(
    tmp_path: Path, kept: bool
) -> None:
    long = pa.DictionaryArray.from_arrays(pa.array([0]), ["x" * (2 << 20)]).take(pa.array([0] * 5_000))
    path = write(tmp_path, pa.table({"text": long}), store_schema=kept, compression="zstd")
    assert path.stat().st_size < 64 << 10
    assert grown(COUNT.format(5000), str(path)) < 150
