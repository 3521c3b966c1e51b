"""What an adapter folder says of itself; targets and ranks come from its tensors, not from patterns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import EngineError
from engine.models.safetensors_header import Header, read_header
from engine.models.weight_files import PICKLED, read_json, stay_inside

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PEFT_PREFIX = "base_model.model."
MAX_RANK = 1024
BASE_COPY = ".base_layer."  # peft saves the frozen head along when it is adapted; it is the base's own
_METHODS = {"LORA": "lora", "ADALORA": "adalora", "VERA": "vera", "IA3": "ia3", "OFT": "oft"}
_LORA = re.compile(
    r"^(?P<module>.+)\.(?P<part>lora_(?:A|B|embedding_A|embedding_B|magnitude_vector))(?:\.weight)?$"
)
# What is read from the file; everything else that is set in it is dropped and named.
_KEPT = frozenset(
    "peft_type task_type base_model_name_or_path r lora_alpha lora_dropout target_modules fan_in_fan_out "
    "bias use_rslora use_dora init_lora_weights rank_pattern alpha_pattern modules_to_save inference_mode "
    "peft_version revision layers_to_transform layers_pattern exclude_modules auto_mapping corda_config "
    "trainable_token_indices".split()
)
# What peft writes into every file; it says nothing.
_DEFAULTS = {"megatron_core": "megatron.core", "qalora_group_size": 16}


@dataclass(frozen=True)
class AdapterModule:
    """One adapted module: its name in the base, its rank, its scaling's alpha and its sizes."""

    name: str
    r: int
    alpha: float
    in_features: int
    out_features: int
    embedding: bool = False


@dataclass(frozen=True)
class AdapterFacts:
    """What can be known of an adapter without loading it."""

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
    alpha = _number(folder, config, "lora_alpha", 8, 1 << 20)
    r = int(_number(folder, config, "r", 8, MAX_RANK)) if method == "lora" else 0
    modules, whole = _modules(folder, header, config, alpha) if method == "lora" else ((), ())
    return AdapterFacts(
        name=paths.show_name(_name(folder)),
        path=folder,
        base=paths.show_name(str(config.get("base_model_name_or_path") or ""), 400),
        method=method,
        r=max((m.r for m in modules), default=r) if r not in {m.r for m in modules} else r,
        lora_alpha=alpha,
        target_modules=tuple(sorted({m.name.rpartition(".")[2] for m in modules})),
        bytes=sum(t.end - t.begin for t in header.tensors),
        dropped_fields=_dropped(config),
        modules=modules,
        use_rslora=config.get("use_rslora") is True,
        use_dora=any("lora_magnitude_vector" in t.name for t in header.tensors),
        trained_whole=whole,
        trainable_parameters=sum(t.numel for t in header.tensors),
    )


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


def _modules(
    folder: Path, header: Header, config: dict[str, Any], alpha: float
) -> tuple[tuple[AdapterModule, ...], tuple[str, ...]]:
    """Read the adapted modules from the pairs of A (r, in) and B (out, r), and what is trained whole."""
    pairs: dict[str, dict[str, tuple[int, ...]]] = {}
    whole = set()
    for tensor in header.tensors:
        found = _LORA.match(tensor.name.removeprefix(PEFT_PREFIX))
        if found:
            pairs.setdefault(found["module"], {})[found["part"]] = tensor.shape
        elif BASE_COPY not in tensor.name:
            whole.add(tensor.name.removeprefix(PEFT_PREFIX))
    patterns = _plain_patterns(config.get("alpha_pattern"))
    modules = []
    for name, shapes in pairs.items():
        embedding = "lora_embedding_A" in shapes
        a = shapes.get("lora_embedding_A" if embedding else "lora_A")
        b = shapes.get("lora_embedding_B" if embedding else "lora_B")
        if not a or not b or len(a) != 2 or len(b) != 2 or a[0] != b[1]:
            raise EngineError(
                f"{WEIGHTS} is damaged or forged: the two halves of {name} do not fit.",
                "Train or download the adapter again.",
                "MODEL-02",
                file=str(folder / WEIGHTS),
            )
        if not 1 <= a[0] <= MAX_RANK:
            raise _unsupported(folder, "r", a[0], f"Ranks up to {MAX_RANK} are supported.")
        modules.append(AdapterModule(name, a[0], _of_pattern(patterns, name, alpha), a[1], b[0], embedding))
    return tuple(modules), tuple(sorted(whole))


def _plain_patterns(value: Any) -> dict[str, float]:
    """Keep the keys that are plain names: peft would run any other as a regular expression."""
    if not isinstance(value, dict):
        return {}
    return {
        k: v
        for k, v in value.items()
        if re.fullmatch(r"\^?[A-Za-z0-9_.]{1,256}", k)
        and isinstance(v, int | float)
        and not isinstance(v, bool)
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
    named = [k for k, v in config.items() if k not in _KEPT and v not in empty and v != _DEFAULTS.get(k)]
    if isinstance(config.get("target_modules"), str) and config["target_modules"] != "all-linear":
        named.append("target_modules")
    for key in ("auto_mapping", "exclude_modules", "layers_pattern", "corda_config"):
        if config.get(key) not in empty:
            named.append(key)
    return tuple(paths.show_name(k, 60) for k in sorted(set(named)))
