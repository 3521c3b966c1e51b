"""Whether an adapter belongs to a base model, told from names and shapes before anything is loaded."""

from __future__ import annotations

from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts
from engine.models.facts import ModelFacts, is_head

LATER = "It will be in a later version; use a LoRA adapter of linear layers."


def check_fit(adapter: AdapterFacts, base: ModelFacts) -> None:
    """Raise EngineError MODEL-07 when a module of the adapter is not in the base or has other sizes there."""
    known = {linear.name: linear for linear in base.linears}
    for module in adapter.modules:
        linear = known.get(module.name)
        if linear is None:
            if is_head(module.name):
                _compare(adapter, base, module.name, (module.in_features, module.out_features), _head(base))
                continue
            raise _unfit(adapter, base, f"{module.name} is not in it")
        found = (module.in_features, module.out_features)
        _compare(adapter, base, module.name, found, (linear.in_features, linear.out_features))


def _head(base: ModelFacts) -> tuple[int, int]:
    return base.hidden_size, base.vocab_size


def _compare(
    adapter: AdapterFacts, base: ModelFacts, name: str, found: tuple[int, int], needed: tuple[int, int]
) -> None:
    if found != needed:
        raise _unfit(
            adapter, base, f"{name} is {found[0]} to {found[1]} and should be {needed[0]} to {needed[1]}"
        )


def _unfit(adapter: AdapterFacts, base: ModelFacts, difference: str) -> EngineError:
    recorded = f": {adapter.base}" if adapter.base else ""
    return EngineError(
        f"The adapter {adapter.name} does not fit {base.name}: {difference}.",
        f"Choose the base it was trained on{recorded}.",
        "MODEL-07",
        file=str(adapter.path),
    )


def refuse_unready(adapter: AdapterFacts) -> None:
    """Raise EngineError MODEL-05 for adapters that this version cannot load or merge, naming what it is."""
    if adapter.method != "lora":
        raise _later(adapter, f"the method {adapter.method}")
    if adapter.trained_whole:
        raise _later(adapter, f"{adapter.trained_whole[0]}, trained whole,")
    embedding = next((m.name for m in adapter.modules if m.embedding), None)
    if embedding is not None:
        raise _later(adapter, f"an adapted embedding ({embedding})")
    if not adapter.modules:
        raise EngineError(
            f"The adapter {adapter.name} has no tensors.",
            "Train or download it again.",
            "MODEL-02",
            file=str(adapter.path),
        )


def _later(adapter: AdapterFacts, what: str) -> EngineError:
    return EngineError(
        f"{adapter.name}: {what} is not supported yet.", LATER, "MODEL-05", file=str(adapter.path)
    )
