"""What a child leaves out on its way to the first step, in processes of their own."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from engine.runtime import imports
from engine.runtime.loss import rows_at_once

ROOT = Path(__file__).resolve().parents[3]
ASKED = """
import sys
from types import SimpleNamespace
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runtime import imports

facts = SimpleNamespace(quantization={quantised!r})
imports.leave_out_bitsandbytes({alone}, codec.override(Recipe(), {values!r}), facts)
import peft
print(sys.modules.get("bitsandbytes") is not None)
"""


@pytest.mark.parametrize(
    ("values", "quantised", "alone", "there"),
    [
        ({}, None, True, False),
        ({}, None, False, True),
        ({"model.load_in_4bit": True}, None, True, True),
        ({"model.load_in_8bit": True}, None, True, True),
        ({"training.optim": "adamw_8bit"}, None, True, True),
        ({}, "nf4", True, True),
    ],
)
def test_that_bitsandbytes_is_there_where_a_run_computes_with_it(
    values: dict[str, object], quantised: str | None, alone: bool, there: bool
) -> None:
    program = ASKED.format(values=values, quantised=quantised, alone=alone)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == [str(there)], done.stderr


def test_that_the_collector_is_held_only_in_a_process_of_its_own() -> None:
    before = gc.isenabled()
    gc.enable()
    try:
        imports.hold_collector(False)
        assert gc.isenabled()
        imports.hold_collector(True)
        assert not gc.isenabled()
        imports.release_collector()
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        if not before:
            gc.disable()


def test_that_chunks_of_logits_are_even_and_bounded() -> None:
    assert rows_at_once(180, 49_152, "cpu") == 180
    assert rows_at_once(210, 49_152, "cpu") == 105  # not 203 and 7
    assert rows_at_once(1000, 256_000, "cpu") <= 64
    assert rows_at_once(1, 256_000, "cuda") == 1
