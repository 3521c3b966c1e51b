"""Workbooks: every cell a value or a finding with its name, sheets chosen and told, bombs never opened."""

from __future__ import annotations

import datetime
import io
import random
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from engine.data import xlsx_rows
from engine.data.options import ReadOptions
from engine.data.rows import Finding, Found, Row
from engine.data.source import Source
from engine.errors import EngineError

NAMES = ["question", "answer"]
MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
SHEET = "xl/worksheets/sheet1.xml"


def source_of(path: Path) -> Source:
    content = path.read_bytes()
    return Source(path, path.name, "utf-8", 0, content[: 1 << 18], len(content))


def read(path: Path, **options: Any) -> tuple[Found, list[Row | Finding]]:
    source = source_of(path)
    found = xlsx_rows.look(source, ReadOptions(**options))
    return found, list(xlsx_rows.rows(source, found))


def values(path: Path, **options: Any) -> list[Any]:
    each = read(path, **options)[1]
    bad = [f for f in each if isinstance(f, Finding) and f.severity == "error"]
    assert not bad, bad
    return [r.value for r in each if isinstance(r, Row)]


def refusal(path: Path, **options: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        read(path, **options)
    assert caught.value.hint and caught.value.file == str(path)
    return caught.value


def book(tmp_path: Path, *rows: list[Any], name: str = "Sheet1") -> tuple[openpyxl.Workbook, Path]:
    made = openpyxl.Workbook()
    made.active.title = name
    for row in rows:
        made.active.append(row)
    path = tmp_path / "book.xlsx"
    made.save(path)
    return made, path


def raw_book(path: Path, sheet: str | bytes, **parts: str | bytes) -> Path:
    """Write a workbook of one sheet from its XML; `parts` replace or add others."""
    targets = {"worksheet": "worksheets/sheet1.xml", "sharedStrings": "sharedStrings.xml", "styles": "s.xml"}
    relations = "".join(f'<Relationship Id="{k}" Type="a/{k}" Target="{v}"/>' for k, v in targets.items())
    sheets = '<sheets><sheet name="S" r:id="worksheet"/></sheets>'
    all_parts = {
        "[Content_Types].xml": "<Types/>",
        "xl/workbook.xml": f'<workbook {MAIN} xmlns:r="r">{sheets}</workbook>',
        "xl/_rels/workbook.xml.rels": f"<Relationships>{relations}</Relationships>",
        SHEET: sheet,
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**all_parts, **parts}.items():
            archive.writestr(name, content)
    return path


def sheet_of(*rows: str, after: str = "") -> str:
    text = "".join(f'<row r="{at}">{cells}</row>' for at, cells in enumerate(rows, 1))
    return f"<worksheet {MAIN}><sheetData>{text}</sheetData>{after}</worksheet>"


def inline(name: str, text: str) -> str:
    return f'<c r="{name}" t="inlineStr"><is><t>{text}</t></is></c>'


HEADER = inline("A1", "question") + inline("B1", "answer")


def test_d47_that_a_sheet_gives_its_rows_with_their_lines_and_cells(tmp_path: Path) -> None:
    _, path = book(tmp_path, NAMES, ["a", "größe\nzwei 你好 🦊"], ["b", None])
    found, each = read(path)
    assert (found.parts, found.part, found.remarks) == (("Sheet1",), "Sheet1", ())
    assert [(r.value, r.line) for r in each if isinstance(r, Row)] == [
        ({"question": "a", "answer": "größe\nzwei 你好 🦊"}, 2),
        ({"question": "b", "answer": ""}, 3),
    ]
    assert isinstance(each[0], Row) and each[0].cells == {"question": "Sheet1!A", "answer": "Sheet1!B"}


def test_d47_that_a_formula_without_its_value_is_refused_with_the_cell(tmp_path: Path) -> None:
    _, path = book(tmp_path, NAMES, ["a", "=1+1"], ["b", "c"])
    each = read(path)[1]
    assert isinstance(each[0], Finding) and each[0].severity == "error"
    assert (each[0].code, each[0].line) == ("DATA-04", 2)
    assert "Sheet1!B2" in each[0].message and each[0].hint
    assert isinstance(each[1], Row) and each[1].line == 3


def test_d47_that_a_formula_with_its_value_gives_the_value(tmp_path: Path) -> None:
    cells = '<c r="A2" t="str"><f>"a"&amp;"b"</f><v>ab</v></c><c r="B2" t="str"><f>""</f><v></v></c>'
    numbers = '<c r="A3"><f t="shared" si="0"/><v>7</v></c><c r="B3" t="b"><f>1=1</f><v>1</v></c>'
    path = raw_book(tmp_path / "b.xlsx", sheet_of(HEADER, cells, numbers))
    assert values(path) == [{"question": "ab", "answer": ""}, {"question": 7, "answer": True}]


@pytest.mark.parametrize("error", ["#REF!", "#N/A", "#DIV/0!", "#NAME?", "#VALUE!"])
def test_d47_that_an_error_is_refused_with_the_cell(tmp_path: Path, error: str) -> None:
    path = raw_book(tmp_path / "b.xlsx", sheet_of(HEADER, f'<c r="B2" t="e"><v>{error}</v></c>'))
    found = read(path)[1][0]
    assert isinstance(found, Finding) and found.code == "DATA-04"
    assert "S!B2" in found.message and error in found.message


def test_d47_that_numbers_dates_and_truth_stay_what_they_are(tmp_path: Path) -> None:
    moment = datetime.datetime(2024, 2, 29, 12, 30)
    row = [1, 2.5, True, moment, datetime.date(1999, 12, 31), datetime.time(7, 5)]
    _, path = book(tmp_path, list("abcdef"), row)
    got = list(values(path)[0].values())
    assert got == [1, 2.5, True, moment, datetime.datetime(1999, 12, 31), datetime.time(7, 5)]
    assert [type(v) for v in got[:3]] == [int, float, bool]


def test_d47_that_dates_of_the_mac_calendar_are_read_as_meant(tmp_path: Path) -> None:
    made, path = book(tmp_path, ["a", "b"])
    made.epoch = openpyxl.utils.datetime.CALENDAR_MAC_1904
    made.active.append(["x", datetime.datetime(2020, 5, 17)])
    made.save(path)
    assert values(path)[0]["b"] == datetime.datetime(2020, 5, 17)


def test_that_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    for text in ("1e999", "9" * 5000, "x", "nan"):
        path = raw_book(tmp_path / "b.xlsx", sheet_of(HEADER, f'<c r="B2"><v>{text}</v></c>'))
        found = read(path)[1][0]
        assert isinstance(found, Finding) and found.code == "DATA-02" and "S!B2" in found.message


def test_that_characters_written_as_codes_are_read_and_halves_are_refused(tmp_path: Path) -> None:
    good = inline("A2", "a_x000D_b _x005F_x000D_") + inline("B2", "_xD83E__xDD8A_")
    path = raw_book(tmp_path / "b.xlsx", sheet_of(HEADER, good))
    assert values(path) == [{"question": "a\rb _x000D_", "answer": "🦊"}]
    for bad in ("_x0000_", "_xD83E_"):
        path = raw_book(tmp_path / "b.xlsx", sheet_of(HEADER, inline("B2", f"x{bad}")))
        found = read(path)[1][0]
        assert isinstance(found, Finding) and found.code == "DATA-02" and "S!B2" in found.message


def test_that_shared_texts_in_pieces_are_joined_without_their_reading_aids(tmp_path: Path) -> None:
    aid = '<rPh sb="0" eb="1"><t>ヨミ</t></rPh>'
    pieces = f"<r><t>東</t></r><r><t xml:space='preserve'> 京</t></r>{aid}"
    shared = f"<sst {MAIN}><si><t>question</t></si><si>{pieces}</si></sst>"
    cells = '<c r="A1" t="s"><v>0</v></c>' + inline("B1", "answer"), '<c r="A2" t="s"><v>1</v></c>'
    path = raw_book(tmp_path / "b.xlsx", sheet_of(*cells), **{"xl/sharedStrings.xml": shared})
    assert values(path) == [{"question": "東 京", "answer": ""}]


def test_d47_that_merged_cells_give_their_value_once_and_are_told(tmp_path: Path) -> None:
    made, path = book(tmp_path, NAMES, ["a", "x"], [None, "y"], ["b", "z"])
    made.active.merge_cells("A2:A3")
    made.save(path)
    each = read(path)[1]
    assert [r.value["question"] for r in each if isinstance(r, Row)] == ["a", "", "b"]  # type: ignore[index]
    assert isinstance(each[-1], Finding) and each[-1].severity == "report"
    assert "1 merged range (A2:A3)" in each[-1].message and each[-1].line == 2


def test_that_empty_and_hidden_rows_are_counted(tmp_path: Path) -> None:
    made, path = book(tmp_path, NAMES, ["a", "x"], [], [], ["b", "y"], [], ["c", "z"])
    made.active.row_dimensions[5].hidden = True
    made.save(path)
    each = read(path)[1]
    assert [r.line for r in each if isinstance(r, Row)] == [2, 5, 7]
    told = [f.message for f in each if isinstance(f, Finding)]
    assert len(told) == 2 and "3 empty rows" in told[0] and "1 hidden row " in told[1]


def test_d47_that_the_first_visible_sheet_with_a_table_is_read_and_the_others_told(tmp_path: Path) -> None:
    made, path = book(tmp_path, ["This workbook has its data on the next sheet."], name="about")
    for name in ("rows", "more", "secret"):
        sheet = made.create_sheet(name)
        sheet.append(NAMES)
        sheet.append([name, "x"])
    made["secret"].sheet_state = "hidden"
    made.move_sheet("secret", -3)
    made.create_chartsheet("chart")
    made.save(path)
    found, each = read(path)
    assert found.parts == ("about", "rows", "more", "secret") and found.part == "rows"
    assert isinstance(each[0], Row) and each[0].value == {"question": "rows", "answer": "x"}
    (remark,) = found.remarks
    assert remark.severity == "report" and "about, more, secret (hidden)" in remark.message
    assert values(path, part="more") == [{"question": "more", "answer": "x"}]
    assert values(path, part="secret") == [{"question": "secret", "answer": "x"}]
    error = refusal(path, part="gone")
    assert error.code == "DATA-12" and error.field == "data.part" and "about, rows, more" in error.message


def test_d47_that_a_hidden_sheet_is_never_read_unasked(tmp_path: Path) -> None:
    made, path = book(tmp_path)
    hidden = made.create_sheet("secret")
    hidden.append(NAMES)
    hidden.append(["a", "b"])
    hidden.sheet_state = "veryHidden"
    made.save(path)
    assert refusal(path).code == "DATA-07"
    assert values(path, part="secret") == [{"question": "a", "answer": "b"}]


def test_that_a_header_is_found_below_a_title_and_can_be_said(tmp_path: Path) -> None:
    _, path = book(tmp_path, ["My data"], [], NAMES, ["a", "b"], ["c", "d"], NAMES)
    found, each = read(path)
    assert [r.value for r in each if isinstance(r, Row)] == [
        {"question": "a", "answer": "b"},
        {"question": "c", "answer": "d"},
    ]
    assert "title" in found.remarks[0].message
    assert values(path, header=False)[0] == {"column_1": "My data", "column_2": ""}
    _, path = book(tmp_path, ["What is it?", "A stone."], ["Who?", "He."])
    assert values(path)[0] == {"column_1": "What is it?", "column_2": "A stone."}
    assert values(path, header=True) == [{"What is it?": "Who?", "A stone.": "He."}]


def test_that_a_value_beside_the_table_is_refused_with_its_cell(tmp_path: Path) -> None:
    rows = [["a", "b"] for _ in range(300)]
    _, path = book(tmp_path, NAMES, *rows, ["c", "d", None, "note"])
    found = [f for f in read(path)[1] if isinstance(f, Finding)]
    assert [(f.code, f.line) for f in found] == [("DATA-10", 302)] and "Sheet1!D302" in found[0].message


def test_that_an_empty_workbook_is_refused(tmp_path: Path) -> None:
    assert refusal(book(tmp_path)[1]).code == "DATA-07"


def ole(*names: str) -> bytes:
    """Return the beginning of an old Office container whose directory has these names."""
    head = bytearray(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504))
    head[30:32], head[48:52] = (9).to_bytes(2, "little"), (1).to_bytes(4, "little")
    entries = b"".join(n.encode("utf-16-le").ljust(128, b"\0") for n in ("Root Entry", *names))
    return bytes(head) + bytes(512) + entries.ljust(1024, b"\0")


