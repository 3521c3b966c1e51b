"""What each rule says in its test, and when it speaks, with the limits that its code has."""

from __future__ import annotations

from engine.advice import adapter_rules as adapter
from engine.advice import data_rules as data
from engine.advice import elsewhere
from engine.advice import learning_rules as learning
from engine.advice import memory_rules as memory
from engine.advice.finding import Finding
from engine.plan.planner import TIGHT
from tests.unit.advice import test_rules


def spoken() -> list[Finding]:
    """Return a finding of every rule, in the order of their names."""
    return sorted(test_rules.findings(), key=lambda finding: finding.rule)


def percent(share: float) -> str:
    """Return a share as a person reads it."""
    return f"{100 * share:g} %"


WHEN = {
    "R01": "the predicted peak is above the free memory.",
    "R02": f"the predicted peak fits, but fills more than {percent(TIGHT)} of the free memory.",
    "R03": (
        "the base is loaded in 4 bits on a GPU of which it would fill less than "
        f"{percent(memory.ROOMY)} whole."
    ),
    "R04": "the base is loaded in 4 bits and there is no GPU.",
    "R05": f"the base is loaded in 4 bits and has fewer than {memory.SMALL_MODEL:,.0f} parameters.",
    "R06": "the base is loaded in 4 bits without double quantisation.",
    "R07": "only attention layers are adapted, the model has others, and adapting all of them fits.",
    "R08": "only attention layers are adapted, all layers do not fit, and the MLP alone does.",
    "R09": "the output head is adapted and shares its weight with the embedding.",
    "R10": "a name in `target_modules` means no layer that an adapter reaches.",
    "R11": f"alpha divided by the rank is above {adapter.HIGH_SCALE:g}, without rank-stabilised scaling.",
    "R12": f"alpha divided by the rank is below {adapter.LOW_SCALE:g}, without rank-stabilised scaling.",
    "R13": (
        f"the rank is {adapter.WIDE_RANK} or more, without rank-stabilised scaling, and no "
        "smaller one is advised."
    ),
    "R14": "scaling is rank-stabilised and alpha is above the rank.",
    "R15": "the rank is above half the narrower side of an adapted layer.",
    "R16": (
        f"fewer than {adapter.TOKENS_A_PARAMETER} tokens are seen in all passes for each trained "
        "value, and the "
        f"rank is above {adapter.LEAST_RANK} (the limits are ours)."
    ),
    "R17": (
        f"more than {adapter.TOKENS_FOR_MORE:,} different tokens are seen for each trained value, "
        "and the rank is "
        f"{adapter.LEAST_RANK} or less (the limits are ours)."
    ),
    "R18": "the data is gone through more than once and there is nothing to validate on.",
    "R19": (
        f"the data is gone through more than {data.MANY_PASSES} times and its answers have fewer than "
        f"{data.SHORT_ANSWER} tokens in the mean (this limit is ours)."
    ),
    "R20": (
        f"fewer than {data.FEW_REASONING:,} samples with answers of {data.LONG_ANSWER:,} tokens "
        "or more in the "
        "mean are gone through once."
    ),
    "R21": (
        f"the validation loss rose {elsewhere.RISES} times in a row and is "
        f"{percent(elsewhere.LEAST_RISE)} above "
        "the best one (this limit is ours). Said in the monitor of a run; the change is for the next run."
    ),
    "R22": (
        "fewer than 1,000 samples are gone through more than once without dropout, and memory is not tight."
    ),
    "R23": "memory is tight, there is dropout on the adapter, and R22 would not want it.",
    "R24": (
        f"the rate of LoRA is below {learning.LOW_RATE:g} with an Adam; for VeRA and IA³ below "
        f"{learning.LOW_RATE_OF_FEW:g} (this limit is ours)."
    ),
    "R25": (
        f"the rate of LoRA is above {learning.HIGH_RATE:g} with an Adam; above "
        f"{learning.HIGH_OF_OTHERS['lion'][0]:g} with Lion, "
        f"{learning.HIGH_OF_OTHERS['muon'][0]:g} with Muon, "
        f"{learning.HIGH_RATE_OF_FEW:g} for VeRA and IA³ (these limits are ours)."
    ),
    "R26": f"every weight is trained at a rate above {learning.HIGH_FULL_RATE:g}, not with SGD.",
    "R27": "SGD runs at a constant rate.",
    "R28": f"SGD trains an adapter at a rate below {learning.LOW_SGD_RATE:g} (the rate advised is ours).",
    "R29": f"SGD trains an adapter of fewer than {memory.FEW_TRAINED:,.0f} values.",
    "R30": f"the averages of Adam take more than {percent(memory.LARGE_STATES)} of the peak.",
    "R31": f"LoRA gathers more than {learning.LARGE_BATCH} samples in a step.",
    "R32": f"the run has fewer than {learning.FEW_STEPS} updates.",
    "R33": f"there is no warm-up and the run has more than {learning.WARMUP_FROM} updates.",
    "R34": f"more than {percent(data.MANY_CUT)} of the samples are cut at the length limit.",
    "R35": f"the length limit is more than {data.NEVER_REACHED:g} times the longest sample, without packing.",
    "R36": (
        f"on a GPU, samples fill less than {percent(data.SHORT_SAMPLES)} of the length limit in "
        "the mean and a "
        "whole batch less than one pack."
    ),
    "R37": "samples are packed with an attention that cannot keep them apart (sdpa or eager).",
    "R38": "the length limit is above what the model can read.",
    "R39": "the rows are conversations and all of them is learnt, not the answers alone.",
    "R40": (
        f"more than {percent(data.REPEATED)} of the rows repeat earlier ones, or as many "
        "validation rows occur in "
        "training."
    ),
    "R41": (
        "no row practises a skill that the model should keep: one that its name or the tags of "
        "its card say it "
        "is made for, one that a benchmark of the recipe measures, or one at which an earlier "
        "run on the same "
        "base surely did worse than the base. Told in rows are conversation, code, arithmetic and tool calls."
    ),
    "R42": "the base is loaded in float16 on a GPU that has bf16.",
    "R43": f"runs of different recipes stand side by side with fewer than {elsewhere.SEEDS} seeds each.",
    "R44": "an adapter is to be merged into a quantised base.",
    "R45": "adapters are to be put together by a method that cannot: other bases, ranks or kinds.",
    "R46": (
        "`all-linear` or MLP layers are wanted in a mixture of experts. Experts are no linear "
        "layers there, and "
        "beside them LoRA's library takes the names of other MLPs for theirs."
    ),
}
