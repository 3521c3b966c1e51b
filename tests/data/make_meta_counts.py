"""Say how many parameters training would train, from peft on models without weights (the meta device).

usage: make_meta_counts.py FOLDER   reads {name: {setting: adapter options}} from standard input, builds
FOLDER/NAME/config.json of each, and prints {name: {setting: count, or the refusal's code}}.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers as t

from engine.errors import EngineError
from engine.recipe.codec import override
from engine.recipe.recipe import Recipe
from engine.runtime.adapter import _wrap
from engine.runtime.methods.configs import make_config
from engine.runtime.methods.targets import find_targets


def count(folder: Path, options: dict[str, Any]) -> int | str:
    """Return the trained parameters of one setting, by the way that training takes."""
    recipe = override(Recipe(), {f"adapter.{name}": value for name, value in options.items()})
    with torch.device("meta"):
        model = t.AutoModelForCausalLM.from_config(t.AutoConfig.from_pretrained(folder))
        model.requires_grad_(False)
        try:
            targets = find_targets(model, recipe.adapter)
            wrapped = _wrap(model, recipe, make_config(recipe, model, targets, 1000))
        except EngineError as error:
            return error.code
    return sum(p.numel() for p in wrapped.parameters() if p.requires_grad)


def main() -> None:
    """Write the counts."""
    t.logging.set_verbosity_error()
    warnings.simplefilter("ignore")
    folder, asked = Path(sys.argv[1]), json.load(sys.stdin)
    counts = {
        name: {setting: count(folder / name, options) for setting, options in settings.items()}
        for name, settings in asked.items()
    }
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
