"""What an adapter folder says of itself; targets and ranks come from its tensors, not from patterns."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import EngineError
from engine.models.adapter_tensors import (
    BASE_COPY,
    VERA_SHARED,
    AdapterModule,
    Found,
    Misfit,
    find_modules,
)
from engine.models.safetensors_header import Header, read_header
from engine.models.weight_files import PICKLED, read_json, stay_inside

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
MAX_RANK = 2048  # twice what a recipe may ask for: PiSSA and OLoRA are saved with their start beside them
_METHODS = {"LORA": "lora", "ADALORA": "adalora", "VERA": "vera", "IA3": "ia3", "OFT": "oft"}
# What is read from the file; everything else that is set in it is dropped and named.
KEPT = frozenset(
    "peft_type task_type base_model_name_or_path r lora_alpha lora_dropout target_modules fan_in_fan_out "
    "bias use_rslora use_dora init_lora_weights rank_pattern alpha_pattern modules_to_save inference_mode "
    "peft_version revision layers_to_transform layers_pattern exclude_modules auto_mapping corda_config "
    "trainable_token_indices ensure_weight_tying lora_bias target_r init_r tinit tfinal deltaT beta1 beta2 "
    "orth_reg_weight total_step projection_prng_key save_projection vera_dropout d_initial init_weights "
    "feedforward_modules init_ia3_weights oft_block_size module_dropout coft eps block_share "
    "use_cayley_neumann num_cayley_neumann_terms".split()
)
# What peft writes into every file; it says nothing.
_DEFAULTS = {"megatron_core": "megatron.core", "qalora_group_size": 16}
# Fields that change what an adapter computes in ways that are not built here; without them it would answer
# as another model, so an adapter that sets one is refused by its name.
_CHANGING = (
    "alora_invocation_tokens arrow_config kasa_config layer_replication monteclora_config target_parameters "
    "trainable_token_indices use_bdlora use_qalora"
).split()
# Starts that take their part out of the base's weights: the saved adapter belongs to what was left of them.
_MUTATING = ("pissa", "olora", "corda", "loftq", "lora_ga")


@dataclass(frozen=True)
class Numbers:
    """The numbers of an adapter's configuration that its formula needs besides its tensors.

    AdaLoRA divides by the rank that it began with; OFT builds its rotations by `terms` terms of a series, or
    exactly; VeRA draws its shared matrices from `prng_key` where the file leaves them out.
    """

    init_r: int = 12
    prng_key: int = 0
    oft_r: int = 0
    oft_block_size: int = 32
    block_share: bool = False
    coft: bool = False
    eps: float = 6e-5
    cayley_neumann: bool = True
    terms: int = 5
    weight_tying: bool = False


@dataclass(frozen=True)
class AdapterFacts:
    """What can be known of an adapter without loading it.

    `label` is its method as a person reads it; `unready` says why it can be neither loaded nor merged, and is
    empty for one that can; `trained_whole` names tensors of the base that it replaces, `whole_shapes` theirs.
    """

    name: str
    path: Path
    base: str
    method: str
    r: int
    lora_alpha: float
    target_modules: tuple[str, ...]
    bytes: int
    dropped_fields: tuple[str, ...]
    modules: tuple[AdapterModule, ...]
    use_rslora: bool
    use_dora: bool
    trained_whole: tuple[str, ...]
    trainable_parameters: int
    whole_shapes: tuple[tuple[int, ...], ...] = ()
    numbers: Numbers = Numbers()
    projections: tuple[tuple[int, ...], ...] = ()
    label: str = ""
    unready: str = ""


def read_adapter_facts(folder: Path | str) -> AdapterFacts:
    """Read a PEFT adapter folder.

    Raises EngineError MODEL-01 (only files that can run programs), MODEL-02 (damaged), MODEL-05 (a method or
    a rank that is not supported).
    """
    folder = Path(folder)
    config = read_json(_present(folder, CONFIG))
    header = read_header(stay_inside(folder, _weights(folder)))
    method = _METHODS.get(str(config.get("peft_type", "")).upper())
    if method is None:
        raise _unsupported(folder, "peft_type", config.get("peft_type"), "Use a LoRA adapter.")
    r = int(_number(folder, config, "r", 8, MAX_RANK)) if method == "lora" else 0
    numbers = _numbers(folder, config, method)
    found = _found(folder, header, config, method)
    modules = _modules(folder, found, config, method, numbers)
    use_dora = any(module.dora for module in modules)
    return AdapterFacts(
        name=paths.show_name(_name(folder)),
        path=folder,
        base=_base(config),
        method=method,
        r=max((m.r for m in modules), default=r) if r not in {m.r for m in modules} else r,
        lora_alpha=_number(folder, config, "lora_alpha", 8, 1 << 20),
        target_modules=tuple(sorted({m.name.rpartition(".")[2] for m in modules})),
        bytes=sum(t.end - t.begin for t in header.tensors),
        dropped_fields=_dropped(config),
        modules=modules,
        use_rslora=config.get("use_rslora") is True,
        use_dora=use_dora,
        trained_whole=tuple(name for name, _ in found.whole),
        trainable_parameters=sum(t.numel for t in header.tensors if _is_trained(t.name)),
        whole_shapes=tuple(shape for _, shape in found.whole),
        numbers=numbers,
        projections=tuple(t.shape for name in VERA_SHARED for t in header.tensors if t.name == name),
        label=_label(method, modules, use_dora),
        unready=_unready(config, found, method),
    )


def _base(config: Mapping[str, Any]) -> str:
    """Return the base that a file names: a hub's id or a path of this computer, no address of another one.

    To look at a path such as `\\\\host\\share` is enough for Windows to sign in there.
    """
    named = config.get("base_model_name_or_path")
    far = not isinstance(named, str) or "://" in named or named.strip()[:2] in ("//", "\\\\", "\\/", "/\\")
    return "" if far or not str(named).isprintable() else paths.show_name(str(named), 400)


def _is_trained(name: str) -> bool:
    """VeRA's shared matrices and copies of the base's weights lie in the file and are not trained."""
    return name not in VERA_SHARED and not name.endswith(BASE_COPY + "weight")


def _label(method: str, modules: tuple[AdapterModule, ...], use_dora: bool) -> str:
    if method == "ia3":
        return "IA3"
    if method == "oft":
        return f"OFT, blocks of {_spread([m.in_features // m.r for m in modules])}"
    named = {"lora": "DoRA" if use_dora else "LoRA", "adalora": "AdaLoRA", "vera": "VeRA"}[method]
    return f"{named} r{_spread([m.r for m in modules])}"


def _spread(values: list[int]) -> str:
    least, most = min(values, default=0), max(values, default=0)
    return f"{least}" if least == most else f"{least}-{most}"


def _found(folder: Path, header: Header, config: dict[str, Any], method: str) -> Found:
    """Sort the tensors by what they are; raises EngineError MODEL-02 for what the method cannot have."""
    try:
        return find_modules(method, header.tensors, str(config.get("bias") or "none") != "none")
    except Misfit as error:
        raise EngineError(
            f"{WEIGHTS} is damaged or forged: {paths.show_name(str(error), 200)}.",
            "Train or download the adapter again.",
            "MODEL-02",
            file=str(folder / WEIGHTS),
        ) from error


def _modules(
    folder: Path, found: Found, config: dict[str, Any], method: str, numbers: Numbers
) -> tuple[AdapterModule, ...]:
    """Give each module its alpha; raises EngineError MODEL-05 for ranks that are out of bounds."""
    alpha = _number(folder, config, "lora_alpha", 8, 1 << 20)
    patterns = _plain_patterns(config.get("alpha_pattern")) if method == "lora" else {}
    least = 0 if method in ("adalora", "ia3") else 1
    most = numbers.init_r if method == "adalora" else MAX_RANK if method != "oft" else 1 << 20
    modules = []
    for module in found.modules:
        if not least <= module.r <= most:
            raise _unsupported(folder, "r", module.r, f"Ranks from {least} to {most} are supported.")
        modules.append(replace(module, alpha=_of_pattern(patterns, module.name, alpha)))
    return tuple(modules)


def _numbers(folder: Path, config: dict[str, Any], method: str) -> Numbers:
    """Read what the method's formula needs, within bounds; raises EngineError MODEL-05."""
    tying = config.get("ensure_weight_tying") is True
    if method == "adalora":
        init_r = _number(folder, config, "init_r", 12, MAX_RANK)
        return Numbers(init_r=int(init_r), weight_tying=tying)
    if method == "vera":
        key = config.get("projection_prng_key", 0)
        if type(key) is not int or not 0 <= key < 1 << 63:
            raise _unsupported(folder, "projection_prng_key", key, "It should be a whole number.")
        return Numbers(prng_key=key)
    if method != "oft":
        return Numbers(weight_tying=tying)
    r, block = config.get("r", 0), config.get("oft_block_size", 32)
    for name, value in (("r", r), ("oft_block_size", block)):
        if type(value) is not int or not 0 <= value <= 1 << 20:
            raise _unsupported(folder, name, value, "It should be a whole number.")
    if bool(r) == bool(block):
        raise _unsupported(folder, "r and oft_block_size", f"{r}, {block}", "One of them should be 0.")
    return Numbers(
        oft_r=r,
        oft_block_size=block,
        block_share=config.get("block_share") is True,
        coft=config.get("coft") is True,
        eps=float(_number(folder, config, "eps", 6e-5, 1.0)),
        cayley_neumann=config.get("use_cayley_neumann", True) is not False,
        terms=int(_number(folder, config, "num_cayley_neumann_terms", 5, 64)),
    )


