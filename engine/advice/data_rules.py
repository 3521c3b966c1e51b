"""Advice on the data: passes, validation, lengths, packing, what is learnt, rows that repeat."""

from __future__ import annotations

import math
from typing import Any

from engine.advice.finding import Finding
from engine.advice.memory_rules import ROOMY, few_samples_twice
from engine.advice.situation import PACKED, Situation
from engine.advice.skills import wanted_skills

MANY_PASSES = 3
SHORT_ANSWER, LONG_ANSWER = 512, 1000  # tokens; thresholds of ours
FEW_REASONING = 2000
TRIAL_PASSES = 4.0
USUAL_DROPOUT = 0.05
MANY_CUT = 0.05
NEVER_REACHED = 1.5
SHORT_SAMPLES = 0.3  # of the longest length
REPEATED = 0.005
FEWEST_STEPS = 50
STEP = 64  # lengths are rounded up to a multiple of so many tokens
LEAST_LENGTH = 8
PADDED = ("sdpa", "eager")  # with transformers' own attention each example stands in a row of its own
WITHOUT_LIMIT = ("bloom", "mpt")  # positions by distance: nothing ends at the number of the configuration
LENGTH = "data.max_length"


def no_validation(s: Situation) -> Finding | None:
    """R18: more than one pass, and nothing to measure on."""
    measured = s.recipe.data.validation is not None or s.recipe.data.validation_split > 0
    if measured or s.passes is None or s.passes <= 1:
        return None
    fix = {
        "data.validation_split": 0.05,
        "evaluation.eval_steps": "epoch",
        "training.load_best_model_at_end": True,
    }
    message = f"{s.passes:.3g} epochs without validation hide overfitting. Keep 5 % of the rows for it."
    return Finding("R18", "error", message, fix, ("A9",), "data.validation_split")


def many_passes(s: Situation) -> Finding | None:
    """R19: many passes over short answers, by a method that can learn them by heart."""
    able = s.lora or s.recipe.adapter.method in ("full", "oft")
    if not able or s.passes is None or s.passes <= MANY_PASSES or s.data is None:
        return None
    if not s.data.chat or s.data.answer_tokens >= SHORT_ANSWER:
        return None
    fix: dict[str, Any] = {"training.num_train_epochs": 1.0}
    if s.recipe.training.max_steps is not None:
        fix["training.max_steps"] = None
    message = f"{s.passes:.3g} passes: repeating often worsens instruction tuning; try one to three."
    return Finding("R19", "warn", message, fix, ("A9", "S11"), "training.num_train_epochs")


def long_reasoning_once(s: Situation) -> Finding | None:
    """R20: few samples of long reasoning, seen once."""
    training, data = s.recipe.training, s.data
    if data is None or not data.chat or data.answer_tokens < LONG_ANSWER:
        return None
    once = training.num_train_epochs == 1 and training.max_steps is None
    if not once or data.counts.train_examples >= FEW_REASONING:
        return None
    fix = {"training.num_train_epochs": TRIAL_PASSES}
    message = "Few long-reasoning samples can gain from many epochs; watch token accuracy."
    return Finding("R20", "hint", message, fix, ("S14",), "training.num_train_epochs")


def small_data_without_dropout(s: Situation) -> Finding | None:
    """R22: little data, seen more than once, and no dropout."""
    if not s.lora or s.recipe.adapter.lora_dropout > 0 or s.tight or not few_samples_twice(s):
        return None
    fix = {"adapter.lora_dropout": USUAL_DROPOUT}
    if s.fits_with(fix) is False:
        return None
    message = "Small data seen more than once: a little adapter dropout may help; effect is modest."
    return Finding("R22", "hint", message, fix, ("A18", "S4"), "adapter.lora_dropout")


def many_cut(s: Situation) -> Finding | None:
    """R34: more than one sample of twenty is cut."""
    data, options = s.data, s.recipe.data
    if data is None or options.too_long != "truncate" or not data.rows:
        return None
    cut = data.longer_than(options.max_length)
    if cut <= MANY_CUT * data.rows:
        return None
    if not data.chat:
        message = f"{cut} texts will be cut at {options.max_length} tokens; split them, and all is read."
        return Finding("R34", "warn", message, {"data.too_long": "split"}, ("A14",), LENGTH)
    longer = rounded_up(data.lengths.p99)
    if s.facts is not None and s.facts.model_type not in WITHOUT_LIMIT:
        longer = min(longer, s.facts.max_positions)
    fix: dict[str, Any] = {LENGTH: longer}
    enough = longer > options.max_length and data.longer_than(longer) <= MANY_CUT * data.rows
    if not enough or s.fits_with(fix, ROOMY) is False:
        fix = {}
    message = f"{cut} samples will be cut at {options.max_length} tokens, answers first."
    return Finding("R34", "warn", message, fix, ("A14",), LENGTH)


