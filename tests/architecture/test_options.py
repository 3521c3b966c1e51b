"""Every option of the recipe is obeyed somewhere, or refused by name: none is silently ignored."""

from __future__ import annotations

import ast

import pytest

from engine.recipe.codec import UNSUPPORTED_FIELDS
from engine.recipe.fields import field_specs
from tests.architecture.source import sources

# The loop's timetable asks `pace` and its rates `schedules`: the plan and the drawings use the same answers.
OBEYING = (
    "engine/runtime",
    "engine/data",
    "engine/jobs",
    "engine/recipe/schedules.py",
    "engine/plan/pace.py",
)


def attributes_read() -> set[str]:
    """Return every attribute that the obeying rooms read."""
    return {
        node.attr
        for source in sources(*OBEYING)
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


@pytest.mark.parametrize("path", [f.path for f in field_specs() if f.path not in UNSUPPORTED_FIELDS])
def test_that_a_field_of_the_recipe_is_read_where_it_should_be_obeyed(path: str) -> None:
    assert path.split(".")[-1] in attributes_read(), f"nothing in {', '.join(OBEYING)} reads {path}"


def test_that_each_refused_field_is_a_field() -> None:
    assert {f.path for f in field_specs()} >= UNSUPPORTED_FIELDS


def test_that_every_field_says_what_it_is() -> None:
    for field in field_specs():
        assert field.label and field.help, field.path
        assert field.level in ("simple", "all", "expert"), field.path
