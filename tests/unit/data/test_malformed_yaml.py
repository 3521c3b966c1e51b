"""YAML: dialogues and objects with their lines, text as written, and nothing that it asks for is done."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine.data import yaml_rows
from engine.data.options import ReadOptions
from engine.data.rows import Finding, Found, Row
from engine.data.source import Source
from engine.errors import EngineError

LOADERS = [yaml.SafeLoader] + ([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])


@pytest.fixture(params=LOADERS, autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read with the parser in C and, as where that is missing, with the one in Python."""
    monkeypatch.setattr(yaml_rows, "LOADER", request.param)


def source_of(path: Path) -> Source:
    content = path.read_bytes()
    return Source(path, path.name, "utf-8", 0, content[: 1 << 18], len(content))


def read(tmp_path: Path, content: str | bytes, **options: Any) -> tuple[Found, list[Row | Finding]]:
    path = tmp_path / "rows.yml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    source = source_of(path)
    found = yaml_rows.look(source, ReadOptions(**options))
    return found, list(yaml_rows.rows(source, found))


def rows(tmp_path: Path, content: str, **options: Any) -> list[tuple[Any, int]]:
    each = read(tmp_path, content, **options)[1]
    bad = [f for f in each if isinstance(f, Finding)]
    assert not bad, bad
    return [(r.value, r.line) for r in each if isinstance(r, Row)]


def refusal(tmp_path: Path, content: str | bytes, **options: Any) -> EngineError:
    with pytest.raises(EngineError) as caught:
        read(tmp_path, content, **options)
    assert caught.value.message and caught.value.hint
    return caught.value


def one_finding(tmp_path: Path, content: str) -> Finding:
    """Return the finding of the second of three rows; the others must be read."""
    each = read(tmp_path, f"- q: first\n{content}\n- q: last\n")[1]
    assert [type(e) for e in each] == [Row, Finding, Row], each
    assert isinstance(each[1], Finding) and each[1].severity == "error" and each[1].line
    return each[1]


def test_that_dialogues_are_read_with_their_categories_and_lines(tmp_path: Path) -> None:
    text = "categories:\n- talk\nconversations:\n- - Guten Morgen\n  - Hallo\n- - a\n  - b\n  - c\n"
    found, each = read(tmp_path, text)
    assert (found.parts, found.part, found.remarks) == (("conversations",), "conversations", ())
    assert [(r.value, r.line) for r in each if isinstance(r, Row)] == [
        ({"conversation": ["Guten Morgen", "Hallo"], "categories": ["talk"]}, 4),
        ({"conversation": ["a", "b", "c"], "categories": ["talk"]}, 6),
    ]


@pytest.mark.parametrize(
    "text",
    ["שלום\u200f", "سلام، حالت چطوره؟ می\u200cتونم", "ہیلو، کیسا چل رہا ہے؟", "日本語です。", "🦊👩\u200d👧"],
)
def test_that_every_script_is_read_as_it_is_written(tmp_path: Path, text: str) -> None:
    assert rows(tmp_path, f"- - {text}\n  - {text}\r\n") == [({"conversation": [text, text]}, 1)]


def test_that_plain_words_of_a_dialogue_stay_text(tmp_path: Path) -> None:
    words = [
        "no",
        "yes",
        "on",
        "1.5",
        "007",
        "1_000",
        "12:30:45",
        "2024-02-29",
        "null",
        "~",
        "true",
        ".5",
        "0x1F",
    ]
    text = "".join(f"- - {w}\n  - {w}\n" for w in words)
    assert [value["conversation"] for value, _ in rows(tmp_path, text)] == [[w, w] for w in words]
    assert rows(tmp_path, "- - a\n  -\n") == [({"conversation": ["a", ""]}, 1)]


def test_that_folded_quoted_and_block_texts_are_read(tmp_path: Path) -> None:
    text = "- - first line\n    goes on\n  - 'it''s'\n  - \"a\\tb\\u00e9\"\n  - |\n    def f():\n      pass\n"
    assert rows(tmp_path, text) == [
        ({"conversation": ["first line goes on", "it's", "a\tbé", "def f():\n  pass\n"]}, 1)
    ]


def test_that_objects_are_rows_with_numbers_and_truth_only_where_json_has_them(tmp_path: Path) -> None:
    text = (
        "- {q: no, a: 'yes', n: 1.50, m: -7, t: true, f: False, z: 007, d: 2024-02-29, e: null, s: \"12\"}\n"
        "- q:\n  a: off\n"
    )
    first = {"q": "no", "a": "yes", "n": 1.5, "m": -7, "t": True, "f": False}
    first |= {"z": "007", "d": "2024-02-29", "e": None, "s": "12"}
    assert rows(tmp_path, text) == [(first, 1), ({"q": None, "a": "off"}, 2)]


