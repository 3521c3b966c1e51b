"""The model card of an export: base, data, recipe, scores, seeds, versions, licence.

Whatever comes from outside (names, questions, licences) is data: escaped where it stands in Markdown, a JSON
string where it stands in the front matter, and code is fenced by more backticks than it holds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import durable
from engine.encoders import fenced, front_matter, markdown
from engine.errors import EngineError
from engine.models.facts import ModelFacts
from engine.models.library import STARTER
from engine.recipe import codec
from engine.recipe.method_names import has_rank, method_words
from engine.recipe.recipe import Recipe
from engine.runs import evaluations, store
from engine.runtime.export_subject import Exported

CARD = "README.md"
_LICENCE = re.compile(r"^license:[ \t]*['\"]?([A-Za-z0-9.\-]{1,60})['\"]?[ \t]*$", re.M)
_STARTER_LICENCE = "apache-2.0"
_MOST_BYTES = 1 << 18
_MOST_SCORES = 40


def licence_of(base: ModelFacts) -> str:
    """Return the licence that the base's own card names, empty where it names none."""
    if base.name == STARTER:
        return _STARTER_LICENCE
    card = base.path / CARD
    try:
        head = card.read_bytes()[:_MOST_BYTES].decode("utf-8", "replace") if card.is_file() else ""
    except OSError:
        return ""
    found = _LICENCE.search(head.split("\n---", 1)[0]) if head.startswith("---") else None
    return found.group(1) if found else ""


def write_card(exported: Exported, folder: Path, format: str, certificate: Mapping[str, Any] | None) -> None:
    """Write README.md into a folder; raises OSError."""
    durable.write_file(folder / CARD, card_of(exported, format, certificate))


def card_of(exported: Exported, format: str, certificate: Mapping[str, Any] | None) -> str:
    """Return the card's text."""
    target = exported.target
    recipe = store.load_recipe(target.run) if target.run is not None else None
    licence = licence_of(target.base)
    base = recipe.model.path if recipe is not None else target.base.name
    shown = Path(base).name if Path(base).is_absolute() else base
    front = {
        "base_model": shown,
        "library_name": "peft"
        if format == "adapter"
        else "transformers"
        if format == "safetensors"
        else "gguf",
        **({"license": licence} if licence else {}),
        "tags": ["tunesmith", *([recipe.adapter.method] if recipe else [])],
    }
    rows = [("base", shown), ("licence of the base", licence or "not known: see the base")]
    rows += _of_run(exported, recipe)
    parts = [
        front_matter(front),
        f"# {markdown(exported.name)}\n",
        f"{_what(recipe)} {markdown(shown)}, exported by Tunesmith as {markdown(format)}.\n",
        "| what | value |\n|---|---|\n" + "".join(f"| {markdown(a)} | {markdown(b)} |\n" for a, b in rows),
        _checked(certificate),
        _scores(target.run),
    ]
    if recipe is not None:
        parts.append("## Recipe\n\n" + fenced(_dumped(recipe), "yaml"))
        parts.append(_versions(target.run))
    return "\n".join(part for part in parts if part)


def _dumped(recipe: Recipe) -> str:
    """Return the recipe without where its files lie on this computer."""
    data = recipe.data.model_copy(
        update={
            "train": [Path(path).name for path in recipe.data.train],
            "validation": Path(recipe.data.validation).name if recipe.data.validation else None,
        }
    )
    path = Path(recipe.model.path).name if Path(recipe.model.path).is_absolute() else recipe.model.path
    model = recipe.model.model_copy(update={"path": path})
    return codec.dumps(recipe.model_copy(update={"data": data, "model": model}))


def _what(recipe: Recipe | None) -> str:
    if recipe is None:
        return "A model,"
    rank = f", r={recipe.adapter.r}" if has_rank(recipe) else ""
    return f"Trained with {method_words(recipe)}{rank} on"


def _of_run(exported: Exported, recipe: Recipe | None) -> list[tuple[str, str]]:
    run = exported.target.run
    if run is None or recipe is None:
        return []
    environment = _read(run / "environment.json")
    rows = [("run", run.name), ("seed", str(recipe.training.seed))]
    files = environment.get("data")
    for name, digest in files.items() if isinstance(files, dict) else ():
        rows.append((f"data {Path(str(name)).name}", str(digest)))
    if environment.get("data_digest"):
        rows.append(("rows as trained", str(environment["data_digest"])))
    summary = store.summary(run)
    if summary.best_validation is not None:
        rows.append(("best validation loss", f"{summary.best_validation:.4f}"))
    if exported.target.system_prompt:
        rows.append(("system prompt", exported.target.system_prompt))
    return rows


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _checked(certificate: Mapping[str, Any] | None) -> str:
    if certificate is None:
        return ""
    how = "passed" if certificate["passed"] else f"failed: {markdown(str(certificate.get('reason', '')))}"
    lines = [f"## Checked\n\nCompared with what was trained: {how}.\n"]
    for key in ("top1_agreement", "mean_kl", "same_answers", "prompts"):
        if key in certificate:
            lines.append(f"- {markdown(key)}: {markdown(str(certificate[key]))}")
    return "\n".join(lines) + "\n"


def _scores(run: Path | None) -> str:
    """Return the newest evaluation's scores as a table, nothing where there is none."""
    if run is None:
        return ""
    try:
        found = [each.results for each in evaluations.read_evaluations(run) if each.results is not None]
    except EngineError:
        return ""
    scores = [score for result in found[:1] for score in result.scores][:_MOST_SCORES]
    if not scores:
        return ""
    head = "## Scores\n\n| benchmark | metric | value | standard error | items | of |\n" + "|---" * 6 + "|\n"
    return head + "".join(
        f"| {markdown(s.benchmark)} | {markdown(s.metric)} | {s.value:.4g} "
        f"| {'' if s.stderr is None else f'{s.stderr:.2g}'} | {s.n} | {markdown(s.target)} |\n"
        for s in scores
    )


def _versions(run: Path | None) -> str:
    found = _read(run / "environment.json").get("versions") if run is not None else None
    if not isinstance(found, dict):
        return ""
    rows = "".join(f"| {markdown(str(k))} | {markdown(str(v))} |\n" for k, v in found.items() if v)
    return f"## Versions\n\n| package | version |\n|---|---|\n{rows}"
