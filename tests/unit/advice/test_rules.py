"""Each rule: a recipe that triggers it, its fix ends it, its words are few and its sources are there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from engine.advice import evidence
from engine.advice.advise import RULES, advise, apply
from engine.advice.elsewhere import (
    Comparison,
    Merging,
    Part,
    Validation,
    into_quantised,
    not_summable,
    one_seed,
    validation_rises,
)
from engine.advice.finding import MOST_WORDS, SEVERITIES, Finding
from engine.advice.learning_rules import rate_finding
from engine.advice.situation import Situation
from engine.advice.skills import Fall
from engine.data.practice import Practice
from tests.unit.advice.situations import facts_of_experts, facts_small, recipe, situation, statistics

TARGETS, RATE, OPTIM = "adapter.target_modules", "training.learning_rate", "training.optim"
FOUR, LENGTH, BATCH = "model.load_in_4bit", "data.max_length", "training.per_device_train_batch_size"


@dataclass(frozen=True)
class Case:
    """What triggers a rule: the recipe's changes, the machine (GB, None: no GPU), the data, the words."""

    severity: str
    changes: dict[str, Any]
    says: str
    fix: dict[str, Any] | None = None  # None: as the rule works it out
    gigabytes: float | None = 80.0
    data: dict[str, Any] | None = None
    small: bool = False
    experts: bool = False
    falls: tuple[Fall, ...] = ()

    def situation(self) -> Situation:
        """Return it, planned."""
        data = statistics(max_length=self.changes.get(LENGTH, 1024), **(self.data or {}))
        made = situation(
            self.changes,
            facts=facts_small() if self.small else facts_of_experts() if self.experts else None,
            data=data,
            gigabytes=self.gigabytes,
        )
        return replace(made, falls=self.falls)


