"""The model card of an adapter: what it is, from which data and settings, and how to load it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from engine.encoders import fenced, front_matter, markdown
from engine.errors import EngineError
from engine.events import Seal
from engine.paths import show_name
from engine.recipe import codec
from engine.recipe.combinations import OBEYED
from engine.recipe.method_names import has_rank, method_words
from engine.recipe.recipe import Recipe
from engine.runs import script_facts, seals


def _sealed(judged: Sequence[Seal]) -> str:
    return f"## Seals\n\n{seals.markdown(judged)}\n\n" if judged else ""


_ADAPTER = """from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("BASE MODEL FOLDER OR ID")
model = PeftModel.from_pretrained(base, "THIS FOLDER")
"""
_WHOLE = """from transformers import AutoModelForCausalLM

model = AutoModelForCausalLM.from_pretrained("THIS FOLDER")
"""


def _begun(recipe: Recipe, digest: str) -> str:
    """Return the line that names the adapter a run began from; nothing where it began from none."""
    if recipe.adapter.path is None:
        return ""
    digest = f" (SHA-256 of its values: {digest})" if digest else ""
    return f"\n| begins from the adapter | {markdown(recipe.adapter.path, 400)}{digest} |"


def _what_it_is(recipe: Recipe) -> str:
    """Return the beginning of the sentence that ends with the base's name."""
    options = recipe.adapter
    if options.method == "full":
        return "A model trained whole (full finetuning), from"
    rank = f", r={options.r}" if has_rank(recipe) else ""
    alpha = f", alpha={options.lora_alpha}" if "lora_alpha" in OBEYED[options.method] else ""
    start = "" if options.init_lora_weights is True else f", begun with {options.init_lora_weights}"
    return f"An adapter ({method_words(recipe)}{rank}{alpha}{start}) for"


def _reproduced(recipe: Recipe, run_id: str) -> str:
    """Return how to get a script that repeats the run; nothing for a run that no script can repeat."""
    try:
        script_facts.refuse(recipe)
    except EngineError:
        return ""
    return f"""## Reproduce

```sh
tunesmith script {shlex.quote(show_name(run_id))} --out train.py
```

writes one file of plain torch, transformers and peft that repeats this run, step by step.

"""


def model_card(
    recipe: Recipe,
    run_id: str,
    step: int,
    best_loss: float | None,
    versions: dict[str, str],
    judged: Sequence[Seal] = (),
    begun: str = "",
) -> str:
    """Return README.md for `adapter/` or `model/`: front matter the hub reads, then the facts of the run.

    `begun` is the SHA-256 of the values that training began from, where those were an adapter's.
    """
    full = recipe.adapter.method == "full"
    data = markdown(", ".join(Path(p).name for p in recipe.data.train), 400)
    loss = "not measured" if best_loss is None else f"{best_loss:.4f}"
    numbers = ((markdown(name), markdown(number)) for name, number in versions.items() if number)
    table = "\n".join(f"| {name} | {number} |" for name, number in numbers)
    about: dict[str, object] = {"base_model": show_name(recipe.model.path)}
    about |= {"library_name": "transformers" if full else "peft"}
    head = front_matter({**about, "tags": [recipe.adapter.method, "tunesmith"]})
    return f"""{head}
# {markdown(recipe.name)}

{_what_it_is(recipe)} {markdown(recipe.model.path)}, trained with Tunesmith.

| what | value |
|---|---|
| run | {markdown(run_id)} |
| data | {data} |
| step of these weights | {step} |
| best validation loss | {loss} |
| seed | {recipe.training.seed} |{_begun(recipe, begun)}

{_sealed(judged)}## Use it

```python
{_WHOLE if full else _ADAPTER}```

{_reproduced(recipe, run_id)}## Recipe

{fenced(codec.dumps(recipe), "yaml")}
## Versions

| package | version |
|---|---|
{table}
"""
