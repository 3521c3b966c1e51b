"""Whether an adapter belongs to a base model, told from names and shapes before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping

from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts
from engine.models.adapter_tensors import AdapterModule, Shape
from engine.models.facts import ModelFacts, is_head
from engine.models.weight_files import read_headers


def check_fit(adapter: AdapterFacts, base: ModelFacts) -> None:
    """Raise EngineError MODEL-07 when a module of the adapter is not in the base or has other sizes there."""
    sizes = sizes_of(adapter, base)
    for module in adapter.modules:
        if sizes[module.name] is None:
            raise _unfit(adapter, base, f"{module.name} is not in it")
        _compare(adapter, base, module, sizes[module.name] or (0, 0))
    shapes = base_shapes(base) if adapter.trained_whole else {}
    for name, shape in zip(adapter.trained_whole, adapter.whole_shapes, strict=True):
        found = find_place(name, shapes)
        needed = shapes[found] if found else None
        if found is None and is_head(name) and base.tied:
            needed = (base.vocab_size, base.hidden_size)
        if needed is None:
            raise _unfit(adapter, base, f"{name}, trained whole, is not in it")
        if shape != needed:
            raise _unfit(adapter, base, f"{name} has the shape {list(shape)} and should have {list(needed)}")
    if adapter.method == "vera":
        _compare_projections(adapter, base, vera_shapes(adapter, base))


def sizes_of(adapter: AdapterFacts, base: ModelFacts) -> dict[str, tuple[int, int] | None]:
    """Return (inputs, outputs) in the base of each adapted module, None for one that is not there."""
    known = {linear.name: (linear.in_features, linear.out_features) for linear in base.linears}
    beside = any(module.name not in known for module in adapter.modules)
    shapes = base_shapes(base) if beside else {}
    return {m.name: known.get(m.name) or _sizes_beside(m, base, shapes) for m in adapter.modules}


def vera_shapes(adapter: AdapterFacts, base: ModelFacts) -> tuple[Shape, Shape]:
    """Return the shapes of VeRA's A (r, widest input) and B (widest output, r)."""
    r = adapter.modules[0].r if adapter.modules else 0
    sizes = [size for size in sizes_of(adapter, base).values() if size]
    return (r, max((i for i, _ in sizes), default=0)), (max((o for _, o in sizes), default=0), r)


def base_shapes(base: ModelFacts) -> dict[str, Shape]:
    """Return the shape of each tensor in the base's files, by its name there."""
    return {tensor.name: tensor.shape for header in read_headers(base.path) for tensor in header.tensors}


def find_place(name: str, shapes: Mapping[str, object]) -> str | None:
    """Return the name under which a parameter stands in the base's files, or None.

    Some files of the hub leave the model's own prefix out: `h.0` for `transformer.h.0`.
    """
    return next((place for place in (name, name.partition(".")[2]) if place in shapes), None)


def _sizes_beside(
    module: AdapterModule, base: ModelFacts, shapes: dict[str, Shape]
) -> tuple[int, int] | None:
    """Return (inputs, outputs) of an output head or an embedding, which are no linear modules of the facts.

    An embedding takes one of `vocab` words and gives `hidden` numbers: peft counts its sizes that way round.
    """
    if is_head(module.name):
        return base.hidden_size, base.vocab_size
    found = find_place(f"{module.name}.weight", shapes) if module.embedding else None
    if found is None or len(shapes[found]) != 2:
        return None
    return shapes[found][0], shapes[found][1]


def _compare(adapter: AdapterFacts, base: ModelFacts, module: AdapterModule, needed: tuple[int, int]) -> None:
    inner, outer = module.in_features or needed[0], module.out_features or needed[1]
    if adapter.method == "oft" and adapter.numbers.block_share:
        if needed[0] % inner:
            raise _unfit(adapter, base, f"blocks of {inner} do not divide the inputs of {module.name}")
        inner = needed[0]
    if (inner, outer) != needed:
        raise _unfit(
            adapter, base, f"{module.name} is {inner} to {outer} and should be {needed[0]} to {needed[1]}"
        )


def _compare_projections(adapter: AdapterFacts, base: ModelFacts, needed: tuple[Shape, Shape]) -> None:
    """VeRA's shared matrices are as wide as the widest adapted layer, and all its layers have one rank."""
    if len({module.r for module in adapter.modules}) > 1:
        raise _unfit(adapter, base, "its layers have several ranks, and VeRA shares one")
    if adapter.projections and adapter.projections != needed:
        raise _unfit(adapter, base, f"vera_A and vera_B are {adapter.projections} and should be {needed}")


def _unfit(adapter: AdapterFacts, base: ModelFacts, difference: str) -> EngineError:
    recorded = f": {adapter.base}" if adapter.base else ""
    return EngineError(
        f"The adapter {adapter.name} does not fit {base.name}: {difference}.",
        f"Choose the base it was trained on{recorded}.",
        "MODEL-07",
        file=str(adapter.path),
    )


def refuse_unready(adapter: AdapterFacts) -> None:
    """Raise EngineError MODEL-05 for an adapter that would answer as another model, naming what it uses."""
    if adapter.unready:
        hint = "Use an adapter without it."
        if "conversion" in adapter.unready:
            hint = "Save it with peft's save_pretrained(path_initial_model_for_weight_conversion=...)."
        raise EngineError(f"{adapter.name}: {adapter.unready}.", hint, "MODEL-05", file=str(adapter.path))
    if not adapter.modules:
        raise EngineError(
            f"The adapter {adapter.name} has no tensors.",
            "Train or download it again.",
            "MODEL-02",
            file=str(adapter.path),
        )
