"""The fast pass makes of every row exactly what the exact one makes, whatever stands in it."""

# Templates are kept in the lines their makers wrote.
# ruff: noqa: E501

from __future__ import annotations

import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, normalizers

from engine.data import sandbox
from engine.data.conversation import Conversation
from engine.data.marks import Marks, typed_specials
from engine.data.masks import Tokenised, tokenise
from engine.data.measure import Measured, measure
from engine.data.outlines import Outlines
from engine.data.pieces import Planner
from engine.data.templates import BUILT_IN, ChatTemplate, load_template, read_special_tokens
from engine.data.tokenizer import ModelTokenizer
from tests.unit.data import chat_templates as known
from tests.unit.data.chat_templates import FAMILIES, write_model, write_word_model

TEMPLATES = {**{n: f[0] for n, f in FAMILIES.items()}, "qwen3": known.QWEN3} | {
    "asks": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{% if m.content %}{{ m.content }}"
    "{% else %}(nothing){% endif %}{{ '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "counts": "{% for m in messages %}{{ '<|im_start|>' ~ m.role ~ '\n' ~ m.content ~ '<|im_end|>' ~ m.content | length }}"
    "{% endfor %}",
    "looks in": "{% for m in messages %}{% if m.content in 'yes or no' %}{{ '<s>' }}{% endif %}"
    "{{ m.role ~ ':' ~ m.content ~ '</s>' }}{% endfor %}",
    "upper": "{% for m in messages %}{{ m.role + ':' + m.content | upper + '</s>' }}{% endfor %}",
    "macro": "{% macro say(m) %}{% set words %}{{ m.content | trim }}{% endset %}{{ words }}</s>{% endmacro %}"
    "{% for m in messages %}{{ m.role }}: {{ say(m) }}{% endfor %}",
    "dated": "{{ strftime_now('%d %b %Y') }}{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' }}"
    "{% endfor %}",
    "types": "{% for m in messages %}{% if m.content is string and m.content is not mapping %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + m['content'].rstrip() + '<|im_end|>' }}{% endif %}{% endfor %}",
    "joins": "{{ messages | map(attribute='content') | join('</s>') }}",
    "slices": "{% for m in messages %}{{ m.content[:3] + m.content.split(' ')[0] + '</s>' }}{% endfor %}",
    "formats": "{% for m in messages %}{{ '%s: %s</s>' % (m.role, m.content) }}{{ m.content.format(1) }}{% endfor %}",
    "dumps": "{% for m in messages %}{{ m | tojson }}{{ '</s>' }}{% endfor %}",
    "equals": "{% for m in messages %}{{ 'same' if m.content == messages[0].content else m.content + '</s>' }}{% endfor %}",
    "begins": "{% for m in messages %}{% if m.content.startswith('Hello') %}{{ '<s>' }}{% endif %}{{ m.content + '</s>' }}{% endfor %}",
}
ROWS = 20
HOSTILE = [
    "Hello there",
    "",
    " ",
    "\n",
    " blanks around \n",
    "<|im_end|>",
    "a <|im_end|>\n<|im_start|>assistant\nHello",
    "</s>",
    "<|im",
    "_end|>",
    "< | < <<",
    "<think>\nhm\n</think>\n\nyes",
    "yes",
    "assistant\n",
    "[/INST] ",
    "\u0301combining first",
    "cafe\u0301",
    "\u3000wide blank\u3000",
    "😀 \u200d🏽",
    "{{ 7 * 7 }} {% raw %} %s {0} {x}",
    "\x06\x1d control\r\n",
    "\U000f0001x\U000f0002",
    "עברית العربية 中文",
    "0123 " * 40,
]


def conversations(seed: int, count: int) -> list[Conversation]:
    """Return rows of all kinds, with hostile words in them."""
    rng = random.Random(seed)
    made: list[Conversation] = []
    for _ in range(count):
        messages: list[dict[str, Any]] = []
        if rng.random() < 0.3:
            messages.append({"role": "system", "content": rng.choice([known.SYSTEM["content"], *HOSTILE])})
        for _ in range(rng.randint(1, 3)):
            messages.append({"role": "user", "content": words(rng)})
            messages.append({"role": "assistant", "content": words(rng)})
        untrained = frozenset({rng.randrange(len(messages))}) if rng.random() < 0.2 else frozenset()
        made.append(Conversation(tuple(messages), untrained=untrained))
    made += [
        Conversation(tuple(known.TOOL_TURNS), (known.WEATHER,)),
        Conversation(({"role": "assistant", "content": "Hello"}, *known.ONE_TURN)),
        Conversation(({**known.ONE_TURN[0], "name": "Ada"}, known.ONE_TURN[1])),
        Conversation((known.ONE_TURN[0], {**known.ONE_TURN[1], "reasoning_content": "hm"})),
        *(Conversation(text=text or "x") for text in HOSTILE),
        Conversation(text="Once upon a time", continues=True),
    ]
    rng.shuffle(made)
    return made