def test_that_messages_are_one_row_in_a_document_and_a_row_each_in_a_list(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]
    body = "messages:\n- role: user\n  content: hi\n- role: assistant\n  content: ho\n"
    assert rows(tmp_path, body) == [({"messages": messages}, 1)]
    assert rows(tmp_path, f"---\n{body}---\n{body}...\n") == [({"messages": messages}, n) for n in (2, 8)]
    listed = "- - {role: user, content: hi}\n  - {role: assistant, content: ho}\n"
    assert rows(tmp_path, listed * 2) == [({"messages": messages}, n) for n in (1, 3)]


def test_that_the_list_of_rows_can_be_chosen_and_the_others_are_told(tmp_path: Path) -> None:
    text = "version: 1\nextra:\n- q: e\ntrain:\n- q: a\n- q: b\nnames: [x, y]\n"
    found, each = read(tmp_path, text)
    assert (found.parts, found.part) == (("extra", "train"), "train")
    assert [r.value for r in each if isinstance(r, Row)] == [{"q": "a"}, {"q": "b"}]
    assert found.remarks[0].severity == "report" and "extra" in found.remarks[0].message
    assert rows(tmp_path, text, part="extra") == [({"q": "e"}, 3)]
    error = refusal(tmp_path, text, part="gone")
    assert error.code == "DATA-12" and error.field == "data.part" and "extra, train" in error.message


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ("- q: !!python/object/apply:os.system ['touch canary']", "tag"),
        ("- !!python/name:os.system", "tag"),
        ("- q: !local x", "tag"),
        ("- q: &a x", "anchor"),
        ("- q: *a", "anchor"),
        ("- {q: x, <<: {a: b}}", "merge"),
        ("- {q: x, q: y}", "twice"),
        ("- {q: .inf}", "no number"),
        ("- {q: .nan}", "no number"),
        ("- {q: 1e999}", "digits"),
        ("- {q: " + "9" * 5000 + "}", "digits"),
        ("- {[a]: b}", "name"),
    ],
)
def test_that_what_json_has_not_refuses_its_row_and_is_never_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: str, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = one_finding(tmp_path, row)
    assert (found.code, found.line) == ("DATA-02", 2) and word in found.message
    assert not (tmp_path / "canary").exists()


def test_that_a_colon_in_a_text_without_quotes_is_explained(tmp_path: Path) -> None:
    found = one_finding(tmp_path, "- - What is it\n  - Answer: a stone")
    assert (found.code, found.line) == ("DATA-04", 2) and "quotes" in found.hint
    assert one_finding(tmp_path, "- []").code == "DATA-04"
    assert one_finding(tmp_path, "- - [a]\n  - [b]").code == "DATA-04"
    error = refusal(tmp_path, "- a\n- b: c: d\n")
    assert (error.code, error.line) == ("DATA-02", 2) and "colon" in error.message


@pytest.mark.parametrize(
    ("text", "line"),
    [("- a\n- 'b\n", 2), ("- - a\n  - b\n\t- c\n", 3), ("- a\n- @b\n", 2), ("- a\n- [b\n", 3)],
)
def test_that_broken_yaml_is_refused_with_the_line_after_the_rows_before(
    tmp_path: Path, text: str, line: int
) -> None:
    error = refusal(tmp_path, text)
    assert error.code == "DATA-02" and error.line is not None and abs(error.line - line) <= 1
    path = tmp_path / "rows.yml"
    path.write_text("- first\n" * 5000 + "- b: c: d\n")
    source = source_of(path)
    got = []
    with pytest.raises(EngineError) as caught:
        for each in yaml_rows.rows(source, yaml_rows.look(source, ReadOptions())):
            got.append(each)
    assert len(got) == 5000 and caught.value.line == 5001


@pytest.mark.parametrize("text", ["- a\n- b\0c\n", "- a\n- b\x07c\n", "- a\n- b\ufffec\n"])
def test_that_characters_yaml_cannot_hold_are_refused_with_line_and_column(tmp_path: Path, text: str) -> None:
    error = refusal(tmp_path, text)
    assert (error.code, error.line) == ("DATA-02", 2) and "column 4" in error.message


def test_that_bytes_that_are_not_utf8_are_refused_with_line_and_column(tmp_path: Path) -> None:
    error = refusal(tmp_path, b"- a\n- caf\xe9\n")
    assert (
        (error.code, error.line) == ("DATA-01", 2) and "0xE9" in error.message and "column 6" in error.message
    )


