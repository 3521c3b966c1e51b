"""The model card of an adapter: what it is, from which data and settings, and how to load it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.events import Seal
from engine.paths import show_name
from engine.recipe import codec
from engine.recipe.recipe import Recipe
from engine.runs import seals


def _front_matter(text: str) -> str:
    import json

    return json.dumps(show_name(text))


def _sealed(judged: Sequence[Seal]) -> str:
    return f"## Seals\n\n{seals.markdown(judged)}\n\n" if judged else ""


def model_card(
    recipe: Recipe,
    run_id: str,
    step: int,
    best_loss: float | None,
    versions: dict[str, str],
    judged: Sequence[Seal] = (),
) -> str:
    """Return README.md for `adapter/`: front matter the hub reads, then the facts of the run."""
    data = ", ".join(show_name(Path(p).name) for p in recipe.data.train)
    loss = "not measured" if best_loss is None else f"{best_loss:.4f}"
    table = "\n".join(f"| {name} | {number} |" for name, number in versions.items() if number)
    return f"""---
base_model: {_front_matter(recipe.model.path)}
library_name: peft
tags:
- lora
- tunesmith
---

# {show_name(recipe.name)}

A LoRA adapter (r={recipe.adapter.r}, alpha={recipe.adapter.lora_alpha}) for
`{show_name(recipe.model.path)}`, trained with Tunesmith.

| what | value |
|---|---|
| run | {run_id} |
| data | {data} |
| step of this adapter | {step} |
| best validation loss | {loss} |
| seed | {recipe.training.seed} |

{_sealed(judged)}## Use it

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("BASE MODEL FOLDER OR ID")
model = PeftModel.from_pretrained(base, "THIS FOLDER")
```

## Recipe

```yaml
{codec.dumps(recipe)}```

## Versions

| package | version |
|---|---|
{table}
"""