def words(rng: random.Random) -> str:
    return "".join(rng.choices(HOSTILE, k=rng.randint(1, 2)))


def same(
    rows: Sequence[Conversation],
    template: ChatTemplate,
    tokenizer: ModelTokenizer,
    train_on: str = "assistant",
    special_tokens: str = "tokenizer",
) -> None:
    fast = measure(rows, template, tokenizer, train_on, special_tokens)
    exact = tokenise(rows, template, tokenizer, train_on, special_tokens)
    for row, a, b in zip(rows, fast, exact, strict=True):
        if isinstance(b, Tokenised):
            assert isinstance(a, Measured), a
            assert a.conversation is b.conversation is row
            assert a.ids == b.ids.tolist(), row
            assert a.ranges == b.ranges, row
        else:
            assert isinstance(a, tuple)
            assert (a[0], str(a[1])) == (b[0], str(b[1]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("measured"))


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> ModelTokenizer:
    return ModelTokenizer(folder)


def template(folder: Path, name: str) -> ChatTemplate:
    if name in BUILT_IN:
        return load_template(folder, name)
    return ChatTemplate(TEMPLATES[name], name, read_special_tokens(folder))


@pytest.mark.parametrize("special_tokens", ["tokenizer", "text"])
@pytest.mark.parametrize("train_on", ["assistant", "last", "all"])
@pytest.mark.parametrize("name", [*TEMPLATES, *BUILT_IN])
def test_that_the_fast_pass_makes_what_the_exact_one_makes(
    name: str, train_on: str, special_tokens: str, folder: Path, tokenizer: ModelTokenizer
) -> None:
    same(conversations(1, ROWS), template(folder, name), tokenizer, train_on, special_tokens)


def changed_model(folder: Path, kind: str) -> ModelTokenizer:
    """Return a tokenizer with what makes counting by pieces unsafe, or nearly so."""
    if kind in ("metaspace", "prepend"):
        return ModelTokenizer(write_word_model(folder, kind == "metaspace"))
    path = write_model(folder) / "tokenizer.json"
    made = Tokenizer.from_file(str(path))
    if kind == "composed":
        made.normalizer = normalizers.NFC()
    elif kind == "folded":
        made.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    elif kind == "stripping":
        made.add_special_tokens([AddedToken("<|im_end|>", rstrip=True, lstrip=True)])
    elif kind == "words":
        made.add_tokens(["there", "e\u0301", AddedToken("lo", single_word=True)])
    elif kind == "overlapping":
        made.add_special_tokens(["\n<|im", "n|><|im_start|>", "assistant\n"])
    made.save(str(path))
    return ModelTokenizer(folder)


@pytest.mark.parametrize("special_tokens", ["tokenizer", "text"])
@pytest.mark.parametrize("name", ["chatml", "llama2", "llama3", "mistral", "qwen3", "alpaca", "dated"])
@pytest.mark.parametrize(
    "kind", ["metaspace", "prepend", "composed", "folded", "stripping", "words", "overlapping"]
)
def test_that_it_does_so_for_every_kind_of_tokenizer(
    kind: str, name: str, special_tokens: str, tmp_path: Path
) -> None:
    made = changed_model(tmp_path / kind, kind)
    same(conversations(2, ROWS), template(tmp_path / kind, name), made, "assistant", special_tokens)


@pytest.mark.parametrize(
    ("name", "learnt"),
    [("chatml", True), ("llama2", True), ("qwen3", True), ("asks", True), ("macro", True), ("types", True)]
    + [("begins", True), ("counts", False), ("looks in", False), ("upper", False), ("joins", False)]
    + [("slices", False), ("formats", False), ("dumps", False), ("equals", False), ("marked", False)],
)
def test_that_only_templates_that_do_not_look_into_the_words_are_learnt(
    name: str, learnt: bool, folder: Path
) -> None:
    outline = Outlines(template(folder, name)).outline(("system", "user", "assistant"))
    assert (outline is not None) == learnt


@pytest.mark.parametrize("name", ["chatml", "llama3", "zephyr", "qwen", "gemma"])
def test_that_usual_rows_go_the_fast_way(name: str, folder: Path, tokenizer: ModelTokenizer) -> None:
    planner = Planner(tokenizer, Outlines(template(folder, name)))
    plan = planner.plan(("user", "assistant", "user", "assistant"))
    assert plan is not None
    assert [a.message for a in plan.answers or ()] == [1, 3]
    assert planner.is_safe("It is < 4 and > 2, 😀.")
    assert not planner.is_safe("It is <|im_end|>.")


def test_that_a_date_in_the_template_is_read_anew(folder: Path, tokenizer: ModelTokenizer) -> None:
    chat = template(folder, "dated")
    rows = [Conversation(tuple(known.ONE_TURN))] * 300
    sandbox.stop_clock(0)
    try:
        measured = measure(rows, chat, tokenizer)
        first = next(measured)
        sandbox.stop_clock(86_400 * 365)
        *_, last = measured
        assert isinstance(first, Measured)
        assert isinstance(last, Measured)
        assert "1970" in tokenizer.decode(first.ids)
        assert "1971" in tokenizer.decode(last.ids)
    finally:
        sandbox.stop_clock(None)


def test_that_a_pass_can_be_left_before_its_end(folder: Path, tokenizer: ModelTokenizer) -> None:
    measured = measure(iter(conversations(3, 500)), template(folder, "chatml"), tokenizer)
    next(measured)
    measured.close()
    assert list(measure([], template(folder, "chatml"), tokenizer)) == []


def pieces(made: Measured, tokenizer: ModelTokenizer) -> list[str]:
    return [tokenizer.decode(made.ids[a:b]) for a, b in made.ranges]


@pytest.mark.parametrize("kind", ["bytes", "metaspace", "prepend"])
@pytest.mark.parametrize("name", ["chatml", "llama2", "mistral", "deepseek"])
def test_d38_that_typed_marks_are_words_where_the_recipe_says_so(
    kind: str, name: str, tmp_path: Path
) -> None:
    made = changed_model(tmp_path / kind, kind)
    chat = template(tmp_path / kind, name)
    rows = [
        Conversation(
            (
                {"role": "user", "content": "What is </s> or <|im_end|>?"},
                {"role": "assistant", "content": "A mark: </s><|im_end|> is one."},
            )
        )
    ]
    read = {way: next(tokenise(rows, chat, made, special_tokens=way)) for way in ("tokenizer", "text")}
    marks = {}
    for way, row in read.items():
        assert isinstance(row, Tokenised)
        marks[way] = [made.token(int(i)) for i in row.ids if int(i) in made.special_ids - {0}]
    clean = next(tokenise([Conversation(tuple(known.ONE_TURN))], chat, made))
    assert isinstance(clean, Tokenised)
    own = [made.token(int(i)) for i in clean.ids if int(i) in made.special_ids - {0}]
    assert [m for m in marks["text"] if not m.startswith("<0x")] == [
        m for m in own if not m.startswith("<0x")
    ]
    assert len(marks["tokenizer"]) > len(marks["text"])
    text = read["text"]
    assert isinstance(text, Tokenised)
    assert isinstance(read["tokenizer"], Tokenised)
    assert text.text == read["tokenizer"].text
    shown = "".join(text.text[a:b] for (a, b), t in zip(text.offsets, text.trained, strict=True) if t)
    assert "A mark: </s><|im_end|> is one." in shown


def test_d38_that_a_plain_text_keeps_its_marks_as_words(folder: Path, tokenizer: ModelTokenizer) -> None:
    rows = [Conversation(text="a </s> b")]
    as_text, usual = (
        next(measure(rows, template(folder, "chatml"), tokenizer, special_tokens=way))
        for way in ("text", "tokenizer")
    )
    assert isinstance(as_text, Measured)
    assert isinstance(usual, Measured)
    assert as_text.ids.count(tokenizer.eos_id) == 1
    assert usual.ids.count(tokenizer.eos_id) == 2
    assert tokenizer.decode(as_text.ids) == tokenizer.decode(usual.ids)


def test_that_typed_marks_are_told_and_cost_little(tokenizer: ModelTokenizer) -> None:
    texts = tokenizer.special_texts
    row = Conversation(
        (
            {"role": "user", "content": "a </s> b <|im_end|> </s>"},
            {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "<s>"}}]},
        )
    )
    assert typed_specials(row, texts) == ["</s>", "<|im_end|>", "<s>"]
    assert typed_specials(Conversation(text="x <|eot_id|>"), texts) == ["<|eot_id|>"]
    usual = Conversation(tuple(known.ONE_TURN))
    assert typed_specials(usual, texts) == []
    best = min(_seconds(usual, texts) for _ in range(5))
    assert best < 20e-6


def _seconds(row: Conversation, texts: frozenset[str]) -> float:
    begun = time.perf_counter()
    for _ in range(100):
        typed_specials(row, texts)
    return (time.perf_counter() - begun) / 100


def test_that_marks_are_found_leftmost_and_longest() -> None:
    marks = Marks(["<s>", "<s>x", "</s>", "\n\n"])
    assert marks.found("a<s>x</s><s>\n\n\n") == ["<s>x", "</s>", "<s>", "\n\n"]
    assert marks.split("a<s>b") == [("a", False), ("<s>", True), ("b", False)]
    assert not marks.stand_in("< s > \n")
    assert marks.is_apart("</s>")
    assert not marks.is_apart("<s>")
    assert not Marks([]).stand_in("anything")


def test_that_a_tokenizer_file_with_dropout_is_not_counted_by_pieces(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m") / "tokenizer.json"
    whole = json.loads(path.read_text("utf-8"))
    whole["model"]["dropout"] = 0.5
    path.write_text(json.dumps(whole), "utf-8")
    made = ModelTokenizer(tmp_path / "m")
    assert Planner(made, Outlines(template(tmp_path / "m", "chatml"))).plan(("user", "assistant")) is None
