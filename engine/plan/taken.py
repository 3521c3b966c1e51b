"""What an adapter settles of the recipe of a run that begins from it, field by field.

Modules, ranks and strengths are those of its tensors; no pattern of its file is used. A field at its default
is taken over, so that plan, card and resume know what is trained; one that says otherwise is refused by name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts, Numbers
from engine.models.facts import Linear, ModelFacts, is_embedding, is_head, is_position
from engine.paths import show_name
from engine.plan import adapter_size
from engine.plan.adapter_size import HEAD, adapted_linears, ends_in, is_whole, shapes_in
from engine.recipe import codec
from engine.recipe.adapter_options import AdapterOptions
from engine.recipe.combinations import OBEYED
from engine.recipe.recipe import Recipe
from engine.recipe.targets import in_group

Number = int | float
_DEFAULTS = AdapterOptions()
_FREE = ("path", "lora_dropout", "init_lora_weights")  # they are the run's own
_MOST = {"r": 1024, "lora_alpha": 4096, "oft_block_size": 1024}


def fields_taken(method: str) -> tuple[str, ...]:
    """Return the fields of a recipe that are an adapter's own, once one of this method is gone on with."""
    own = [name for name in OBEYED[method] if name not in _FREE]
    return tuple(f"adapter.{name}" for name in ("method", *own))


def take_over(recipe: Recipe, adapter: AdapterFacts, base: ModelFacts) -> Recipe:
    """Return the recipe with what the adapter settles; asked again it changes nothing.

    Raises EngineError REC-01 by field where the recipe says otherwise, MODEL-05 by name for what cannot be
    trained here.
    """
    _refuse_unknown(adapter, base)
    options = recipe.adapter
    words = _words(adapter, base, _named_modules(adapter, base))
    if not _is_so(adapter, base, options.model_copy(update=words)):
        words = _words(adapter, base, {"target_modules": [m.name for m in adapter.modules]}, exact=True)
        if not _is_so(adapter, base, options.model_copy(update=words)):
            raise _cannot(adapter, "its modules cannot be chosen by a recipe for this base", "target_modules")
    if _is_so(adapter, base, options):
        return recipe
    changes = {}
    for name, value in words.items():
        asked, usual = getattr(options, name), getattr(_DEFAULTS, name)
        if asked not in (usual, value) and not _means(name, options, value, adapter, base):
            raise _clash(adapter, name, asked, value)
        if asked != value and not (name == "target_modules" and asked != usual):
            changes[f"adapter.{name}"] = value
    return codec.override(recipe, changes)


def _means(name: str, options: AdapterOptions, value: Any, adapter: AdapterFacts, base: ModelFacts) -> bool:
    """Return whether other words of a field mean the same modules."""
    if name not in ("target_modules", "modules_to_save"):
        return False
    one, other = (options.model_copy(update={name: each}) for each in (getattr(options, name), value))
    if name == "modules_to_save":
        return _whole_names(base, one) == _whole_names(base, other)
    one = one.model_copy(update={"method": adapter.method})
    return _targets(base, one) == {module.name for module in adapter.modules}


# -- the adapter in the words of a recipe --------------------------------------------------------------------
def _words(
    adapter: AdapterFacts, base: ModelFacts, places: Mapping[str, Any], *, exact: bool = False
) -> dict[str, Any]:
    """Return every field of the adapter section that the adapter settles; `exact` spells modules out."""
    method = adapter.method
    found: dict[str, Any] = {"method": method, "layers_to_transform": None, **places}
    found["modules_to_save"], found["bias"] = _whole_words(adapter, base)
    if method == "lora":
        ranks = {module.name: module.r for module in adapter.modules}
        alphas = {module.name: _plain(module.alpha) for module in adapter.modules}
        found["r"], found["rank_pattern"] = _pattern(ranks, exact)
        found["lora_alpha"], found["alpha_pattern"] = _pattern(alphas, exact)
        found |= {"use_rslora": adapter.use_rslora, "use_dora": adapter.use_dora}
    elif method == "adalora":
        found["r"], found["lora_alpha"] = mean_rank(adapter), _plain(adapter.modules[0].alpha)
        found["target_r"] = None
    elif method == "vera":
        found["r"] = adapter.modules[0].r
    elif method == "oft":
        found["oft_block_size"] = _block(adapter)
    for name, most in _MOST.items():
        if isinstance(found.get(name), int | float) and not 1 <= found[name] <= most:
            raise _cannot(adapter, f"{name} = {found[name]:g} is not between 1 and {most}", name)
    return {name: value for name, value in found.items() if name == "method" or name in OBEYED[method]}