def test_that_line_ends_of_unicode_are_text_and_lines_are_those_of_the_file(tmp_path: Path) -> None:
    text = "- a\u2028b\n- c\x85d\u2029e\n- f\n"
    assert rows(tmp_path, text) == [("a\u2028b", 1), ("c\x85d\u2029e", 2), ("f", 3)]
    assert rows(tmp_path, "- a\r- b\r\n- c\n") == [("a", 1), ("b", 1), ("c", 2)]


@pytest.mark.parametrize("text", ["[" * 200_000, "- x\n- " + "[" * 200_000, "- " * 200_000, "{a: " * 100_000])
def test_that_200000_levels_are_refused_at_once(tmp_path: Path, text: str) -> None:
    started = time.monotonic()
    error = refusal(tmp_path, text)
    assert error.code == "DATA-02" and ("deep" in error.message or "nest" in error.message)
    assert time.monotonic() - started < 2


def test_that_an_alias_bomb_is_not_walked(tmp_path: Path) -> None:
    levels = "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefghi", "bcdefghij", strict=True)
    )
    started = time.monotonic()
    each = read(tmp_path, f"a: &a [x, x]\n{levels}")[1]
    assert [type(e) for e in each] == [Finding] and time.monotonic() - started < 1


@pytest.mark.parametrize("text", ["# nothing\n", "---\n...\n", "--- \n"])
def test_that_a_file_without_rows_is_refused(tmp_path: Path, text: str) -> None:
    try:
        each = read(tmp_path, text)[1]
    except EngineError as error:
        assert error.code == "DATA-07"
        return
    assert each == []


def test_that_large_files_and_documents_are_refused_before_they_fill_the_memory(tmp_path: Path) -> None:
    if yaml_rows.LOADER is yaml.SafeLoader:
        pytest.skip("the bounds lie in front of the parser; once is enough")
    path = tmp_path / "rows.yml"
    with path.open("wb") as file:
        file.write(b"- a\n")
        file.truncate(yaml_rows.MAX_FILE_BYTES + 1)
    with pytest.raises(EngineError) as caught:
        yaml_rows.look(source_of(path), ReadOptions())
    assert caught.value.code == "DATA-08" and "64 MiB" in caught.value.message
    block = "- " + "x" * 1000 + "\n"
    error = refusal(tmp_path, block * 17_000)
    assert error.code == "DATA-08" and "16 MiB" in error.message
    assert len(rows(tmp_path, ("---\n" + block * 9_000) * 2)) == 18_000


READ = """
import resource, sys
from pathlib import Path
from engine.data import yaml_rows
from engine.data.options import ReadOptions
from engine.data.source import Source
path = Path(sys.argv[1])
source = Source(path, path.name, "utf-8", 0, path.open("rb").read(1 << 18), path.stat().st_size)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
count = sum(1 for _ in yaml_rows.rows(source, yaml_rows.look(source, ReadOptions())))
print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in KiB on Linux only")
def test_that_memory_stays_flat_over_many_dialogues(tmp_path: Path) -> None:
    if yaml_rows.LOADER is yaml.SafeLoader:
        pytest.skip("slow, and the same code around the parser")
    path = tmp_path / "rows.yml"
    path.write_text(
        "conversations:\n" + "".join(f"- - question {i}\n  - answer {i}\n" for i in range(200_000))
    )
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], capture_output=True, text=True, check=True, timeout=120
    )
    count, growth = map(int, done.stdout.split())
    assert count == 200_000 and growth / 1024 < 40


def test_that_mutated_dialogues_give_rows_or_one_clear_error(tmp_path: Path) -> None:
    text = "categories:\n- talk\nconversations:\n- - Hi\n  - 'Ho: x'\n"
    text += '- - "a\\nb"\n  - |\n    c\n- {q: 1, a: [b]}\n'
    content, dice = text.encode(), random.Random(3)
    for _ in range(300):
        mutated = bytearray(content)
        for _ in range(dice.choice((1, 2, 6))):
            mutated[dice.randrange(len(mutated))] = dice.choice(b"-: \n[]{}\"'&*!|>?#%@`\t\0,~<=\xff")
        try:
            read(tmp_path, bytes(mutated))
        except EngineError as error:
            assert error.code in ("DATA-01", "DATA-02", "DATA-07", "DATA-12")


def test_that_yaml_is_told_from_other_text() -> None:
    for text in ("- - a\n  - b\n", "---\n# x\nconversations:\n- - a\n  - b\n", "categories:\n  - x\n"):
        assert yaml_rows.looks_like(text, "") and yaml_rows.looks_like("anything", ".yaml")
    for text in ("- a list\n- of prose\n", "Categories: none\n", '{"a": 1}\n{"a": 2}\n', "a,b\n1,2\n", ""):
        assert not yaml_rows.looks_like(text, ".txt")
