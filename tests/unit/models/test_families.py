"""The tables of families, against the models that transformers builds from the same configurations."""

from __future__ import annotations

from typing import Any

import pytest

from engine.models.facts import ModelFacts, facts_of_config, read_facts
from engine.models.families import FAMILIES
from tests.unit.meta_models import A_FAMILY, VARIED, configurations, meta_models


def compare(facts: ModelFacts, built: dict[str, Any]) -> None:
    assert {name: list(shape) for name, shape in facts.tensors} == built["tensors"]
    found = {linear.name: [linear.in_features, linear.out_features] for linear in facts.linears}
    assert found == built["linears"]
    assert facts.tied == built["tied"]
    assert not facts.rough and facts.from_config
    count = sum(len(shape) and _numel(shape) for shape in built["tensors"].values())
    assert facts.parameters == count
    if built["sliding"] is not None and facts.sliding_window:
        assert facts.build.sliding_layers == built["sliding"]


def _numel(shape: list[int]) -> int:
    count = 1
    for size in shape:
        count *= size
    return count


def test_that_every_family_with_a_table_is_tried() -> None:
    assert set(VARIED) == set(FAMILIES)


@pytest.mark.parametrize("family", VARIED)
def test_that_names_shapes_and_parameters_are_those_transformers_builds(family: str) -> None:
    folder, built = meta_models()
    for number in range(A_FAMILY):
        name = f"{family}-{number}"
        compare(read_facts(folder / name, weights=False), built[name])


@pytest.mark.parametrize("family", VARIED)
def test_that_keys_left_out_have_the_defaults_of_transformers(family: str) -> None:
    _, built = meta_models()
    for number, values in enumerate(configurations(family)):
        compare(facts_of_config({"model_type": family, **values}), built[f"{family}-{number}"])
