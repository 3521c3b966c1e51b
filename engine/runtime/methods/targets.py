"""Which modules of a loaded model an adapter takes: the recipe's words as exact names, all of them met."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn

from engine.errors import EngineError
from engine.models.experts import is_expert, reached
from engine.models.facts import Linear
from engine.plan.adapter_size import Number, chosen
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.targets import ALL_LINEAR, GROUPS, fits, named

_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}")


@dataclass(frozen=True)
class Targets:
    """The adapted modules, the modules trained whole, and the head, by their full names."""

    modules: tuple[Linear, ...]
    whole: tuple[str, ...]
    head: str | None
    tied: bool  # the head's weight is the embedding's

    @property
    def names(self) -> list[str]:
        """Return the full names of the adapted modules."""
        return [linear.name for linear in self.modules]


def find_targets(model: Any, options: AdapterOptions) -> Targets:
    """Resolve the recipe's names and groups; raises EngineError REC-01 for one that means nothing here."""
    for field, entries in _entries(options):
        for entry in entries:
            if not _NAME.fullmatch(entry):
                raise _refuse(
                    field, f"{entry!r} is not the name of a module", "Use plain names such as q_proj."
                )
    head = model.get_output_embeddings()
    names = {module: name for name, module in model.named_modules(remove_duplicate=True)}
    there = list(_adaptable(model, options))
    found = reached(there, model.config.model_type, options.method)
    apart = {n for m, n in names.items() if m is head or isinstance(m, nn.Embedding)}
    modules = chosen(found, apart, options)
    leaves = ", ".join(sorted({linear.leaf for linear in found}))
    hint = f"This model has: {leaves}.{_of_experts(model)}"
    for entry in named(options.target_modules):
        if entry != ALL_LINEAR and not any(fits(linear.name, entry) for linear in found):
            _refuse_mistaken(entry, there, hint)
            raise _nothing(options.target_modules if len(found) == 1 else entry, hint)
    _check_layers(found, options)
    if not modules:
        raise _nothing(options.target_modules, hint)
    for field, pattern in (("rank_pattern", options.rank_pattern), ("alpha_pattern", options.alpha_pattern)):
        for key in pattern:
            if not any(fits(linear.name, key) for linear in modules):
                raise _refuse(field, f"{key} matches no adapted layer", f"The adapted layers are: {leaves}.")
    return Targets(tuple(modules), _whole(model, options), names.get(head), _is_tied(model))


def _entries(options: AdapterOptions) -> Iterable[tuple[str, Iterable[str]]]:
    yield "target_modules", named(options.target_modules)
    yield "rank_pattern", options.rank_pattern
    yield "alpha_pattern", options.alpha_pattern
    yield "modules_to_save", options.modules_to_save


def _refuse(field: str, what: str, hint: str) -> EngineError:
    return EngineError(f"adapter.{field}: {what}.", hint, "REC-01", field=f"adapter.{field}")


def _nothing(wanted: object, hint: str) -> EngineError:
    return _refuse("target_modules", f"{wanted} matches no layer of this model", hint)


def _of_experts(model: Any) -> str:
    """Return what is to be said of a mixture's experts, nothing for other models."""
    experts = any(is_expert(name) for name, _ in model.named_parameters())
    return " Its experts are no linear layers and get no adapter." if experts else ""


def _refuse_mistaken(entry: str, there: list[Linear], hint: str) -> None:
    """Refuse an entry that names layers which peft would take for experts, see `engine.models.experts`."""
    if any(fits(linear.name, entry) for linear in there):
        what = f"{entry} names the MLP of layers without experts, which LoRA's library takes for experts"
        raise _refuse("target_modules", what, f"Choose attention, or full finetuning. {hint}")


def _adaptable(model: Any, options: AdapterOptions) -> Iterable[Linear]:
    """Yield the linear modules, and for LoRA the embeddings, with their sizes as (in, out)."""
    from transformers.pytorch_utils import Conv1D

    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            yield Linear(name, module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            yield Linear(name, module.weight.shape[0], module.weight.shape[1])
        elif isinstance(module, nn.Embedding) and options.method == "lora":
            yield Linear(name, module.num_embeddings, module.embedding_dim)


def _check_layers(found: list[Linear], options: AdapterOptions) -> None:
    there = {linear.layer for linear in found if linear.layer is not None}
    for layer in options.layers_to_transform or ():
        if layer not in there:
            raise _refuse(
                "layers_to_transform",
                f"there is no layer {layer}",
                f"This model has the layers 0 to {max(there, default=0)}.",
            )


def _whole(model: Any, options: AdapterOptions) -> tuple[str, ...]:
    """Return the full names of the modules trained whole; each entry has to name one with float weights."""
    found: list[str] = []
    for entry in options.modules_to_save:
        meant = [
            (name, module)
            for name, module in model.named_modules()
            if name and fits(name, entry) and any(True for _ in module.parameters())
        ]
        if not meant:
            leaves = sorted({name.rpartition(".")[2] for name, _ in model.named_modules() if name})
            raise _refuse(
                "modules_to_save",
                f"{entry} matches no module of this model",
                f"This model has: {', '.join(leaf for leaf in leaves if not leaf.isdigit())}.",
            )
        for name, module in meant:
            if any(not p.is_floating_point() for p in module.parameters()):
                raise _refuse(
                    "modules_to_save",
                    f"{name} is quantised and cannot be trained whole",
                    "Leave it out, or leave the base unquantised.",
                )
            found.append(name)
    return tuple(dict.fromkeys(found))


def _is_tied(model: Any) -> bool:
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    return head is not None and embedding is not None and head.weight is embedding.weight


def short(names: Iterable[str], model: Any) -> list[str]:
    """Return the names with their last part alone where all modules that end in it are meant."""
    chosen_names = set(names)
    ends: dict[str, set[str]] = {}
    for name, _ in model.named_modules():
        ends.setdefault(name.rpartition(".")[2], set()).add(name)
    leaves = {name.rpartition(".")[2] for name in chosen_names}
    kept = {leaf for leaf in leaves if ends[leaf] <= chosen_names}
    return sorted({leaf if (leaf := n.rpartition(".")[2]) in kept else n for n in chosen_names})


def exact_pattern(pattern: dict[str, Number], names: Iterable[str]) -> dict[str, Number]:
    """Return `rank_pattern` or `alpha_pattern` with each group replaced by the names of its modules.

    The order is kept: the first key that a module's name ends in wins, in peft as here.
    """
    names, found = list(names), dict[str, Number]()
    for key, value in pattern.items():
        for end in [n for n in names if fits(n, key)] if key in GROUPS else [key]:
            found.setdefault(end, value)
    return found
