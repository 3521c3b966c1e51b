"""Events as lines: what is written is read back, and what is not known is kept."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events
from engine.errors import EngineError
from engine.paths import show_name, slug

STEP = events.Step(
    step=3,
    total_steps=9,
    epoch=0.5,
    loss=1.25,
    learning_rate=1e-4,
    tokens=10,
    supervised_tokens=4,
    seconds=0.1,
)


def test_that_an_event_survives_its_line() -> None:
    assert events.decode(events.encode(STEP)) == STEP


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_that_a_number_that_is_none_travels_as_null(value: float) -> None:
    line = events.encode(STEP.model_copy(update={"loss": value, "grad_norm": value}))
    assert json.loads(line)["loss"] is None and json.loads(line)["grad_norm"] is None


def test_that_an_unknown_type_is_kept_with_its_fields() -> None:
    event = events.decode(b'{"type":"tomorrow","seq":4,"colour":"red"}\n')
    assert isinstance(event, events.Unknown) and event.model_extra == {"colour": "red"}


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b'{"no": "type"}', b'{"type":"step","step":"x"}', b"\x00\x00", b"\xff"]
)
def test_that_damage_is_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError):
        events.decode(line)


@given(st.text(max_size=40_000))
def test_that_no_text_breaks_a_line_or_outgrows_it(text: str) -> None:
    line = events.encode(events.Log(message=text))
    assert line.count(b"\n") == 1 and line.endswith(b"\n") and len(line) <= events.MAX_LINE_BYTES
    assert line.isascii()


def test_that_a_code_outside_the_catalogue_cannot_be_raised() -> None:
    with pytest.raises(ValueError, match="catalogue"):
        EngineError("x", "y", "NEW-01")


@given(st.text(max_size=300))
def test_that_shown_names_hold_no_control_characters_and_slugs_are_folder_names(text: str) -> None:
    shown = show_name(text)
    assert len(shown) <= 128 and not any(ord(c) < 32 or c in "\u202e\u2028\u200b" for c in shown)
    assert set(slug(text)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-") and 1 <= len(slug(text)) <= 48


@given(st.lists(st.text(min_size=0, max_size=3000), min_size=1, max_size=8), st.integers(0, 3000))
def test_i03_that_no_event_outgrows_a_line_and_each_is_read_again(texts: list[str], count: int) -> None:
    emoji = "\U0001f600" * 2000
    metrics = {f"{texts[0][:20]}-{n}": float(n) for n in range(count)}
    for event in (
        events.Evaluated(step=1, loss=1.0, perplexity=2.0, metrics=metrics),
        events.SampleGenerated(step=1, prompt=emoji + texts[0], text=emoji + texts[-1]),
        events.Planned(memory_bytes=1.0, seconds=1.0, terms={text + "x": 1.0 for text in texts * 3}),
    ):
        line = events.encode(event)
        assert len(line) <= events.MAX_LINE_BYTES and line.endswith(b"\n")
        assert events.decode(line).type == event.type
