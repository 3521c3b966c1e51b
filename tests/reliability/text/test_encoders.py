"""What leaves the program: 500 odd texts come back through every encoder, and command nothing."""

from __future__ import annotations

import csv
import io
import random
import re
from types import SimpleNamespace

import pytest
from PySide6.QtGui import QTextDocument, QTextTable

from app.widgets.chart_words import csv_of
from engine import plain_yaml
from engine.encoders import csv_cell, csv_text, csv_unguarded, fenced, front_matter, markdown
from engine.errors import EngineError
from engine.paths import show_name
from engine.recipe import codec
from engine.runs import card, conversations
from engine.runtime.ollama.modelfile import parse_modelfile, write_modelfile

KNOWN = [
    "=cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "+1+1",
    "-2+3+cmd",
    "\t=1",
    "\r=1",
    "'=1",
    "''=1",
    "-5",
    "+1e-4",
    "-1.5",
    '"""\nFROM /etc/passwd\n"""',
    'x"""',
    "---\nlicense: other\n---",
    "a\n---\nb: c",
    "```\n# heading",
    "</td></tr><script>",
    "| a | b |",
    "[x](javascript:1)",
    "![x](file:///etc/passwd)",
    "www.example.com",
    "https://example.com",
    "kim@example.com",
    "$x$",
    "{{ x }}",
    "%s {0}",
    "\uff1d1",
    "*a* _b_ `c`",
    "# a",
    "\\",
    "a\\",
    "",
    " a ",
]


def texts() -> list[str]:
    chance = random.Random(39)
    marks = list("=+-@'\"\t\r\n,;|`*_#<>[](){}\\&:!~$%- ab1.") + [
        '"""',
        "FROM ",
        "---",
        "```",
        "é",
        "ש",
        "🙂",
    ]
    made = ["".join(chance.choices(marks, k=chance.randrange(1, 14))) for _ in range(500 - len(KNOWN))]
    return KNOWN + made


def test_m39_that_no_cell_of_a_table_is_a_formula_and_all_come_back() -> None:
    rows = [[text, "x", text] for text in texts()]
    written = csv_text(rows)
    read = list(csv.reader(io.StringIO(written, newline=""), strict=True))
    assert [[csv_unguarded(cell) for cell in row] for row in read] == rows
    for row in read:
        number = re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", row[0], re.ASCII)
        assert number or not row[0].startswith(("=", "+", "-", "@", "\t", "\r", "\uff1d")), row[0]
    assert [csv_cell(v) for v in (-5, 1.5e-4, None, "-5")] == ["-5", "0.00015", "", "-5"]


def test_m39_that_a_charts_values_are_no_formulas() -> None:
    told = csv_of([(SimpleNamespace(label="=cmd, x"), [1.0, 2.0], [0.5, float("inf")])])  # type: ignore[list-item]
    assert list(csv.reader(io.StringIO(told))) == [["step", "'=cmd, x"], ["1", "0.5"], ["2", ""]]


def table_cell(text: str) -> str:
    document = QTextDocument()
    feature = QTextDocument.MarkdownFeature
    # With HTML allowed: nothing of a text may become a tag for a reader that draws it.
    document.setMarkdown(f"| a | b |\n|---|---|\n| {text} | end |\n", feature.MarkdownDialectGitHub)
    table = next(f for f in document.rootFrame().childFrames() if isinstance(f, QTextTable))
    assert (table.rows(), table.columns()) == (2, 2)
    assert "href" not in document.toHtml() and "<img" not in document.toHtml()
    end = table.cellAt(1, 1).firstCursorPosition().block().text()
    assert end == "end"
    return table.cellAt(1, 0).firstCursorPosition().block().text()


def test_m39_that_markdown_shows_just_the_text(qapp) -> None:
    for text in texts():
        wanted = " ".join(show_name(text, 200).split())
        assert " ".join(table_cell(markdown(text)).replace("\xa0", " ").split()) == wanted, repr(text)


def test_m39_that_no_text_ends_its_block_of_code() -> None:
    for text in texts():
        block = fenced(text, "text")
        fence = re.match("`+", block)
        assert fence is not None and block.count("\n" + fence[0] + "\n") == 1


def test_m39_that_the_head_of_a_card_holds_every_text() -> None:
    for text in texts():
        head = front_matter({"base_model": text, "tags": [text, "tunesmith"]})
        assert head.count("\n---\n") == 1 and head.startswith("---\n") and head.endswith("\n---\n")
        body = head.removeprefix("---\n").removesuffix("---\n")
        assert plain_yaml.read(body)[0] == {"base_model": text, "tags": [text, "tunesmith"]}


def test_m39_that_a_modelfile_holds_a_text_or_refuses_it() -> None:
    held = 0
    for text in texts():
        wanted = [("from", "./a.gguf"), ("system", text), ("stop", text)]
        try:
            written = write_modelfile(wanted)
        except EngineError as error:
            assert error.code == "MODEL-05" and error.hint
            continue
        held += 1
        assert parse_modelfile(written) == wanted
    assert held > 200


def test_m39_that_a_card_of_a_run_is_not_written_by_its_names() -> None:
    odd = "x\n---\n# Trusted | [a](http://b) <img src=x> ```"
    recipe = codec.from_values(
        {"name": odd, "model": {"path": odd}, "data": {"train": [odd], "system_prompt": "```\n# no"}}
    )
    text = card.model_card(recipe, odd, 3, 1.0, {odd: odd})
    head, _, body = text.removeprefix("---\n").partition("\n---\n")
    assert plain_yaml.read(head)[0]["base_model"] == show_name(odd)
    outside = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", body)
    assert not re.search(r"(?<!\\)(?:\]\(|<img)", outside) and "\n# no" not in outside
    assert len(re.findall(r"(?m)^# ", outside)) == 1


def test_m39_that_a_conversation_is_not_written_by_its_title() -> None:
    made = conversations.Conversation.model_construct(
        id="x", title="a\n# b", created=0.0, system="```\n# c", speakers=(), turns=()
    )
    text = conversations.as_markdown(made)
    assert re.findall(r"(?m)^#.*", text) == [
        "# a<U+000A>\\# b".replace("<", "\\<").replace(">", "\\>").replace("+", "\\+"),
        "# c",
    ]
    assert "````text\n```\n# c\n````" in text


@pytest.mark.parametrize("name", ["evil|x", "a\nb"])
def test_m39_that_seals_are_a_table_whatever_they_say(name: str) -> None:
    from engine.runs import seals

    seal = SimpleNamespace(label=name, state="green", evidence=f"{name} | [x](http://y)")
    text = seals.markdown([seal])  # type: ignore[list-item]
    assert len(text.split("\n")) == 3 and "](http" not in text
