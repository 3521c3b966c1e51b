"""Every preset is a run as it is: trained by a real child, or refused by name where it needs a GPU."""

from __future__ import annotations

import pytest

from engine.errors import EngineError
from engine.hardware.devices import probe
from engine.plan.optimizers import refuse
from engine.recipe import codec
from engine.recipe.presets import presets
from engine.recipe.recipe import Recipe
from tests.integration.conftest import events_of
from tests.integration.warm import run_to_end

ON_GPU = ("little-memory",)


@pytest.mark.parametrize("name", [preset.name for preset in presets() if preset.name not in ON_GPU])
def test_that_a_preset_trains_to_its_end(make_run, name: str) -> None:
    preset = next(each for each in presets() if each.name == name)
    options = {path.replace(".", "__"): value for path, value in preset.overrides.items()}
    rate = codec.override(Recipe(), preset.overrides).training.learning_rate
    folder = make_run(**{"training__learning_rate": rate, **options, "training__max_steps": 2})
    assert run_to_end(folder) == "finished"
    assert [event.step for event in events_of(folder) if event.type == "step"] == [1, 2]


def test_that_a_preset_for_gpus_is_refused_by_name_on_a_processor() -> None:
    preset = next(each for each in presets() if each.name == "little-memory")
    recipe = codec.override(Recipe(), preset.overrides)
    if probe().devices:
        refuse(recipe.training, "cuda")
    with pytest.raises(EngineError) as raised:
        refuse(recipe.training, "cpu")
    assert raised.value.field == "training.optim"
    assert "GPU" in preset.description
