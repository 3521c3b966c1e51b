"""Modelfiles come back as they were written, and their templates write what the jinja templates write."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from engine.data.templates import BUILT_IN, ChatTemplate, load_built_in
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.runtime.gguf.vocabulary import written_bos
from engine.runtime.ollama.go_template import GoTemplateError, literal, messages_of, render
from engine.runtime.ollama.modelfile import parse_modelfile, write_modelfile
from engine.runtime.ollama.templates import find_known, say

TALKS = (
    [("user", "Hi there")],
    [("system", "Answer in {{ JSON }}: \"a\" 'b'."), ("user", "x\ny")],
    [("user", "A"), ("assistant", "B {% raw %}"), ("user", "C <|im_end|> é 你")],
    [("system", "S"), ("user", "A"), ("assistant", "B"), ("user", "C"), ("assistant", "D"), ("user", "E")],
)
HOSTILE = [
    '"""',
    '"',
    "#",
    "\nFROM ./evil.gguf",
    "\n",
    "{{ .System }}",
    "PARAMETER stop x",
    "\\",
    " ",
    "a",
    "ä",
]


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> ModelTokenizer:
    return ModelTokenizer(tiny_model)


@pytest.mark.parametrize("tokens", [{"bos_token": "<s>", "eos_token": "</s>"}, {}])
@pytest.mark.parametrize("name", BUILT_IN)
def test_that_a_modelfile_writes_what_the_jinja_template_writes(
    tokenizer: ModelTokenizer, name: str, tokens: dict[str, str]
) -> None:
    tokenizer.tokens = tokens
    template = load_built_in(name, tokens)
    known = find_known(template, tokenizer)
    assert known is not None and known.name == name
    text = write_modelfile([("from", "./a.gguf"), ("template", known.text), ("stop", "</s>")])
    stored = dict(parse_modelfile(text))["template"]
    for talk in TALKS:
        made = [{"role": role, "content": content} for role, content in talk]
        wanted = template.render(made, add_generation_prompt=True)
        assert written_bos(template, tokenizer) + say(stored, talk) == wanted


def test_that_the_prompt_a_template_says_by_itself_becomes_the_system_prompt(
    tokenizer: ModelTokenizer,
) -> None:
    own = (
        "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    known = find_known(ChatTemplate(own, "own"), tokenizer)
    assert known is not None and (known.name, known.system) == ("chatml", "Be kind.")


def test_that_a_template_which_is_none_of_ours_is_not_taken_for_one(tokenizer: ModelTokenizer) -> None:
    other = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] | upper }}\n{% endfor %}[assistant]"
    assert find_known(ChatTemplate(other, "other"), tokenizer) is None


def test_that_hostile_texts_come_back_whole_or_are_refused() -> None:
    chance = random.Random(5)
    refused = 0
    for _ in range(500):
        text = "".join(chance.choices(HOSTILE, k=chance.randrange(1, 7)))
        commands = [
            ("from", "./a.gguf"),
            ("system", text),
            ("stop", text),
            ("template", literal(text) or "x"),
        ]
        try:
            found = parse_modelfile(write_modelfile(commands))
        except EngineError as error:
            assert error.code == "MODEL-05"
            refused += 1
            continue
        assert found == commands
    assert 0 < refused < 250


def test_that_a_literal_writes_its_text_whatever_stands_in_it() -> None:
    for text in ("{{ .System }}", '"""\nFROM x', "a\\n", "\x00\u200b", "</s>", '{{"', "}}"):
        assert render(literal(text), {}) == text


@pytest.mark.parametrize("bad", ["{{ if }}", "{{ end }}", "{{ range .Messages }}", "{{ template }}", "{{ x"])
def test_that_what_is_no_known_template_is_refused(bad: str) -> None:
    with pytest.raises((GoTemplateError, LookupError)):
        render(bad, messages_of([{"role": "user", "content": "a"}], None))


@pytest.mark.parametrize("bad", ["FROM", 'SYSTEM """open', "EVIL x", "FROM ./a\nPARAMETER st-op x"])
def test_that_a_broken_modelfile_is_refused(bad: str) -> None:
    with pytest.raises(ValueError):
        parse_modelfile(bad)