def _plain(value: Number) -> Number:
    return int(value) if value == int(value) else value


def _pattern(values: Mapping[str, Number], exact: bool) -> tuple[Number, dict[str, Number]]:
    """Return the most usual value, and by module the others: by the end of the name where that is enough."""
    usual = Counter(values.values()).most_common(1)[0][0]
    leaves: dict[str, set[Number]] = {}
    for name, value in values.items():
        leaves.setdefault(name.rpartition(".")[2], set()).add(value)
    found = {}
    for name, value in values.items():
        leaf = name.rpartition(".")[2]
        if value != usual:
            found[name if exact or len(leaves[leaf]) > 1 else leaf] = value
    return usual, found


def mean_rank(adapter: AdapterFacts) -> int:
    """Return the mean rank that makes AdaLoRA begin with the rank this adapter began with."""
    first = adapter.numbers.init_r
    for rank in range(1, first):
        if adapter_size.start_rank(_DEFAULTS.model_copy(update={"r": rank})) == first:
            return rank
    raise _cannot(adapter, f"init_r = {first} is half as much again of no rank", "r")


def _block(adapter: AdapterFacts) -> int:
    """Return the size of OFT's blocks that a recipe has to ask for."""
    return max(module.in_features // module.r for module in adapter.modules)


def _named_modules(adapter: AdapterFacts, base: ModelFacts) -> dict[str, Any]:
    """Return the shortest words that mean the adapter's modules and no other."""
    wanted = {module.name for module in adapter.modules}
    leaves = sorted({name.rpartition(".")[2] for name in wanted})
    layers = sorted({n for n in (Linear(name, 0, 0).layer for name in wanted) if n is not None})
    tries: Iterable[tuple[Any, list[int] | None]] = (
        ("all-linear", None),
        (leaves, None),
        ("all-linear", layers),
        (leaves, layers),
    )
    whole = [name for name, _ in _wholes(adapter)]
    for targets, only in tries:
        words = {"target_modules": targets, "layers_to_transform": only}
        update = {**words, "method": adapter.method, "modules_to_save": whole}
        if _targets(base, _DEFAULTS.model_copy(update=update)) == wanted:
            return words
    return {"target_modules": sorted(wanted)}


def _targets(base: ModelFacts, options: AdapterOptions) -> set[str]:
    return {linear.name for linear, _ in adapted_linears(base, options)}


def _wholes(adapter: AdapterFacts) -> list[tuple[str, list[str]]]:
    """Return the modules that were trained whole with their parameters; a bias alone is none of them."""
    found: dict[str, list[str]] = {}
    for name in adapter.trained_whole:
        module, _, leaf = name.rpartition(".")
        found.setdefault(module, []).append(leaf)
    return [(module, leaves) for module, leaves in found.items() if leaves != ["bias"]]


def _biases(adapter: AdapterFacts) -> set[str]:
    whole = {module for module, _ in _wholes(adapter)}
    return {n for n in adapter.trained_whole if n.endswith(".bias") and n[: -len(".bias")] not in whole}


def _whole_words(adapter: AdapterFacts, base: ModelFacts) -> tuple[list[str], str]:
    """Return `modules_to_save` and `bias`; raises EngineError MODEL-05 for biases that no word means."""
    names = sorted(module for module, _ in _wholes(adapter))
    leaves = sorted({name.rpartition(".")[2] for name in names})
    short = _DEFAULTS.model_copy(update={"modules_to_save": leaves})
    long = _DEFAULTS.model_copy(update={"modules_to_save": names})
    words = leaves if _whole_names(base, short) == _whole_names(base, long) else names
    trained = _biases(adapter)
    if not trained:
        return words, "none"
    modules = [module.name for module in adapter.modules]
    there = {name for name, shape in shapes_in(base).items() if name.endswith(".bias") and len(shape) == 1}
    own = {name for name in there if any(ends_in(m, name.removesuffix(".bias")) for m in modules)}
    for word, meant in (("lora_only", own), ("all", there)):
        if trained == meant:
            return words, word
    raise _cannot(adapter, f"it trains {len(trained)} of the {len(there)} biases of this base", "bias")


def _whole_names(base: ModelFacts, options: AdapterOptions) -> set[str]:
    """Return the parameters that `modules_to_save` trains; a tied head is its embedding."""
    names = dict.fromkeys([*shapes_in(base), f"{HEAD}.weight"])
    found = {n for n in names if is_whole(n.rpartition(".")[0], options.modules_to_save)}
    if base.tied and f"{HEAD}.weight" in found:
        found |= {n for n in names if is_embedding(n) and not is_position(n)}
    return found


def _is_so(adapter: AdapterFacts, base: ModelFacts, options: AdapterOptions) -> bool:
    """Return whether a recipe's adapter section means this adapter, module by module."""
    if options.method != adapter.method:
        return False
    pairs = {linear.name: rank for linear, rank in adapted_linears(base, options)}
    if pairs.keys() != {module.name for module in adapter.modules}:
        return False
    whole, bias = _whole_words(adapter, base)
    same = _whole_names(base, options) == _whole_names(
        base, options.model_copy(update={"modules_to_save": whole})
    )
    same &= options.bias == bias or "bias" not in OBEYED[adapter.method]
    return same and _SAME[adapter.method](adapter, options, pairs)


def _same_lora(adapter: AdapterFacts, options: AdapterOptions, ranks: Mapping[str, int]) -> bool:
    names = [module.name for module in adapter.modules]
    alphas: list[Any] = adapter_size.pattern_values(options.alpha_pattern, names, options.lora_alpha)
    same = all(m.r == ranks[m.name] and m.alpha == a for m, a in zip(adapter.modules, alphas, strict=True))
    return same and (options.use_rslora, options.use_dora) == (adapter.use_rslora, adapter.use_dora)


def _same_adalora(adapter: AdapterFacts, options: AdapterOptions, ranks: Mapping[str, int]) -> bool:
    alike = set(ranks.values()) == {adapter.numbers.init_r}
    return alike and options.lora_alpha == adapter.modules[0].alpha


def _same_vera(adapter: AdapterFacts, options: AdapterOptions, ranks: Mapping[str, int]) -> bool:
    return options.r == adapter.modules[0].r


def _same_oft(adapter: AdapterFacts, options: AdapterOptions, ranks: Mapping[str, int]) -> bool:
    return all(
        adapter_size.block_size(m.in_features, options.oft_block_size) * m.r == m.in_features
        for m in adapter.modules
    )


_SAME: dict[str, Callable[[AdapterFacts, AdapterOptions, Mapping[str, int]], bool]] = {
    "lora": _same_lora,
    "adalora": _same_adalora,
    "vera": _same_vera,
    "ia3": lambda adapter, options, ranks: True,
    "oft": _same_oft,
}


# -- what cannot be gone on with -----------------------------------------------------------------------------
def _refuse_unknown(adapter: AdapterFacts, base: ModelFacts) -> None:
    """Raise EngineError MODEL-05 for an adapter that training here would turn into another one."""
    numbers, modules = adapter.numbers, adapter.modules
    if any(module.bias for module in modules):
        raise _cannot(adapter, "lora_bias is set: B has biases", "bias")
    if adapter.use_dora and not all(module.dora for module in modules):
        raise _cannot(adapter, "only some of its modules are DoRA", "use_dora")
    if adapter.method == "ia3":
        odd = next((m.name for m in modules if bool(m.in_features) != in_group(m.name, "down")), "")
        if odd:
            raise _cannot(adapter, f"feedforward_modules: the other side of {odd}", "target_modules")
    usual = Numbers()
    for name in ("block_share", "coft", "cayley_neumann", "terms"):
        if adapter.method == "oft" and getattr(numbers, name) != getattr(usual, name):
            raise _cannot(adapter, f"OFT with {name} = {getattr(numbers, name)}", "method")
    tied = [n for n in adapter.trained_whole if base.tied and (is_head(n) or is_embedding(n))]
    if tied and not numbers.weight_tying:
        raise _cannot(adapter, f"{tied[0]} was trained apart from the weight it shares", "modules_to_save")
    if numbers.weight_tying and any(module.embedding for module in modules):
        raise _cannot(adapter, "ensure_weight_tying: head and embedding share an adapter", "target_modules")


def _cannot(adapter: AdapterFacts, why: str, field: str) -> EngineError:
    return EngineError(
        f"Training cannot go on from the adapter {adapter.name}: {show_name(why, 200)}.",
        "Merge it into its base, and train a new adapter on the result.",
        "MODEL-05",
        file=str(adapter.path),
        field=f"adapter.{field}",
    )


def _clash(adapter: AdapterFacts, name: str, asked: Any, value: Any) -> EngineError:
    said, has = (show_name(str(each), 80) for each in (asked, value))
    usual = getattr(_DEFAULTS, name)
    back = "empty" if usual in (None, [], {}) else usual
    return EngineError(
        f"adapter.{name}: the recipe says {said}, and the adapter {adapter.name} has {has}.",
        f"Set it to {has} or back to {back}: it is then the adapter's. To change it, merge the adapter into "
        "its base and train a new one.",
        "REC-01",
        field=f"adapter.{name}",
    )