def test_d47_that_old_workbooks_and_passwords_are_told(tmp_path: Path) -> None:
    path = tmp_path / "book.xlsx"
    for content, word in (
        (ole("Workbook"), "old Office"),
        (ole("EncryptionInfo", "EncryptedPackage"), "password"),
    ):
        path.write_bytes(content)
        error = refusal(path)
        assert error.code == "DATA-12" and word in error.message
    binary = raw_book(tmp_path / "b.xlsb", "", **{"xl/workbook.bin": b"x"})
    assert refusal(binary).code == "DATA-12"


LAUGHS = '<!DOCTYPE l [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
OUTSIDE = '<!DOCTYPE l [<!ENTITY i SYSTEM "file:///etc/passwd">'


@pytest.mark.parametrize("part", [SHEET, "xl/workbook.xml", "xl/sharedStrings.xml", "xl/s.xml"])
@pytest.mark.parametrize("bomb", [LAUGHS, OUTSIDE])
def test_d47_that_an_entity_bomb_is_never_expanded(tmp_path: Path, part: str, bomb: str) -> None:
    sheet = sheet_of('<c r="A1" t="s"><v>0</v></c>')
    path = raw_book(tmp_path / "b.xlsx", sheet, **{part: f"{bomb}]><x>&i;</x>"})
    started = time.monotonic()
    error = refusal(path)
    assert error.code == "DATA-12" and "document type" in error.message
    assert "root:" not in str(error) and time.monotonic() - started < 1