NO_FIX: dict[str, Any] = {}
MUCH = {"examples": 5_000_000}
LITTLE = {"examples": 600, "mean": 200, "longest": 500}
CASES: dict[str, Case] = {
    "R01": Case("error", {LENGTH: 2048, "adapter.r": 256}, "GB exceeds 16.0 GB free", gigabytes=16),
    "R02": Case("warn", {"training.gradient_checkpointing": "none"}, "% headroom"),
    "R03": Case("hint", {FOUR: True}, "fits unquantised", {FOUR: False}),
    "R04": Case("error", {FOUR: True}, "supported GPU", {FOUR: False}, gigabytes=None, small=True),
    "R05": Case("warn", {FOUR: True}, "+0.107 loss at 135M", {FOUR: False}, small=True),
    "R06": Case(
        "hint",
        {FOUR: True, "model.bnb_4bit_use_double_quant": False, "model.bnb_4bit_quant_type": "fp4"},
        "0.37 bit",
        {"model.bnb_4bit_use_double_quant": True, "model.bnb_4bit_quant_type": "nf4"},
    ),
    "R07": Case("warn", {TARGETS: ["q_proj", "v_proj"]}, "learn less", {TARGETS: "all-linear"}),
    "R08": Case(
        "hint", {TARGETS: ["attention"], BATCH: 1, "adapter.r": 512}, "adapt the MLP", {TARGETS: ["mlp"]}
    ),
    "R09": Case(
        "warn", {TARGETS: ["all-linear", "lm_head"]}, "output head", {TARGETS: "all-linear"}, small=True
    ),
    "R10": Case("error", {TARGETS: ["q_prj"]}, "No layer is called q_prj", {TARGETS: "all-linear"}),
    "R11": Case("warn", {"adapter.lora_alpha": 128}, "Scale 8 is large", {"adapter.lora_alpha": 32}),
    "R12": Case(
        "hint", {"adapter.lora_alpha": 2}, "Scale 0.12 is small", {"adapter.lora_alpha": 16}, data=MUCH
    ),
    "R13": Case(
        "hint",
        {"adapter.r": 64},
        "rank-stabilised",
        {"adapter.use_rslora": True, "adapter.lora_alpha": 64},
        data=MUCH,
    ),
    "R14": Case("warn", {"adapter.use_rslora": True}, "scale 8", {"adapter.lora_alpha": 16}),
    "R15": Case("error", {"adapter.r": 128}, "no longer low-rank for", small=True),
    "R16": Case("hint", {"adapter.r": 64}, "suggest memorising", data=LITTLE),
    "R17": Case(
        "hint", {"adapter.r": 1, TARGETS: ["mlp"]}, "try a larger rank", data={"examples": 30_000_000}
    ),
    "R18": Case("error", {"training.num_train_epochs": 2, "data.validation_split": 0}, "2 epochs without"),
    "R19": Case("warn", {"training.num_train_epochs": 5}, "5 passes", {"training.num_train_epochs": 1.0}),
    "R20": Case(
        "hint",
        {LENGTH: 4096},
        "long-reasoning",
        {"training.num_train_epochs": 4.0},
        data={"examples": 1000, "mean": 2000, "longest": 4000, "answers": 1800.0},
    ),
    "R22": Case(
        "hint",
        {"training.num_train_epochs": 2, "adapter.lora_dropout": 0},
        "dropout may help",
        {"adapter.lora_dropout": 0.05},
        data=LITTLE,
    ),
    "R23": Case("hint", {"training.gradient_checkpointing": "none"}, "GB of activations", gigabytes=24),
    "R24": Case("warn", {RATE: 2e-5}, "ten times more", {RATE: 2e-4}),
    "R25": Case("warn", {RATE: 5e-3}, "0.005 is likely unstable", {RATE: 2e-4}),
    "R26": Case("warn", {"adapter.method": "full"}, "Full finetuning at 0.0002", {RATE: 1e-5}, small=True),
    "R27": Case(
        "warn",
        {OPTIM: "sgd", RATE: 0.1, "training.lr_scheduler_type": "constant"},
        "use cosine",
        {"training.lr_scheduler_type": "cosine"},
    ),
    "R28": Case("warn", {OPTIM: "sgd"}, "far higher rate", {RATE: 0.1}, data=MUCH),
    "R29": Case("hint", {OPTIM: "sgd", TARGETS: ["mlp"], "adapter.r": 8}, "MB here", {OPTIM: "adamw"}),
    "R30": Case(
        "hint",
        {"adapter.r": 256, "training.gradient_checkpointing": "all"},
        "8-bit",
        {OPTIM: "paged_adamw_8bit"},
    ),
    "R31": Case("hint", {BATCH: 8, "training.gradient_accumulation_steps": 16}, "128 samples a step"),
    "R32": Case("warn", {}, "updates", data={"examples": 200}),
    "R33": Case("hint", {"training.warmup_steps": 0}, "warmup", {"training.warmup_steps": 0.03}),
    "R34": Case("warn", {LENGTH: 256}, "cut at 256 tokens", {LENGTH: 1024}),
    "R35": Case("hint", {LENGTH: 4096}, "longer than 1000", {LENGTH: 1024}),
    "R36": Case("hint", {BATCH: 2}, "A batch holds only 39 %", {"data.packing": True}, data={"mean": 200}),
    "R37": Case(
        "error",
        {"data.packing": True, "model.attn_implementation": "eager"},
        "cannot keep packed samples apart",
        {"data.packing": False},
    ),
    "R38": Case("error", {LENGTH: 8192, "data.packing": True}, "4096 tokens at most", {LENGTH: 4096}),
    "R39": Case("warn", {"data.train_on": "all"}, "write the questions", {"data.train_on": "assistant"}),
    "R40": Case("warn", {}, "rows repeat", {"data.dedupe": True}, data={"duplicates": 300}),
    "R41": Case(
        "warn",
        {},
        "No examples for arithmetic; finetuning may unlearn it. gsm8k fell from 0.61 to 0.48",
        NO_FIX,
        data={"practice": Practice(50, {"conversation": 50})},
        falls=(Fall("gsm8k", 0.61, 0.48),),
    ),
    "R42": Case("hint", {"model.dtype": "float16"}, "bf16", {"model.dtype": "bfloat16"}),
    "R46": Case("hint", {}, "attention only; the experts (95 % of the weights)", NO_FIX, experts=True),
}
BASES = Part("a", "m", "lora", 8), Part("b", "other", "lora", 8)
ELSEWHERE: dict[str, tuple[Callable[[Any], Finding | None], Any, Any, str]] = {
    "R21": (
        validation_rises,
        Validation([10, 20, 30, 40], [1.0, 0.9, 0.95, 1.0]),
        Validation([10, 20, 30, 40], [1.0, 0.9, 0.95, 0.94]),
        "since step 20",
    ),
    "R43": (
        one_seed,
        Comparison({"a": [1], "b": [1]}),
        Comparison({"a": [1, 2, 3], "b": [1, 2, 3]}),
        "Use three",
    ),
    "R44": (into_quantised, Merging("nf4", ()), Merging(None, ()), "16-bit"),
    "R45": (not_summable, Merging(None, BASES), Merging(None, BASES[:1]), "their bases differ"),
}


