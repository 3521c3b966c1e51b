"""Files of every kind and every fault become rows, findings with a line, or one clear refusal."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from engine.data.readers import Finding, Row, look_at, read_rows
from engine.errors import EngineError


def write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def rows(path: Path) -> list[Row]:
    found = [f for f in read_rows(path) if isinstance(f, Row) or f.severity != "report"]
    assert all(isinstance(r, Row) for r in found), [r for r in found if isinstance(r, Finding)]
    return [r for r in found if isinstance(r, Row)]


def findings(path: Path) -> list[Finding]:
    return [f for f in read_rows(path) if isinstance(f, Finding) and f.severity != "report"]


def refusal(path: Path) -> EngineError:
    with pytest.raises(EngineError) as caught:
        list(read_rows(path))
    assert caught.value.message and caught.value.hint
    return caught.value


TWO = [{"a": "x"}, {"a": "y"}]
LINES = "".join(json.dumps(r) + "\n" for r in TWO)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.txt", "a.csv", "a"])
def test_that_json_lines_are_found_by_content(tmp_path: Path, name: str) -> None:
    assert [(r.value, r.line) for r in rows(write(tmp_path, name, LINES))] == [(TWO[0], 1), (TWO[1], 2)]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.txt"])
@pytest.mark.parametrize("indent", [None, 2])
def test_that_a_list_gives_its_elements_with_their_lines(
    tmp_path: Path, name: str, indent: int | None
) -> None:
    found = rows(write(tmp_path, name, json.dumps(TWO, indent=indent)))
    assert [r.value for r in found] == TWO
    assert [r.line for r in found] == ([1, 1] if indent is None else [2, 5])


@pytest.mark.parametrize("key", ["data", "train", "questions"])
def test_that_an_object_gives_the_list_it_holds(tmp_path: Path, key: str) -> None:
    text = json.dumps({"version": "1.0", key: TWO, "more": [1, 2]}, indent=1)
    assert [r.value for r in rows(write(tmp_path, "a.json", text))] == TWO


def test_that_one_conversation_in_a_file_is_one_row(tmp_path: Path) -> None:
    chat = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    for indent in (None, 2):
        found = rows(write(tmp_path, "a.json", json.dumps(chat, indent=indent)))
        assert [r.value for r in found] == [chat]


def test_that_a_large_list_is_read_in_pieces(tmp_path: Path) -> None:
    many = [{"a": "x" * 3000, "n": i} for i in range(1500)]
    found = rows(write(tmp_path, "a.json", json.dumps(many, indent=1)))
    assert [r.value for r in found] == many
    assert found[1000].line == 2 + 4 * 1000


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("text", [LINES, json.dumps(TWO), "a,b\nx,y\nz,w\n"])
def test_that_a_byte_order_mark_is_understood(tmp_path: Path, encoding: str, text: str) -> None:
    assert len(rows(write(tmp_path, "a.csv", text.encode(encoding)))) == 2


def test_that_crlf_blank_lines_and_a_missing_last_newline_are_accepted(tmp_path: Path) -> None:
    found = rows(write(tmp_path, "a.jsonl", '{"a": "x"}\r\n\r\n{"a": "y"}'))
    assert [r.line for r in found] == [1, 3]


@pytest.mark.parametrize(
    ("line", "word", "column"),
    [
        ('{"a": "x",}', "comma too many", None),
        ("{'a': 'x'}", "double quotes", 2),
        ('{"a": NaN}', "NaN", None),
        ('{"a": 1e999}', "too large", None),
        ('{"a": "x", "a": "y"}', "twice", None),
        ('{"a": "\\ud800"}', "surrogate", None),
        ('{"a": "\\u0000"}', "NUL", None),
        ('{"a": "x"} {"a": "y"}', "follows", 12),
        ('{"a": "x', "middle", None),
        ('{"a": True}', "Python", 7),
        ('{"a": ' + "9" * 5000 + "}", "digits", None),
        ('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}", "deeper", None),
        ('{"a": ' + "[" * 70 + "]" * 70 + "}", "deeper", None),
    ],
)
def test_that_a_broken_line_is_told_and_the_next_is_read(
    tmp_path: Path, line: str, word: str, column: int | None
) -> None:
    path = write(tmp_path, "a.jsonl", LINES + line + "\n" + LINES)
    found = list(read_rows(path))
    assert [isinstance(f, Row) for f in found] == [True, True, False, True, True]
    finding = found[2]
    assert isinstance(finding, Finding)
    assert (finding.code, finding.line) == ("DATA-02", 3)
    assert word in finding.message and "line 3" in finding.message
    if column is not None:
        assert finding.column == column


def test_that_a_broken_element_of_a_list_is_told_with_its_line(tmp_path: Path) -> None:
    text = '[\n {"a": "x"},\n {"a": "y"\n  "b": "z"},\n {"a": "w"}\n]\n'
    found = list(read_rows(write(tmp_path, "a.json", text)))
    assert isinstance(found[0], Row)
    assert isinstance(found[1], Finding)
    assert (found[1].code, found[1].line) == ("DATA-02", 4)
    assert "begins on line 3" in found[1].message


@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ('[\n {"a": "x"},\n]\n', 3, "comma"),
        ('[\n {"a": "x"}\n {"a": "y"}\n]', 3, "comma is missing"),
        ('[\n {"a": "x"},\n {"a": "y"', 3, "middle"),
        ('[\n {"a": "x"}\n', 3, "does not end"),
        ('[\n {"a": "x"}\n]\n]', 4, "follows"),
    ],
)
def test_that_a_list_that_is_cut_or_mispunctuated_is_told(
    tmp_path: Path, text: str, line: int, word: str
) -> None:
    found = findings(write(tmp_path, "a.json", text))
    assert [(f.code, f.line) for f in found] == [("DATA-02", line)]
    assert word in found[0].message


def test_that_a_row_that_is_no_object_is_refused(tmp_path: Path) -> None:
    found = findings(write(tmp_path, "a.jsonl", '{"a": "x"}\n5\n[1]\nnull\n'))
    assert [(f.code, f.line) for f in found] == [("DATA-04", 2), ("DATA-04", 3), ("DATA-04", 4)]


def test_that_a_bad_byte_is_told_with_line_column_and_value(tmp_path: Path) -> None:
    found = findings(write(tmp_path, "a.jsonl", b'{"a": "\xc3\xa9"}\n{"a": "h\xe9"}\n{"a": "y"}\n'))
    assert [(f.code, f.line, f.column) for f in found] == [("DATA-01", 2, 9)]
    assert "0xE9" in found[0].message


@pytest.mark.parametrize(
    ("text", "encoding", "guess"),
    [
        ("Der Käfer lag auf dem Rücken.\n", "latin-1", "Windows-1252"),
        ("これは日本語のテキストです。ひらがなとカタカナ\n", "shift_jis", "Shift-JIS"),
        ("これは日本語のテキストです。ひらがなとカタカナ\n", "euc_jp", "EUC-JP"),
    ],
)
def test_that_old_encodings_are_refused_with_a_guess(
    tmp_path: Path, text: str, encoding: str, guess: str
) -> None:
    for name in ("a.txt", "a.csv"):
        error = refusal(write(tmp_path, name, ("first\n" + text).encode(encoding)))
        assert (error.code, error.line) == ("DATA-01", 2)
        assert guess in error.hint


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "DATA-07"),
        (b"  \n\n", "DATA-07"),
        (b"PAR1" + bytes(100), "DATA-12"),
        (b"\x1f\x8b" + bytes(100), "DATA-12"),
        (bytes(range(256)) * 20, "DATA-01"),
        ('{"a": "x"}\n' * 20).encode("utf-16-le")
        and (("{" + '"a": "x"}\n' * 20).encode("utf-16-le"), "DATA-01"),
        (('{"a": "x"}\n' * 20).encode("utf-32"), "DATA-01"),
        (b'{"a": "x"}\r{"a": "y"}\r{"a": "z"}\r', "DATA-02"),
    ],
    ids=["empty", "blank", "parquet", "gzip", "binary", "utf-16", "utf-32", "old mac"],
)
def test_that_what_cannot_be_rows_is_refused(tmp_path: Path, content: bytes, code: str) -> None:
    assert refusal(write(tmp_path, "a.jsonl", content)).code == code


def test_that_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / "pipe", tmp_path / "nothing"):
        error = refusal(path)
        assert error.code in ("DATA-07", "DATA-12")
        assert error.file == str(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_that_the_delimiter_and_the_header_are_found(tmp_path: Path, delimiter: str) -> None:
    text = "\n".join(delimiter.join(r) for r in [("text", "label"), ("I want, or not.", "x"), ("no", "y")])
    path = write(tmp_path, "a.csv", text.replace("I want, or not.", '"I want, or not."'))
    assert rows(path)[0].value == {"text": "I want, or not.", "label": "x"}
    assert rows(path)[0].line == 2


def test_that_a_table_without_header_gets_names(tmp_path: Path) -> None:
    path = write(tmp_path, "a.tsv", "How many are there?\t18\nAnd now?\t3\n")
    assert [r.value for r in rows(path)] == [
        {"column_1": "How many are there?", "column_2": "18"},
        {"column_1": "And now?", "column_2": "3"},
    ]


def test_that_cells_may_hold_quotes_newlines_and_formulas(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", 'q,a\r\n"one ""two""\r\nthree",=1+1\r\nx,' + "y" * 200_000 + "\r\n")
    found = rows(path)
    assert found[0].value == {"q": 'one "two"\nthree', "a": "=1+1"}
    assert [r.line for r in found] == [2, 4]
    assert len(found[1].value["a"]) == 200_000  # type: ignore[call-overload]


def test_that_a_quote_never_closed_refuses_the_file_where_it_opened(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, "a.csv", 'q,a\n1,2\n"open,3\n4,5\n6,7\n'))
    assert (error.code, error.line) == ("DATA-10", 3)


def test_that_ragged_rows_are_told_with_both_counts(tmp_path: Path) -> None:
    found = findings(write(tmp_path, "a.csv", "q,a\n1,2\n1,2,3\nx\n4,5\n" + "6,7\n" * 10))
    assert [(f.code, f.line) for f in found] == [("DATA-10", 3), ("DATA-10", 4)]
    assert "3 cells found, 2 expected" in found[0].message


def test_that_a_stray_quote_in_a_cell_is_read_as_spreadsheets_do(tmp_path: Path) -> None:
    found = rows(write(tmp_path, "a.csv", 'q,a\n"call it "x" now",b\nc,d\n'))
    assert len(found) == 2


def test_that_text_is_gathered_into_pieces_of_whole_paragraphs(tmp_path: Path) -> None:
    paragraphs = [f"Paragraph {i}, with words, commas; and more.\n" * 10 for i in range(40)]
    found = rows(write(tmp_path, "a.txt", "\n".join(paragraphs)))
    assert look_at(tmp_path / "a.txt").kind == "text"
    assert 5 < len(found) < 20
    assert all(isinstance(r.value, str) and len(r.value) <= 4000 for r in found)
    assert [r.continues for r in found] == [True] * (len(found) - 1) + [False]
    assert "".join(str(r.value) for r in found).count("Paragraph") == 400


def test_that_one_endless_line_of_text_is_cut(tmp_path: Path) -> None:
    found = rows(write(tmp_path, "a.md", "word " * 5000))
    assert "".join(str(r.value) for r in found) == "word " * 5000
    assert max(len(str(r.value)) for r in found) <= 4000


def test_that_unicode_line_separators_do_not_split_rows(tmp_path: Path) -> None:
    text = json.dumps({"a": "one\u2028two\u0085three"}, ensure_ascii=False) + "\n"
    assert rows(write(tmp_path, "a.jsonl", text))[0].value == {"a": "one\u2028two\u0085three"}
