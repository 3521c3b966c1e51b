"""Files as people have them, D1 to D24: what is read, what is told, and what is refused with its line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from engine.data.options import ReadOptions
from engine.data.readers import Finding, Row, look_at, read_rows
from engine.errors import EngineError

GOOD = [{"prompt": f"ask {n}", "completion": f"say {n}"} for n in range(4)]


def jsonl(rows: list[Any]) -> bytes:
    """Return rows as JSON lines; text stands as it is."""
    lines = (r if isinstance(r, str) else json.dumps(r, ensure_ascii=False) for r in rows)
    return "".join(f"{line}\n" for line in lines).encode("utf-8")


def read(path: Path, content: bytes, **options: Any) -> tuple[list[Any], list[Finding], list[Finding]]:
    """Write a file and return (values of its rows, what refuses a row, what is only told)."""
    path.write_bytes(content)
    layout = look_at(path, ReadOptions(**options))
    items = list(layout.rows())
    found = [item for item in items if isinstance(item, Finding)]
    told = [*layout.remarks, *(f for f in found if f.severity == "report")]
    assert all(f.line for f in [*found, *layout.remarks])
    return (
        [item.value for item in items if isinstance(item, Row)],
        [f for f in found if f.severity == "error"],
        told,
    )


def refusal(path: Path, content: bytes, **options: Any) -> EngineError:
    """Write a file that is refused as a whole and return why."""
    with pytest.raises(EngineError) as caught:
        read(path, content, **options)
    return caught.value


def one_bad(tmp_path: Path, line: str | bytes, code: str = "DATA-02") -> Finding:
    """Read a file with one wrong line among good ones and return its finding."""
    raw = line.encode("utf-8") if isinstance(line, str) else line
    content = jsonl(GOOD[:2]) + raw + b"\n" + jsonl(GOOD[2:])
    values, wrong, _ = read(tmp_path / "a.jsonl", content)
    assert values == GOOD
    assert [(f.code, f.line) for f in wrong] == [(code, 3)]
    return wrong[0]


def test_d01_that_utf8_is_read_as_it_is(tmp_path: Path) -> None:
    rows = [{"text": "Zürich, 東京, שלום"}]
    assert read(tmp_path / "a.jsonl", jsonl(rows)) == (rows, [], [])


def test_d02_that_byte_order_marks_are_accepted_and_told(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + jsonl(GOOD[:2]) + b"\xef\xbb\xbf" + jsonl(GOOD[2:])
    values, wrong, told = read(tmp_path / "a.jsonl", content)
    assert values == GOOD and not wrong
    assert told


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_d03_that_utf16_with_its_mark_is_accepted_and_told(tmp_path: Path, encoding: str) -> None:
    content = ("\ufeff" + jsonl(GOOD).decode()).encode(encoding)
    values, wrong, told = read(tmp_path / "a.jsonl", content)
    assert values == GOOD and not wrong
    assert any("UTF-16" in f.message for f in told)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32-le", "utf-32-be"])
def test_d04_that_utf16_without_a_mark_utf32_and_binary_are_refused(tmp_path: Path, encoding: str) -> None:
    error = refusal(tmp_path / "a.jsonl", jsonl(GOOD).decode().encode(encoding))
    assert error.code == "DATA-01" and encoding[:6].upper() in error.message
    error = refusal(tmp_path / "b.jsonl", bytes(range(256)) * 40)
    assert error.code == "DATA-01" and "binary" in error.message


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("latin-1", "Müller fährt"), ("cp1252", "„Ja“ sagt Zoë"), ("shift_jis", "こんにちは")],
)
def test_d05_that_old_encodings_are_refused_with_the_byte_and_read_by_choice(
    tmp_path: Path, encoding: str, text: str
) -> None:
    content = ("prompt,completion\n" + f"a,{text}\n" * 3).encode(encoding)
    error = refusal(tmp_path / "a.csv", content)
    assert (error.code, error.line) == ("DATA-01", 2)
    column = 3 + next(n for n, c in enumerate(text) if not c.isascii())
    assert f"column {column}: byte 0x" in error.message and "guess" in error.hint
    values, wrong, _ = read(tmp_path / "a.csv", content, encoding=encoding)
    assert [v["completion"] for v in values] == [text] * 3 and not wrong


@pytest.mark.parametrize("raw", [b'{"prompt": "\xc3", "completion": "a"}', b'{"prompt": "\xc0\xaf"}'])
def test_d06_that_cut_and_overlong_utf8_refuse_the_row(tmp_path: Path, raw: bytes) -> None:
    rows = [{"prompt": f"Frage {n} für Zürich", "completion": "überall"} for n in range(20)]
    values, wrong, _ = read(tmp_path / "a.jsonl", jsonl(rows[:9]) + raw + b"\n" + jsonl(rows[9:]))
    assert values == rows
    assert [(f.code, f.line) for f in wrong] == [("DATA-01", 10)] and wrong[0].column


def test_d07_that_a_lone_surrogate_refuses_the_row(tmp_path: Path) -> None:
    one_bad(tmp_path, '{"prompt": "\\ud800", "completion": "a"}')
    rows, wrong, _ = read(tmp_path / "b.jsonl", b'{"text": "\\ud83d\\ude00"}\n')
    assert rows == [{"text": "😀"}] and not wrong


def test_d08_that_nul_refuses_the_row_and_other_controls_are_told(tmp_path: Path) -> None:
    one_bad(tmp_path, '{"prompt": "a\\u0000b", "completion": "a"}')
    values, wrong, told = read(tmp_path / "b.jsonl", jsonl([{"text": "a\u0007b"}, *GOOD]))
    assert values[0] == {"text": "a\u0007b"} and not wrong
    assert told


def test_d10_that_unusual_separators_and_emoji_stay_byte_for_byte(tmp_path: Path) -> None:
    rows = [{"text": "a\u2028b\u0085c e\u0301 👩\u200d👩\u200d👧"}]
    assert read(tmp_path / "a.jsonl", jsonl(rows))[0] == rows


def test_d11_that_crlf_is_read_and_cr_alone_is_refused(tmp_path: Path) -> None:
    values, wrong, _ = read(tmp_path / "a.jsonl", jsonl(GOOD).replace(b"\n", b"\r\n"))
    assert values == GOOD and not wrong
    error = refusal(tmp_path / "b.jsonl", jsonl(GOOD).replace(b"\n", b"\r"))
    assert error.code == "DATA-02" and "old Macs" in error.message


@pytest.mark.parametrize("content", [b"", b" \n\n\t\n", b"prompt,completion\n", b"[]"])
def test_d12_that_a_file_without_rows_is_refused(tmp_path: Path, content: bytes) -> None:
    assert refusal(tmp_path / "a.csv", content).code == "DATA-07"


def test_d13_that_blank_lines_are_told_once(tmp_path: Path) -> None:
    content = jsonl(GOOD[:1]) + b"\n  \n" + jsonl(GOOD[1:])
    values, wrong, told = read(tmp_path / "a.jsonl", content)
    assert values == GOOD and not wrong
    assert sum("blank" in f.message for f in told) == 1


def test_d14_that_a_missing_last_line_end_is_no_matter(tmp_path: Path) -> None:
    assert read(tmp_path / "a.jsonl", jsonl(GOOD).rstrip(b"\n")) == (GOOD, [], [])


def test_d15_that_a_last_row_cut_in_half_is_refused(tmp_path: Path) -> None:
    values, wrong, _ = read(tmp_path / "a.jsonl", jsonl(GOOD)[:-12])
    assert values == GOOD[:-1]
    assert [(f.code, f.line) for f in wrong] == [("DATA-02", 4)]
    assert "copied" in wrong[0].message or "download" in wrong[0].message


def grown(path: Path) -> int:
    """Read a file in a process of its own and return by how many MiB its memory grew."""
    program = (
        "import resource, sys\n"
        "from engine.data.readers import read_rows\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024\n"
        "before = peak()\n"
        "count = sum(1 for _ in read_rows(sys.argv[1]))\n"
        "print(peak() - before)"
    )
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, cwd=root
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_d16_that_a_line_of_more_than_16_mib_refuses_the_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    values, wrong, _ = read(path, jsonl([*GOOD[:2], {"text": "x" * (17 << 20)}, *GOOD[2:]]))
    assert values == GOOD and [(f.code, f.line) for f in wrong] == [("DATA-08", 3)]
    assert grown(path) <= 100


def test_d17_that_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    block = jsonl([{"prompt": "x" * 900, "completion": "y" * 900}] * 1000)
    with open(path, "wb") as file:
        for _ in range(120):
            file.write(block)
    assert path.stat().st_size > 200 << 20
    assert grown(path) <= 200


def test_d18_that_very_deep_nesting_refuses_the_row(tmp_path: Path) -> None:
    one_bad(tmp_path, '{"a": ' + "[" * 200_000 + "]" * 200_000 + "}")
    one_bad(tmp_path, '{"a": ' + "[" * 70 + "]" * 70 + "}")


def test_d19_that_a_number_of_5000_digits_refuses_the_row(tmp_path: Path) -> None:
    assert "digits" in one_bad(tmp_path, '{"a": ' + "9" * 5000 + "}").message


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_d20_that_numbers_that_are_none_refuse_the_row(tmp_path: Path, value: str) -> None:
    one_bad(tmp_path, f'{{"a": {value}}}')


def test_d21_that_a_key_twice_refuses_the_row(tmp_path: Path) -> None:
    assert "twice" in one_bad(tmp_path, '{"prompt": "a", "prompt": "b"}').message


def test_d22_that_the_name_does_not_decide_and_the_difference_is_told(tmp_path: Path) -> None:
    values, wrong, told = read(tmp_path / "a.jsonl", json.dumps(GOOD, indent=1).encode())
    assert values == GOOD and not wrong and told
    values, wrong, told = read(tmp_path / "a.json", jsonl(GOOD))
    assert values == GOOD and not wrong and told


def test_d23_that_the_list_of_an_object_can_be_chosen(tmp_path: Path) -> None:
    content = json.dumps({"train": GOOD, "test": GOOD[:1]}).encode()
    path = tmp_path / "a.json"
    assert read(path, content)[0] == GOOD
    assert set(look_at(path).parts) == {"train", "test"}
    assert read(path, content, part="test")[0] == GOOD[:1]


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt": "a", "completion": "b",}',
        '{"prompt": "a"} // said',
        "{'prompt': 'a', 'completion': 'b'}",
        '{"prompt": None, "completion": True}',
        '{"prompt": "a"} {"prompt": "b"}',
    ],
)
def test_d24_that_what_is_nearly_json_refuses_the_row_with_its_column(tmp_path: Path, line: str) -> None:
    found = one_bad(tmp_path, line)
    assert found.column is not None and found.message and found.hint


def test_that_a_broken_element_of_a_list_does_not_end_the_reading(tmp_path: Path) -> None:
    text = json.dumps(GOOD, indent=1).replace('"completion": "say 1"', '"completion": say 1')
    values, wrong, _ = read(tmp_path / "a.json", text.encode())
    assert len(values) == 3 and len(wrong) == 1
    assert wrong[0].line


# -- tables ------------------------------------------------------------------------------------------------
def test_d43_that_a_quote_that_never_closes_refuses_the_file_where_it_opened(tmp_path: Path) -> None:
    lines = ["prompt,completion", "a,b", 'c,"open', *(f"ask {n},say {n}" for n in range(50))]
    error = refusal(tmp_path / "a.csv", "\n".join(lines).encode())
    assert (error.code, error.line) == ("DATA-10", 3)


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ","])
def test_d44_that_delimiters_are_found_and_ragged_rows_refused(tmp_path: Path, delimiter: str) -> None:
    lines = [delimiter.join(cells) for cells in (("prompt", "completion"), ("a", "b"), ("c",), ("d", "e"))]
    lines += [delimiter.join((f"ask {n}", f"say {n}")) for n in range(10)]
    values, wrong, _ = read(tmp_path / "a.csv", "\n".join(lines).encode())
    assert values[0] == {"prompt": "a", "completion": "b"} and len(values) == 12
    assert [(f.code, f.line) for f in wrong] == [("DATA-10", 3)]
    assert "1 cell" in wrong[0].message and "2 expected" in wrong[0].message


def test_d44_that_header_and_delimiter_can_be_said(tmp_path: Path) -> None:
    content = b"one;two\nthree;four\n"
    assert len(read(tmp_path / "a.csv", content, header=False)[0]) == 2
    assert len(read(tmp_path / "a.csv", content, header=True)[0]) == 1
    values, _, _ = read(tmp_path / "a.csv", b"a,b;c\nd,e;f\n", delimiter=";", header=True)
    assert values == [{"a,b": "d,e", "c": "f"}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a;b\nc;d\ne;f\n", "semicolons between its cells; its first line names the columns"),
        (b"How many are there?,18\nAnd now?,3\n", "commas between its cells; its first line is a row"),
    ],
)
def test_d44_that_a_guess_is_shown_until_it_is_confirmed(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.csv"
    (told,) = read(path, content)[2]
    assert words in told.message and (told.code, told.severity) == ("DATA-10", "report") and told.hint
    layout = look_at(path)
    assert layout.table is not None
    confirmed = {"delimiter": layout.table.delimiter, "header": layout.table.header}
    assert read(path, content, **confirmed)[2] == []
    assert read(path, b"prompt,completion\na,b\n")[2] == []


def test_d44_that_names_of_columns_are_trimmed_and_told_where_they_stand_twice(tmp_path: Path) -> None:
    values, wrong, told = read(tmp_path / "a.csv", b" prompt , text,text\na,b,c\nd,e,f\n")
    assert values[0] == {"prompt": "a", "text": "b", "text_2": "c"} and not wrong
    assert any('"text" twice' in finding.message for finding in told)


def test_d43_that_a_quote_open_for_100000_lines_refuses_the_file(tmp_path: Path) -> None:
    error = refusal(tmp_path / "a.csv", b'prompt,completion\na,b\nc,"open\n' + b"x\n" * 100_002 + b'",d\n')
    assert (error.code, error.line) == ("DATA-10", 3) and "100,000 lines" in error.message


def test_d45_that_line_ends_in_quotes_and_large_fields_are_read(tmp_path: Path) -> None:
    large = "x" * 200_000
    content = f'prompt,completion\n"first\nsecond","{large}"\nc,d\n'.encode()
    values, wrong, _ = read(tmp_path / "a.csv", content)
    assert values[0] == {"prompt": "first\nsecond", "completion": large} and not wrong
    assert list(read_rows(tmp_path / "a.csv"))[1].line == 4


def test_d46_that_cells_that_look_like_formulas_are_text(tmp_path: Path) -> None:
    values, wrong, _ = read(tmp_path / "a.csv", b"prompt,completion\n=1+1,@SUM(A1)\n")
    assert values == [{"prompt": "=1+1", "completion": "@SUM(A1)"}] and not wrong