def test_that_there_is_a_case_for_each_rule() -> None:
    every = {f"R{number:02}" for number in range(1, 47)}
    assert set(CASES) | set(ELSEWHERE) == every
    assert set(RULES) == set(CASES)


def triggered(rule: str) -> tuple[Situation, Finding]:
    """Return the situation of a rule's case and what the rule says of it."""
    case = CASES[rule]
    now = case.situation()
    if rule == "R02":
        now = _nearly_full(now)
    if rule == "R08":
        now = _only_the_mlp_fits(now)
    if rule == "R23":
        now = _nearly_full(now)
    found = RULES[rule](now)
    assert found is not None, f"{rule} says nothing"
    return now, found


def _nearly_full(now: Situation) -> Situation:
    """Return the situation on a GPU that it fills to 95 %."""
    assert now.plan is not None
    return situation(
        {"training.gradient_checkpointing": "none"}, data=now.data, gigabytes=now.plan.memory_bytes / 0.95e9
    )


def _only_the_mlp_fits(now: Situation) -> Situation:
    """Return the situation on a GPU that holds an MLP's adapters and not those of all layers."""
    mlp, every = now.memory_with({TARGETS: ["mlp"]}), now.memory_with({TARGETS: "all-linear"})
    assert mlp is not None and every is not None
    size = (mlp + every) / 2 / 0.92e9
    return situation(CASES["R08"].changes, data=now.data, gigabytes=size)


@pytest.mark.parametrize("rule", sorted(CASES))
def test_that_a_rule_speaks_and_its_fix_ends_it(rule: str) -> None:
    case, (now, found) = CASES[rule], triggered(rule)
    assert (found.rule, found.severity) == (rule, case.severity)
    assert case.says in found.message
    assert case.fix is None or dict(found.fix) == case.fix
    if case.fix == NO_FIX:
        return
    assert found.fix, f"{rule} has no fix"
    after = now.changed(found.fix)
    assert after.recipe == apply(now.recipe, found)
    assert RULES[rule](after) is None, f"{rule} still speaks after its fix"


@pytest.mark.parametrize("rule", sorted(CASES))
def test_that_what_a_rule_says_is_among_all_advice(rule: str) -> None:
    now, found = triggered(rule)
    assert rule in [each.rule for each in advise(now)]


@pytest.mark.parametrize("rule", sorted(ELSEWHERE))
def test_that_a_rule_of_runs_and_merges_speaks_where_it_should(rule: str) -> None:
    speak, wrong, right, says = ELSEWHERE[rule]
    found = speak(wrong)
    assert found is not None and found.rule == rule and says in found.message
    assert speak(right) is None


def test_that_adapters_of_different_ranks_are_shown_the_ways_that_can() -> None:
    ranks = Part("a", "m", r=8), Part("b", "m", r=16)
    found = not_summable(Merging(None, ranks))
    assert found is not None and "their ranks are 8, 16. Use cat" in found.message and "svd" in found.message
    assert not_summable(Merging(None, ranks, "cat")) is None
    assert not_summable(Merging(None, ranks, "svd")) is None
    thinned = not_summable(Merging(None, ranks, "ties"))
    assert thinned is not None and thinned.message.startswith("ties does not go: their ranks are 8, 16.")


def test_that_experts_are_spoken_of_only_where_they_are_wanted_and_left_out() -> None:
    every = RULES["R46"]
    assert every(situation({TARGETS: ["attention"]}, facts=facts_of_experts())) is None
    assert every(situation({TARGETS: "all-linear"})) is None
    assert every(situation({"adapter.method": "full"}, facts=facts_of_experts())) is None
    mixed = every(situation({}, facts=facts_of_experts(0, 1)))
    assert mixed is not None and "experts and the other MLPs" in mixed.message


def test_that_attention_alone_is_all_there_is_in_a_mixture_and_is_no_fault() -> None:
    found = advise(situation({TARGETS: ["attention"]}, facts=facts_of_experts(), gigabytes=200))
    assert not {"R07", "R08"} & {finding.rule for finding in found}
    found = advise(situation({TARGETS: ["mlp"]}, facts=facts_of_experts()))
    assert next(f for f in found if f.rule == "R10").message.startswith("No adapter reaches mlp")


