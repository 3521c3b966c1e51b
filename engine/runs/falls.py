"""What earlier runs on a base lost, by their evaluations: asked when the next run on it is advised on."""

from __future__ import annotations

from engine import paths
from engine.advice.skills import Fall
from engine.errors import EngineError
from engine.recipe.recipe import Recipe
from engine.runs.evaluations import FOLDER, read_evaluations
from engine.runs.store import load_recipe


def falls_on(recipe: Recipe) -> tuple[Fall, ...]:
    """Return each benchmark on which a run of this home on the recipe's base did worse than it, for sure.

    Of several evaluations of one benchmark the newest counts.
    """
    newest: dict[str, tuple[float, Fall | None]] = {}
    for run in paths.runs_dir().iterdir():
        if not (run / FOLDER).is_dir():
            continue
        try:
            base = load_recipe(run).model.path
        except EngineError:
            continue  # `runs check` names what is damaged
        for evaluation in read_evaluations(run) if base == recipe.model.path else ():
            for each in evaluation.results.comparisons if evaluation.results is not None else ():
                if each.benchmark in newest and newest[each.benchmark][0] >= evaluation.created:
                    continue
                worse = each.verdict == "worse"
                fall = Fall(paths.show_name(each.benchmark, 40), each.base, each.adapter) if worse else None
                newest[each.benchmark] = (evaluation.created, fall)
    return tuple(fall for _, (_, fall) in sorted(newest.items()) if fall is not None)
