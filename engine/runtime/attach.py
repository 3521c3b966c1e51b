"""Put an adapter on a loaded base: peft's own layers, built from names and shapes alone.

Nothing of adapter_config.json but numbers is used: its patterns would be run as regular expressions, and some
of its fields make peft import modules. Tensors that were trained whole (modules_to_save, biases) are put into
the base's modules by `Whole`, which can take them out again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.errors import EngineError
from engine.models.adapter_facts import WEIGHTS, AdapterFacts
from engine.models.adapter_tensors import BASE_COPY
from engine.models.companions import exactly
from engine.models.facts import ModelFacts, is_embedding
from engine.models.sound_values import refuse_no_numbers
from engine.models.weight_files import weight_paths
from engine.runtime.changes import constrained, whole_key


@dataclass
class Whole:
    """One parameter of the base and what it was trained to; a shared head keeps its own.

    `name` is the parameter's in the adapter's file.
    """

    name: str
    module: nn.Module
    leaf: str
    base: nn.Parameter
    trained: Tensor

    @property
    def is_on(self) -> bool:
        """Return whether the module computes with something else than the base's own tensor."""
        return getattr(self.module, self.leaf) is not self.base

    def put(self, strength: float) -> None:
        """Let the module compute with base + strength * (trained - base)."""
        if strength == 0.0:
            value = self.base
        else:
            mixed = self.trained
            if strength != 1.0:
                mixed = torch.lerp(self.base.detach().float(), self.trained.float(), strength)
            value = nn.Parameter(mixed.to(self.base.device, self.base.dtype), requires_grad=False)
        setattr(self.module, self.leaf, value)


def attach(base: Any, adapter: AdapterFacts) -> Any:
    """Return peft's model of a base and an adapter, which is on."""
    return put_on(base, adapter)[0]


def put_on(base: Any, adapter: AdapterFacts) -> tuple[Any, list[Whole]]:
    """Return peft's model with the adapter's tensors, and what was trained whole.

    Raises EngineError MODEL-07 when a tensor has no place in the base, MODEL-05 for what a 4-bit base cannot
    have.
    """
    from peft import PeftModel, set_peft_model_state_dict

    tensors = read_tensors(adapter)
    wholes = _wholes(base, adapter, tensors)
    model = PeftModel(base, _config(adapter))
    aside = {whole_key(name, tensors) for name in adapter.trained_whole}
    own = {k: v for k, v in tensors.items() if k not in aside and BASE_COPY not in k}
    if adapter.numbers.coft:  # once, for peft would do it again at each token and whatever the strength
        own = {k: constrained(v, adapter.numbers) for k, v in own.items()}
    try:
        unexpected = set_peft_model_state_dict(model, own).unexpected_keys
    except RuntimeError as error:
        raise _unfit(adapter, "its tensors have other sizes than the places of the base") from error
    if unexpected:
        raise _unfit(adapter, f"{unexpected[0]} has no place in the base")
    for whole in wholes:
        whole.put(1.0)
    return model.eval(), wholes


def _unfit(adapter: AdapterFacts, what: str) -> EngineError:
    return EngineError(
        f"The adapter {adapter.name} does not fit: {what}.",
        "Choose the base it was trained on.",
        "MODEL-07",
        file=str(adapter.path),
    )


def _wholes(base: Any, adapter: AdapterFacts, tensors: dict[str, Tensor]) -> list[Whole]:
    found = []
    for name in adapter.trained_whole:
        module, _, leaf = name.rpartition(".")
        trained = tensors[whole_key(name, tensors)]
        found.append(_whole(base.get_submodule(module), leaf, trained, adapter, name))
        head = base.get_output_embeddings()
        if adapter.numbers.weight_tying and is_embedding(name) and head is not None:
            if head.weight is found[-1].base:
                found.append(_whole(head, leaf, trained, adapter, name))
    return found


