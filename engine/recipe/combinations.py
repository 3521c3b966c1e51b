"""Options that cannot be had together: named before a model is loaded, and beside the field in the forms.

To refuse another combination: a row in `CLASHES`, or the option in `OBEYED` of the methods that obey it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.recipe import Recipe

# The options of the adapter section that each method obeys, beside the method itself.
_PLACES = ("path", "target_modules", "layers_to_transform", "modules_to_save")
OBEYED: dict[str, tuple[str, ...]] = {
    "lora": (
        *_PLACES,
        "r",
        "lora_alpha",
        "lora_dropout",
        "rank_pattern",
        "alpha_pattern",
        "use_rslora",
        "use_dora",
        "init_lora_weights",
        "bias",
    ),
    "adalora": (*_PLACES, "r", "target_r", "lora_alpha", "lora_dropout", "bias"),
    "vera": (*_PLACES, "r", "lora_dropout", "bias"),
    "ia3": _PLACES,
    "oft": (*_PLACES, "oft_block_size", "bias"),  # peft has a dropout for it that no layer applies
    "full": (),
}

WITH_B = ("lora", "adalora")  # the methods that train a pair of matrices

_DEFAULTS = AdapterOptions()
IDLE = {"lora_dropout": 0.0}  # beside its default, the value that asks for nothing


@dataclass(frozen=True)
class Clash:
    """Options that do not go together: the field to change, what is wrong, and the way out."""

    field: str
    message: str
    hint: str


def _quantised(recipe: Recipe) -> bool:
    return recipe.model.load_in_4bit or recipe.model.load_in_8bit


def _rewrites_base(recipe: Recipe) -> bool:
    return recipe.adapter.method == "lora" and recipe.adapter.init_lora_weights in ("pissa", "olora")


def _validates(recipe: Recipe) -> bool:
    return recipe.data.validation is not None or recipe.data.validation_split > 0


def _sharded(recipe: Recipe) -> bool:
    return recipe.launcher.strategy == "fsdp"


def _can_be_sharded(adapter: AdapterOptions) -> bool:
    plain = not (adapter.use_dora or adapter.modules_to_save) and adapter.bias == "none"
    return adapter.method == "full" or (
        adapter.method == "lora" and plain and adapter.init_lora_weights != "eva"
    )


# (field, do the options clash, what is wrong, the way out)
CLASHES: tuple[tuple[str, Callable[[Recipe], bool], str, str], ...] = (
    (
        "model.load_in_8bit",
        lambda r: r.model.load_in_4bit and r.model.load_in_8bit,
        "A base is held in 4 bits or in 8 bits, not in both.",
        "Turn one of load_in_4bit and load_in_8bit off.",
    ),
    (
        "adapter.method",
        lambda r: r.adapter.method == "full" and _quantised(r),
        "Full finetuning changes the weights themselves, which a quantised base cannot take.",
        "Turn load_in_4bit and load_in_8bit off, or use lora.",
    ),
    (
        "model.dtype",
        lambda r: r.adapter.method == "full" and r.model.dtype not in ("auto", "float32"),
        "Full finetuning holds the weights in float32: in fewer bits small changes are rounded away.",
        "Use auto; training.precision says in which numbers it computes.",
    ),
    (
        "adapter.init_lora_weights",
        lambda r: _rewrites_base(r) and _quantised(r),
        "PiSSA and OLoRA move a part of the weights into the adapter, which a quantised base cannot do.",
        "Use true, gaussian or eva, or leave the base unquantised.",
    ),
    (
        "adapter.init_lora_weights",
        lambda r: r.adapter.path is not None and r.adapter.init_lora_weights is not True,
        "An adapter that is gone on with has its values: there is no start to be drawn.",
        "Set init_lora_weights to true, or leave adapter.path empty.",
    ),
    (
        "training.loraplus_lr_ratio",
        lambda r: r.training.loraplus_lr_ratio is not None and r.adapter.method not in WITH_B,
        "LoRA+ is another rate for B than for A, which only lora and adalora have.",
        "Leave it empty, or use lora.",
    ),
    (
        "training.optim",
        lambda r: r.training.optim == "muon" and r.adapter.method not in (*WITH_B, "full"),
        "Muon steps matrices, and this method trains vectors.",
        "Use adamw.",
    ),
    (
        "adapter.use_dora",
        lambda r: r.adapter.use_dora and r.model.load_in_8bit,
        "DoRA reads the size of the base's weights, which an 8-bit base does not give.",
        "Use load_in_4bit, or leave DoRA off.",
    ),
    (
        "adapter.modules_to_save",
        lambda r: bool(set(r.adapter.modules_to_save) & {"attention", "mlp"}) and _quantised(r),
        "Quantised layers cannot be trained whole.",
        "Leave them out, or leave the base unquantised.",
    ),
    (
        "launcher.strategy",
        lambda r: _sharded(r) and r.launcher.processes == 1,
        "FSDP shares the weights out over several processes, and this run has one.",
        "Set launcher.processes to 2 or more, or use ddp.",
    ),
    (
        "launcher.strategy",
        lambda r: _sharded(r) and _quantised(r),
        "FSDP cannot share out a quantised base.",
        "Use ddp, or leave the base unquantised.",
    ),
    (
        "launcher.strategy",
        lambda r: _sharded(r) and not _can_be_sharded(r.adapter),
        "FSDP shares out plain LoRA and full finetuning.",
        "Use ddp, or lora without DoRA, EVA, biases and modules_to_save, or full.",
    ),
    (
        "training.optim",
        lambda r: _sharded(r) and r.training.optim not in ("adamw", "sgd"),
        "Under FSDP each process holds a part of every weight, which this optimizer cannot step alone.",
        "Use adamw or sgd, or launcher.strategy ddp.",
    ),
    (
        "training.on_out_of_memory",
        lambda r: _sharded(r) and r.training.on_out_of_memory == "split",
        "Under FSDP all processes go through each layer together: one of them cannot cut its batch alone.",
        "Set training.on_out_of_memory to fail.",
    ),
    (
        "training.early_stopping_patience",
        lambda r: r.training.early_stopping_patience is not None and not _validates(r),
        "Early stopping looks at validation, and this recipe keeps no row for it.",
        "Name a validation file, raise validation_split, or leave it empty.",
    ),
    (
        "training.early_stopping_patience",
        lambda r: r.training.early_stopping_patience is not None and r.evaluation.eval_steps is None,
        "Early stopping looks at evaluations on the way, and there are none.",
        "Set evaluation.eval_steps, or leave it empty.",
    ),
)


def clashes(recipe: Recipe) -> list[Clash]:
    """Return the combinations of a recipe that cannot be had; an empty list when there are none."""
    found = [Clash(field, message, hint) for field, clash, message, hint in CLASHES if clash(recipe)]
    method = recipe.adapter.method
    for name in AdapterOptions.model_fields:
        default = getattr(_DEFAULTS, name)
        value = getattr(recipe.adapter, name)
        idle = value == default or value == IDLE.get(name, default)
        if name != "method" and name not in OBEYED[method] and not idle:
            message = f"adapter.{name} has no effect with the method {method}."
            others = [other for other, names in OBEYED.items() if name in names]
            hint = f"Set it back to {_shown(default)}, or use {' or '.join(others)}."
            found.append(Clash(f"adapter.{name}", message, hint))
    return found


def _shown(default: object) -> str:
    if default in (None, [], {}):
        return "empty"
    return str(default).lower() if isinstance(default, bool) else str(default)