@pytest.mark.parametrize(
    ("changes", "rule", "usual"),
    [
        ({RATE: 5e-3}, "R25", 2e-4),
        ({RATE: 1e-3, OPTIM: "lion"}, "R25", 4e-5),
        ({RATE: 5e-2, "adapter.method": "ia3"}, "R25", 3e-3),
        ({RATE: 2e-4, "adapter.method": "vera"}, "R24", 4e-3),
        ({RATE: 3e-4, "adapter.method": "full"}, "R26", 1e-5),
        ({RATE: 2e-4, OPTIM: "sgd"}, "R28", 0.1),
        ({RATE: 5e-3, OPTIM: "muon"}, "", 0.0),
        ({RATE: 0.1, OPTIM: "sgd"}, "", 0.0),
        ({RATE: 3e-3, "adapter.method": "ia3"}, "", 0.0),
        ({}, "", 0.0),
    ],
)
def test_that_a_rate_is_judged_by_method_and_optimizer(changes: Any, rule: str, usual: float) -> None:
    asked = recipe(**{path.replace(".", "__"): value for path, value in changes.items()})
    found = rate_finding(asked)
    assert (found.rule if found else "") == rule
    if found is not None:
        assert dict(found.fix) == {RATE: usual}
        assert rate_finding(apply(asked, found)) is None


def findings() -> list[Finding]:
    """Return what each rule says."""
    spoken = [speak(wrong) for speak, wrong, _, _ in ELSEWHERE.values()]
    return [found for found in spoken if found is not None] + [triggered(rule)[1] for rule in CASES]


def test_that_words_are_few_and_sources_are_there() -> None:
    known = evidence.load()
    said = findings()
    assert len(said) == 46
    for found in said:
        assert found.severity in SEVERITIES
        assert len(found.message.split()) <= MOST_WORDS, found.message
        assert found.message.rstrip("?")[-1] == ".", found.message
        assert all(name in known for name in found.evidence), found.evidence
    without = {found.rule for found in said if not found.evidence}
    assert without == {"R04", "R09", "R10"}  # they rest on what the model and the machine are


def test_that_the_gravest_is_said_first() -> None:
    asked = {TARGETS: ["q_prj", "q_proj"], RATE: 2e-5, "adapter.lora_alpha": 2}
    order = [SEVERITIES.index(found.severity) for found in advise(situation(asked))]
    assert order == sorted(order) and len(set(order)) == 3


def test_that_nothing_is_said_of_what_is_not_known() -> None:
    from engine.recipe.recipe import Recipe

    assert advise(Situation(Recipe())) == []


def test_that_nothing_that_speaks_against_it_is_taken_to_make_a_run_fit() -> None:
    cpu = RULES["R01"](
        situation({LENGTH: 2048}, gigabytes=None, data=statistics(longest=2000, max_length=2048))
    )
    assert cpu is None or FOUR not in cpu.fix
    cuts = {"mean": 1500, "longest": 2000, "max_length": 2048}
    tight = situation({LENGTH: 2048, "adapter.r": 256}, gigabytes=12, data=statistics(**cuts))
    found = RULES["R01"](tight)
    assert found is not None
    assert found.fix.get(LENGTH, 2048) >= 1800  # 95 % of the samples are no longer


def test_that_four_bits_stay_where_they_are_the_only_way() -> None:
    now = situation({FOUR: True}, gigabytes=None)
    found = RULES["R04"](replace(now, replan=lambda changes: _too_large(now)))
    assert found is not None and (found.severity, dict(found.fix)) == ("warn", {})


def _too_large(now: Situation) -> Any:
    assert now.plan is not None
    return replace(now.plan, memory_bytes=1e15)


def test_that_advice_is_quick() -> None:
    now = situation({LENGTH: 2048, "adapter.r": 256}, gigabytes=16)
    advise(now)

    def once() -> float:
        fresh = situation({LENGTH: 2048, "adapter.r": 256}, gigabytes=16)
        began = time.process_time()
        advise(fresh)
        return time.process_time() - began

    assert min(once() for _ in range(5)) < 0.03  # 0.016 s; twice as long where a core is shared