def whole_model(base: Any, result: ModelFacts) -> list[Whole]:
    """Return every weight of a model that was trained whole, to be put into the base that it came from.

    Raises EngineError MODEL-07 when the two are not of one shape.
    """
    head, found = base.get_output_embeddings(), []
    for path in weight_paths(result.path):
        for name, trained in load_file(path).items():
            module, _, leaf = name.rpartition(".")
            try:
                parameter = getattr(base.get_submodule(module), leaf)
            except AttributeError:
                parameter = None
            if not isinstance(parameter, nn.Parameter) or parameter.shape != trained.shape:
                raise EngineError(
                    f"{result.name} and its base are not of one shape: {name}.",
                    "Choose the model alone.",
                    "MODEL-07",
                    file=str(path),
                )
            found.append(Whole(name, base.get_submodule(module), leaf, parameter, trained))
            if head is not None and head.weight is parameter and head is not found[-1].module:
                found.append(Whole(name, head, leaf, parameter, trained))
    return found


def _whole(module: nn.Module, leaf: str, trained: Tensor, adapter: AdapterFacts, name: str) -> Whole:
    parameter = getattr(module, leaf, None)
    if not isinstance(parameter, nn.Parameter):
        raise _unfit(adapter, f"{name} has no place in the base")
    if not parameter.is_floating_point():
        raise EngineError(
            f"{adapter.name}: {name} was trained whole and is quantised in this base.",
            "Load the base in full precision.",
            "MODEL-05",
            file=str(adapter.path),
        )
    return Whole(name, module, leaf, parameter, trained)


def _config(adapter: AdapterFacts) -> Any:
    """Return peft's configuration of the adapter's method, with full names of modules for patterns."""
    import peft

    shared: dict[str, Any] = {
        "target_modules": [m.name for m in adapter.modules],
        "task_type": "CAUSAL_LM",
        "inference_mode": True,
    }
    first, numbers = adapter.modules[0], adapter.numbers
    if adapter.method == "adalora":
        return peft.AdaLoraConfig(
            init_r=numbers.init_r,
            lora_alpha=first.alpha,
            total_step=1,
            rank_pattern={f"{m.name}.lora_E": _kept(m.r, numbers.init_r) for m in adapter.modules},
            **shared,
        )
    if adapter.method == "vera":
        drawn = {"projection_prng_key": numbers.prng_key, "save_projection": bool(adapter.projections)}
        return peft.VeraConfig(r=first.r, **drawn, **shared)
    if adapter.method == "ia3":
        before = [m.name for m in adapter.modules if m.in_features]
        return peft.IA3Config(feedforward_modules=before, **shared)
    if adapter.method == "oft":
        return peft.OFTConfig(
            r=numbers.oft_r,
            oft_block_size=numbers.oft_block_size,
            block_share=numbers.block_share,
            use_cayley_neumann=numbers.cayley_neumann,
            num_cayley_neumann_terms=numbers.terms,
            **shared,
        )
    return peft.LoraConfig(
        r=first.r,
        lora_alpha=first.alpha,
        rank_pattern={exactly(m.name): m.r for m in adapter.modules if m.r != first.r},
        alpha_pattern={exactly(m.name): m.alpha for m in adapter.modules if m.alpha != first.alpha},
        use_rslora=adapter.use_rslora,
        use_dora=adapter.use_dora,
        lora_bias=any(m.bias for m in adapter.modules),
        ensure_weight_tying=numbers.weight_tying and any(m.embedding for m in adapter.modules),
        **shared,
    )


def _kept(rank: int, most: int) -> list[bool]:
    """Return AdaLoRA's own form of a rank: which of the ranks that it began with are left."""
    return [True] * rank + [False] * (most - rank)


def read_tensors(adapter: AdapterFacts) -> dict[str, torch.Tensor]:
    """Return the adapter's tensors; raises EngineError MODEL-02 when one holds a value that is no number."""
    refuse_no_numbers(adapter.path / WEIGHTS)
    stored = load_file(adapter.path / WEIGHTS)
    return {k: v for k, v in stored.items() if not k.endswith(BASE_COPY + "weight")}
