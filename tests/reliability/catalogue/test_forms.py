"""The catalogue as data: whole, plain, written into the docs, and safe to fill with anything."""

from __future__ import annotations

import re

import pytest

from engine import error_catalogue
from engine.error_catalogue import CATALOGUE, CODES, fill
from engine.errors import EngineError
from engine.paths import show_name, show_text
from tests.data.write_errors_page import PAGE, page

HOSTILE = "\x1b]0;mine\x07\n{file}%s{0}\u202edlrow<img src='file:///etc/passwd'>"


def test_r18_that_every_code_has_words_a_hint_and_a_kind() -> None:
    assert len(CODES) == 46
    for code, entry in CATALOGUE.items():
        assert re.fullmatch(r"(DATA|MODEL|RUN|DISK|GPU|REC|HUB|CHAT|APP)-\d\d", code)
        assert entry.severity in ("error", "warning", "info")
        assert entry.message.rstrip("}").strip() and entry.hint.strip(), code
        assert "traceback" not in (entry.message + entry.hint).lower()


def test_r18_that_the_page_of_errors_is_written_from_the_catalogue() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: python -m tests.data.write_errors_page"


@pytest.mark.parametrize("code", sorted(CATALOGUE))
def test_r18_that_a_form_takes_hostile_values_as_text_only(code: str) -> None:
    entry = CATALOGUE[code]
    message, hint = fill(code, dict.fromkeys(entry.fields(), HOSTILE))
    for text in (message, hint):
        assert not re.search("[\x00-\x1f\x7f\u202a-\u202e]", text)
    assert "{file}%s{0}" in message + hint or not entry.fields()
    error = EngineError.of(code, **dict.fromkeys(entry.fields(), "x"))
    assert error.code == code and "{" not in error.message + error.hint


def test_r18_that_a_form_without_its_value_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        fill("RUN-03", {})
    with pytest.raises(ValueError, match="not in the error catalogue"):
        EngineError("x", "y", "RUN-99")


def test_r18_that_an_unknown_code_of_a_newer_version_stops() -> None:
    assert error_catalogue.severity("RUN-77") == "error"
    assert error_catalogue.severity("RUN-08") == "warning"


def test_m33_that_names_show_what_cannot_be_seen() -> None:
    assert show_name("a\x1b]0;b\nc\u202ed") == "a<U+001B>]0;b<U+000A>c<U+202E>d"
    assert len(show_name("x" * 10_000)) == 128
    assert show_name("\udcff") == "<U+DCFF>"


def test_m33_that_a_name_from_right_to_left_turns_nothing_around_it() -> None:
    shown = show_name("שלום 12")
    assert shown == "\u2068שלום 12\u2069"
    assert show_name(shown) == shown, "showing twice is showing once"
    assert show_name("\u2068plain\u2069") == "<U+2068>plain<U+2069>", "a stranger's own marks are seen"
    assert show_name("\u2067אב\u2069") == "\u2068<U+2067>אב<U+2069>\u2069"


def test_m33_that_an_error_cannot_steer_a_screen() -> None:
    error = EngineError(f"Bad {HOSTILE}", f"Mend {HOSTILE}", "DATA-02", file="/data/\x1b[2J.jsonl")
    for text in (error.message, error.hint, str(error), *error.args):
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", text)
    assert error.file == "/data/\x1b[2J.jsonl", "the path itself stays usable"
    assert show_text("two\nlines\tand 👩‍👧") == "two\nlines\tand 👩‍👧"