def _unready(config: dict[str, Any], found: Found, method: str) -> str:
    """Say why an adapter would answer as another model here, by the name of what it uses; or nothing."""
    for name in _CHANGING:
        if config.get(name):
            return f"{name} is not supported"
    if found.tokens:
        return "trainable_token_indices is not supported"
    start = str(config.get("init_lora_weights", True)).lower()
    if start.startswith(_MUTATING):
        return f"it was saved without its conversion from init_lora_weights = {paths.show_name(start, 40)}"
    value = config.get("alpha_pattern")
    if method == "lora" and isinstance(value, dict) and len(_plain_patterns(value)) < len(value):
        odd = next(str(key) for key in value if not _plain_patterns({key: value[key]}))
        return f"alpha_pattern: {paths.show_name(odd, 60)} is no plain name"
    embedding = next((m.name for m in found.modules if m.embedding and method == "oft"), "")
    return f"an embedding adapted by OFT ({embedding}) is not supported" if embedding else ""


def _name(folder: Path) -> str:
    """An adapter inside a run is known by the run's name: `runs/tickets/adapter` is `tickets`."""
    if folder.name == "adapter":
        return folder.parent.name
    if folder.parent.name == "checkpoints":
        return f"{folder.parent.parent.name} {folder.name}"
    return folder.name


