"""All rules over one situation, and what it takes to follow their advice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.advice import adapter_rules, data_rules, learning_rules, memory_rules
from engine.advice.finding import SEVERITIES, Finding
from engine.advice.situation import Situation
from engine.errors import EngineError
from engine.plan.taken import fields_taken
from engine.recipe.codec import override
from engine.recipe.combinations import clashes
from engine.recipe.recipe import Recipe

Rule = Callable[[Situation], Finding | None]

# R21 is said of a run (engine.runs.remarks), R43 of a comparison, R44 and R45 of a merge: `elsewhere`.
RULES: dict[str, Rule] = {
    "R01": memory_rules.does_not_fit,
    "R02": memory_rules.has_little_headroom,
    "R03": memory_rules.unneeded_4bit,
    "R04": memory_rules.four_bit_without_gpu,
    "R05": memory_rules.small_in_4bit,
    "R06": memory_rules.no_double_quantisation,
    "R07": adapter_rules.attention_alone,
    "R08": adapter_rules.mlp_rather_than_attention,
    "R09": adapter_rules.shared_head,
    "R10": adapter_rules.unknown_module,
    "R11": adapter_rules.large_scale,
    "R12": adapter_rules.small_scale,
    "R13": adapter_rules.wide_without_rslora,
    "R14": adapter_rules.rslora_with_large_alpha,
    "R15": adapter_rules.rank_not_low,
    "R16": adapter_rules.more_than_data,
    "R17": adapter_rules.less_than_data,
    "R18": data_rules.no_validation,
    "R19": data_rules.many_passes,
    "R20": data_rules.long_reasoning_once,
    "R22": data_rules.small_data_without_dropout,
    "R23": memory_rules.dropout_costs_memory,
    "R24": learning_rules.low_rate,
    "R25": learning_rules.high_rate,
    "R26": learning_rules.high_rate_for_all_weights,
    "R27": learning_rules.sgd_without_schedule,
    "R28": learning_rules.low_rate_for_sgd,
    "R29": memory_rules.sgd_saves_nothing,
    "R30": memory_rules.large_optimizer_states,
    "R31": learning_rules.large_batch,
    "R32": learning_rules.few_steps,
    "R33": learning_rules.no_warmup,
    "R34": data_rules.many_cut,
    "R35": data_rules.length_never_reached,
    "R36": data_rules.short_samples,
    "R37": data_rules.packing_without_gain,
    "R38": data_rules.longer_than_model,
    "R39": data_rules.learns_the_questions,
    "R40": data_rules.repeated_rows,
    "R41": data_rules.skill_without_sample,
    "R42": learning_rules.half_precision,
    "R46": adapter_rules.experts_left_out,
}
# What may need more memory than before: of several of these, only what fits together is advised.
NEED_MORE = frozenset({"R03", "R04", "R05", "R07", "R17", "R22", "R29", "R34", "R36"})
LAST = ("R01", "R02")


def advise(situation: Situation) -> list[Finding]:
    """Return what there is to say, the gravest first, else in the order of the rules."""
    found: list[Finding] = []
    more: dict[str, Any] = {}
    for name, rule in RULES.items():
        finding = rule(situation)
        if finding is None:
            continue
        if name in NEED_MORE and finding.fix:
            together = {**more, **finding.fix}
            if more and situation.fits_with(together) is False:
                continue
            more = together
        found.append(finding)
    found = [finding for finding in found if not _settled(situation.recipe, finding)]
    before = len(clashes(situation.recipe))
    found = [_with_sound_fix(situation.recipe, before, finding) for finding in found]
    return sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))


def _settled(recipe: Recipe, finding: Finding) -> bool:
    """Return whether a remark would have another shape of the adapter that the run begins from."""
    if recipe.adapter.path is None or finding.severity == "error":
        return False
    return not set(fields_taken(recipe.adapter.method)).isdisjoint(finding.fix)


def _with_sound_fix(recipe: Recipe, before: int, finding: Finding) -> Finding:
    """Take away a fix that cannot be had with the rest of the recipe; the finding stays true."""
    if not finding.fix:
        return finding
    try:
        made = override(recipe, dict(finding.fix))
    except EngineError:
        return _without_fix(finding)
    return _without_fix(finding) if len(clashes(made)) > before else finding


def _without_fix(finding: Finding) -> Finding:
    return Finding(finding.rule, finding.severity, finding.message, {}, finding.evidence, finding.field, None)


def apply(recipe: Recipe, finding: Finding) -> Recipe:
    """Return the recipe with a finding's fix; the same recipe where it has none."""
    return override(recipe, dict(finding.fix)) if finding.fix else recipe


def apply_all(situation: Situation) -> tuple[Situation, dict[str, Any]]:
    """Return the situation once the advice of the moment is followed, and what was set.

    Of two findings that set the same field the graver one is followed. Whether it fits is asked once all else
    is quiet: much of the other advice saves memory, and nothing shall be given up for what is not short. Only
    another method comes before all: what else is said is said of the method.
    """
    findings = [finding for finding in advise(situation) if finding.fix]
    first = [finding for finding in findings if "adapter.method" in finding.fix]
    others = [finding for finding in findings if finding.rule not in LAST]
    taken: dict[str, Any] = {}
    for finding in first or others or findings:
        if not any(path in taken for path in finding.fix):
            taken |= finding.fix
    return (situation.changed(taken) if taken else situation), taken