def length_never_reached(s: Situation) -> Finding | None:
    """R35: the longest length is far above the longest sample."""
    data, options = s.data, s.recipe.data
    if data is None or options.packing or not data.lengths.longest:
        return None
    right = rounded_up(data.lengths.longest)
    if options.max_length <= max(NEVER_REACHED * data.lengths.longest, right):
        return None
    message = f"No sample is longer than {data.lengths.longest} tokens; lower the limit to {right}."
    return Finding("R35", "hint", message, {LENGTH: right}, ("A14",), LENGTH)


def short_samples(s: Situation) -> Finding | None:
    """R36: a batch of short samples leaves a GPU half idle; packs fill it.

    Batches here have no padding, so packing gains only where a whole batch holds less than one pack.
    """
    data, options = s.data, s.recipe.data
    if data is None or options.packing or s.has_gpu is not True or length_never_reached(s):
        return None
    mean, at_once = data.mean_tokens, s.recipe.training.per_device_train_batch_size
    if s.recipe.model.attn_implementation in PADDED or mean >= SHORT_SAMPLES * options.max_length:
        return None
    packs = data.counts.total_tokens / (PACKED * options.max_length)
    steps = packs * s.recipe.training.num_train_epochs / s.batch
    if mean * at_once >= options.max_length or steps < FEWEST_STEPS:
        return None
    fix = {"data.packing": True}
    if s.fits_with(fix, ROOMY) is False:
        return None
    filled = f"{100 * mean * at_once / options.max_length:.0f} % of {options.max_length} tokens"
    message = f"A batch holds only {filled}; packing fills it and speeds training."
    return Finding("R36", "hint", message, fix, ("S10",), "data.packing")


def packing_without_gain(s: Situation) -> Finding | None:
    """R37: packed, with an attention that cannot keep samples of one row apart.

    Tunesmith then gives each sample a padded row of its own: nothing is mixed up, and nothing is gained.
    """
    attention = s.recipe.model.attn_implementation
    if not s.recipe.data.packing or attention not in PADDED:
        return None
    message = f"{attention} attention cannot keep packed samples apart; padded rows gain nothing by packing."
    return Finding("R37", "error", message, {"data.packing": False}, ("L1",), "data.packing")


def longer_than_model(s: Situation) -> Finding | None:
    """R38: longer than the model can read."""
    if s.facts is None or s.facts.model_type in WITHOUT_LIMIT:
        return None
    context = s.facts.max_positions
    if context < LEAST_LENGTH or s.recipe.data.max_length <= context:
        return None
    message = f"The model reads {context} tokens at most. Lower the limit of {s.recipe.data.max_length}."
    return Finding("R38", "error", message, {LENGTH: context}, ("A25",), LENGTH)


def learns_the_questions(s: Situation) -> Finding | None:
    """R39: the whole conversation is trained."""
    if s.data is None or not s.data.chat or s.recipe.data.train_on != "all":
        return None
    message = "The model also learns to write the questions. Train on answers only."
    return Finding("R39", "warn", message, {"data.train_on": "assistant"}, ("S11",), "data.train_on")


def repeated_rows(s: Situation) -> Finding | None:
    """R40: rows that stand twice, or on both sides of the split."""
    data, options = s.data, s.recipe.data
    if data is None:
        return None
    both = data.overlap > REPEATED * max(1, data.counts.validation_examples) and options.overlap == "keep"
    twice = data.duplicates > REPEATED * max(1, data.rows) and not options.dedupe
    if not both and not twice:
        return None
    fix: dict[str, Any] = {"data.dedupe": True} if twice else {}
    if both:
        fix["data.overlap"] = "drop"
        message = (
            f"{data.overlap} validation items also occur in training: scores will flatter. Leave them out."
        )
    else:
        message = f"{data.duplicates} rows repeat earlier ones: they count more than once. Leave them out."
    return Finding("R40", "warn", message, fix, ("A15",), "data.dedupe" if twice else "data.overlap")


def skill_without_sample(s: Situation) -> Finding | None:
    """R41: what the model should still be able to do occurs in no sample."""
    practice = None if s.data is None else s.data.practice
    if practice is None or not practice.rows:
        return None
    wanted = wanted_skills(s.recipe, s.facts, s.falls)
    missing = next((skill for skill in wanted if not practice.counts.get(skill)), None)
    if missing is None:
        return None
    where = "" if practice.every else f" in {practice.rows} rows"
    why = f"{wanted[missing]}: add some, or mix in general ones."
    message = f"No examples for {missing}{where}; finetuning may unlearn it. {why}"
    return Finding("R41", "warn", message, {}, ("A16", "S4"), "data.train")


def rounded_up(tokens: int) -> int:
    """Return a length rounded up to the next multiple of 64 tokens."""
    return max(STEP, math.ceil(tokens / STEP) * STEP)