def _present(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise EngineError(
            f"{paths.show_name(folder.name)} is no adapter folder: {name} is missing.",
            f"Choose a folder that holds {CONFIG} and {WEIGHTS}.",
            "MODEL-02",
            file=str(folder),
        )
    return stay_inside(folder, path)


def _weights(folder: Path) -> Path:
    if not (folder / WEIGHTS).is_file():
        for path in sorted(folder.iterdir()):
            if path.suffix in PICKLED:
                raise EngineError(
                    f"{paths.show_name(path.name)} can run programs when opened, so it was not opened.",
                    "Look for a safetensors version of this adapter.",
                    "MODEL-01",
                    file=str(path),
                )
    return _present(folder, WEIGHTS)


def _number(folder: Path, config: dict[str, Any], name: str, default: float, most: float) -> float:
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
        raise _unsupported(folder, name, value, f"It should be above 0 and at most {most:g}.")
    return value


def _unsupported(folder: Path, name: str, value: Any, remedy: str) -> EngineError:
    return EngineError(
        f"{CONFIG}: {name} = {paths.show_name(str(value), 40)} is not supported.",
        remedy,
        "MODEL-05",
        file=str(folder / CONFIG),
    )


def _plain_patterns(value: Any) -> dict[str, float]:
    """Keep the keys that are plain names, their dots written plain or escaped; peft would run any other."""
    if not isinstance(value, dict):
        return {}
    plain = {str(key).replace(r"\.", "."): (key, number) for key, number in value.items()}
    return {
        name: number
        for name, (key, number) in plain.items()
        if isinstance(key, str)
        and re.fullmatch(r"\^?[A-Za-z0-9_.]{1,256}", name)
        and isinstance(number, int | float)
        and not isinstance(number, bool)
    }


def _of_pattern(patterns: dict[str, float], name: str, default: float) -> float:
    """Return the value whose key is the module's name or ends it; the first that fits, as in peft."""
    for key, value in patterns.items():
        plain = key.removeprefix("^")
        if name == plain or (not key.startswith("^") and name.endswith("." + plain)):
            return value
    return default


def _dropped(config: dict[str, Any]) -> tuple[str, ...]:
    """Name the fields that are set and not obeyed: code paths, foreign back ends, patterns."""
    empty: tuple[Any, ...] = (None, False, [], {}, "", 1)
    named = [k for k, v in config.items() if k not in KEPT and v not in empty and v != _DEFAULTS.get(k)]
    if isinstance(config.get("target_modules"), str) and config["target_modules"] != "all-linear":
        named.append("target_modules")
    for key in ("auto_mapping", "exclude_modules", "layers_pattern", "corda_config"):
        if config.get(key) not in empty:
            named.append(key)
    if config.get("base_model_name_or_path") and not _base(config):
        named.append("base_model_name_or_path")
    return tuple(paths.show_name(k, 60) for k in sorted(set(named)))