@pytest.mark.parametrize("part", [SHEET, "xl/media/picture.bin"])
def test_d47_that_a_workbook_that_unpacks_to_too_much_is_not_opened(tmp_path: Path, part: str) -> None:
    path = raw_book(tmp_path / "b.xlsx", sheet_of(HEADER), **{part: bytes(40 << 20)})
    started = time.monotonic()
    error = refusal(path)
    assert error.code == "DATA-08" and "200 times" in error.message and time.monotonic() - started < 1


def test_d47_that_more_than_a_gib_is_refused_by_what_the_file_says(tmp_path: Path) -> None:
    path = raw_book(tmp_path / "b.xlsx", sheet_of(HEADER), x="")
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 20 : entry + 28] = (1 << 29).to_bytes(4, "little") + ((1 << 30) + 1).to_bytes(4, "little")
    path.write_bytes(content)
    error = refusal(path)
    assert error.code == "DATA-08" and "1 GiB" in error.message


def test_that_a_workbook_cut_or_damaged_gives_its_rows_and_then_the_error(tmp_path: Path) -> None:
    rows = [inline(f"A{i}", f"question {i} {random.Random(i).random()}") for i in range(2, 3000)]
    whole = sheet_of(HEADER, *rows)
    path = raw_book(tmp_path / "b.xlsx", whole[: len(whole) // 2])
    source = source_of(path)
    found, got = xlsx_rows.look(source, ReadOptions()), []
    with pytest.raises(EngineError) as caught:
        for each in xlsx_rows.rows(source, found):
            got.append(each)
    assert caught.value.code == "DATA-12" and len(got) > 1000
    path.write_bytes(path.read_bytes()[:-200])
    assert refusal(path).code == "DATA-12"


@pytest.mark.parametrize(
    "sheet",
    [
        sheet_of('<c r="A1" t="s"><v>5</v></c>'),
        sheet_of('<c r="A1" t="s"><v>-1</v></c>'),
        sheet_of('<c r="ZZZ1" t="n"><v>5</v></c>'),
        sheet_of('<c r="" t="n"><v>5</v></c>'),
        f'<worksheet {MAIN}><sheetData><row r="x"/></sheetData></worksheet>',
        f'<worksheet {MAIN}><sheetData><row r="2000000"/></sheetData></worksheet>',
        sheet_of("<c><v>1</v></c>" * 16_385),
        sheet_of(f'<c r="A1" {"x" * (3 << 20)}="1"/>'),
        sheet_of(inline("A1", "x" * (17 << 20))),
        "<worksheet>",
        "no XML",
        "",
        b"\xff\xfe\x00",
    ],
)
def test_that_a_forged_sheet_is_refused_within_bounds(tmp_path: Path, sheet: str | bytes) -> None:
    started = time.monotonic()
    error = refusal(raw_book(tmp_path / "b.xlsx", sheet))
    assert error.code in ("DATA-12", "DATA-08", "DATA-07") and time.monotonic() - started < 5


def test_that_mutated_workbooks_give_rows_or_one_clear_error(tmp_path: Path) -> None:
    made, path = book(tmp_path, NAMES, *([f"q {i}", f"a {i * 31}"] for i in range(50)))
    made.create_sheet("more").append(NAMES)
    made.save(path)
    content, dice = path.read_bytes(), random.Random(7)
    for _ in range(150):
        mutated = bytearray(content)
        for _ in range(dice.choice((1, 3, 20))):
            mutated[dice.randrange(len(mutated))] = dice.randrange(256)
        path.write_bytes(mutated)
        try:
            read(path)
        except EngineError as error:
            assert error.code in ("DATA-07", "DATA-08", "DATA-12")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {n: archive.read(n) for n in archive.namelist()}
    for _ in range(150):
        name = dice.choice([n for n in parts if n.startswith("xl/")])
        mutated = bytearray(parts[name])
        for _ in range(dice.choice((1, 3))):
            mutated[dice.randrange(len(mutated))] = dice.choice(b"<>&\"'/=09 \0\xff")
        raw_book(path, b"", **{**parts, name: bytes(mutated)})
        try:
            read(path)
        except EngineError as error:
            assert error.code in ("DATA-07", "DATA-08", "DATA-12")


READ = """
import resource, sys
from pathlib import Path
from engine.data import xlsx_rows
from engine.data.options import ReadOptions
from engine.data.source import Source
path = Path(sys.argv[1])
source = Source(path, path.name, "utf-8", 0, path.open("rb").read(1 << 16), path.stat().st_size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in xlsx_rows.rows(source, xlsx_rows.look(source, ReadOptions())))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in KiB on Linux only")
@pytest.mark.parametrize("shared", [False, True])
def test_that_memory_stays_flat_over_200000_rows(tmp_path: Path, shared: bool) -> None:
    numbers = range(2, 200_002)
    texts = [f"{i} some words that make the row as long as an ordinary question is" for i in numbers]
    cells = [
        f'<c r="A{i}" t="s"><v>{i}</v></c>' if shared else inline(f"A{i}", text)
        for i, text in zip(numbers, texts, strict=True)
    ]
    sheet = sheet_of(HEADER, *cells)
    strings = f"<sst {MAIN}><si/><si/>{''.join(f'<si><t>{text}</t></si>' for text in texts)}</sst>"
    path = raw_book(tmp_path / "b.xlsx", sheet, **{"xl/sharedStrings.xml": strings})
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    count, growth = map(int, done.stdout.split())
    assert count == 200_000 and growth / 1024 < 60
