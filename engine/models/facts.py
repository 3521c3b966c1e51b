"""What a model folder says of itself: sizes, layers, linear modules; from config.json and headers alone."""

from __future__ import annotations

import importlib.util
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts as AdapterFacts
from engine.models.adapter_facts import read_adapter_facts as read_adapter_facts
from engine.models.safetensors_header import Header, TensorEntry
from engine.models.weight_files import read_headers, read_json

DTYPE_NAMES = {
    "F32": "float32",
    "BF16": "bfloat16",
    "F16": "float16",
    "F64": "float64",
    "U8": "uint8",
    "I8": "int8",
}
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8, "uint8": 1, "int8": 1}
# Families whose linear layers are transformers' Conv1D: the weight is stored as (in, out).
CONV1D_TYPES = frozenset({"gpt2", "openai-gpt", "imagegpt", "decision_transformer"})
_PREFIX = {"gpt2": "transformer.", "openai-gpt": "transformer.", "bloom": "transformer."}
_HEADS = ("lm_head", "embed_out", "output_projection")
_BUFFERS = re.compile(r"(\.attn\.bias|\.masked_bias|\.inv_freq|\.attention\.bias)$")
_LEAVES = (
    "q_proj k_proj v_proj qkv_proj query_key_value c_attn o_proj out_proj dense gate_proj up_proj "
    "gate_up_proj fc_in fc1 c_fc dense_h_to_4h down_proj fc_out fc2 dense_4h_to_h c_proj"
).split()
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d+)\.")


@dataclass(frozen=True)
class Linear:
    """One linear module by its name in the model, as peft sees it."""

    name: str
    in_features: int
    out_features: int

    @property
    def leaf(self) -> str:
        """Return the last part of the name, such as q_proj."""
        return self.name.rpartition(".")[2]

    @property
    def layer(self) -> int | None:
        """Return the number of the layer it is in, None when it is in none."""
        found = _LAYER.search(self.name)
        return int(found.group(1)) if found else None


@dataclass(frozen=True)
class ModelFacts:
    """What can be known of a causal model without loading it."""

    name: str
    path: Path
    architecture: str
    model_type: str
    parameters: int
    layers: int
    hidden_size: int
    intermediate_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    max_positions: int
    dtype: str
    tied: bool
    chat_template: bool
    weights_bytes: int
    linears: tuple[Linear, ...]
    quantization: str | None = None
    ignored: tuple[str, ...] = ()

    @property
    def groups(self) -> dict[str, int]:
        """Return how many linear modules end in each name, in the order of the model."""
        return dict(Counter(linear.leaf for linear in self.linears))

    @property
    def linear_parameters(self) -> int:
        """Return the number of weights inside the linear modules: what 4-bit loading quantises."""
        return sum(linear.in_features * linear.out_features for linear in self.linears)

    @property
    def fan_in_fan_out(self) -> bool:
        """Return whether linear weights are stored as (in, out)."""
        return self.model_type in CONV1D_TYPES


def read_facts(folder: Path | str) -> ModelFacts:
    """Read a model folder.

    Raises EngineError MODEL-01 (weights that can run programs), MODEL-02 (damaged or incomplete), MODEL-03
    (points outside), MODEL-04 (needs its own code), MODEL-05 (sizes that cannot be).
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise EngineError(
            f"{paths.show_name(folder.name)} is no model folder: config.json is missing.",
            "Choose a folder that holds config.json and model.safetensors.",
            "MODEL-02",
            file=str(folder),
        )
    config = read_json(folder / "config.json")
    model_type = str(config.get("model_type", ""))
    _refuse_own_code(folder, config, model_type)
    headers = read_headers(folder)
    tensors = [t for header in headers for t in header.tensors]
    sizes = _Sizes(folder, config, tensors)
    _compare(folder, sizes, tensors)
    return ModelFacts(
        name=paths.show_name(_name(folder)),
        path=folder,
        architecture=_architecture(config),
        model_type=model_type,
        parameters=_parameters(tensors, sizes.tied),
        layers=sizes.layers,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        vocab_size=sizes.vocab,
        max_positions=sizes.positions,
        dtype=_dtype(tensors),
        tied=sizes.tied,
        chat_template=_has_template(folder),
        weights_bytes=_bytes(headers),
        linears=linears_of(tensors, model_type),
        quantization=_quantization(config),
        ignored=tuple(sorted(p.name for p in folder.iterdir() if p.suffix in (".py", ".bin", ".pt"))),
    )


def _name(folder: Path) -> str:
    """A model that a run trained whole is known by the run's name: `runs/tickets/model` is `tickets`."""
    is_result = folder.name == "model" and (folder.parent / "job.json").is_file()
    return folder.parent.name if is_result else folder.name


def _architecture(config: dict[str, Any]) -> str:
    names = config.get("architectures")
    return paths.show_name(str(names[0]), 80) if isinstance(names, list) and names else ""


def _refuse_own_code(folder: Path, config: dict[str, Any], model_type: str) -> None:
    """A model that brings program code is taken only when transformers knows its type without it."""
    if "auto_map" not in config or is_builtin(model_type):
        return
    raise EngineError(
        "This model needs its own program code (auto_map).",
        "Choose a model of a family that transformers brings along, such as llama, qwen2, gemma or phi3.",
        "MODEL-04",
        file=str(folder / "config.json"),
    )


def is_builtin(model_type: str) -> bool:
    """Return whether the installed transformers has this model type; nothing is imported."""
    spec = importlib.util.find_spec("transformers")
    if (
        spec is None
        or not spec.submodule_search_locations
        or not re.fullmatch(r"[a-z0-9_\-]{1,64}", model_type)
    ):
        return False
    return (
        Path(next(iter(spec.submodule_search_locations))) / "models" / model_type.replace("-", "_")
    ).is_dir()


class _Sizes:
    """The sizes in config.json under their several names, within bounds."""

    def __init__(self, folder: Path, config: dict[str, Any], tensors: list[TensorEntry]) -> None:
        self._file = str(folder / "config.json")
        inner = config.get("text_config")
        self._config = {**config, **inner} if isinstance(inner, dict) else config
        self.hidden = self._number(("hidden_size", "n_embd", "d_model", "dim"), 1 << 17)
        self.layers = self._number(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 1024)
        self.heads = self._number(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4096)
        self.kv_heads = self._number(("num_key_value_heads", "num_kv_heads"), 4096, self.heads)
        self.head_dim = self._number(("head_dim",), 1 << 14, self.hidden // max(1, self.heads))
        self.intermediate = self._number(
            ("intermediate_size", "n_inner", "ffn_dim"), 1 << 20, 4 * self.hidden
        )
        self.vocab = self._number(("vocab_size",), 1 << 22)
        self.positions = self._number(
            ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 1 << 32, 2048
        )
        self.tied = self._tied(tensors)

    def _tied(self, tensors: list[TensorEntry]) -> bool:
        """GPT-2's configurations leave the key out: a model without an output head in its files shares it."""
        value = self._config.get("tie_word_embeddings")
        if isinstance(value, bool):
            return value
        return not any(t.name.split(".")[0] in _HEADS for t in tensors)

    def _number(self, names: tuple[str, ...], most: int, default: int | None = None) -> int:
        for name in names:
            value = self._config.get(name)
            if value is None:
                continue
            if type(value) is not int or not 1 <= value <= most:
                raise EngineError(
                    f"config.json: {name} = {paths.show_name(str(value), 40)} is not supported.",
                    f"It should be a whole number from 1 to {most}.",
                    "MODEL-05",
                    file=self._file,
                )
            return value
        if default is None:
            raise EngineError(
                f"config.json: {names[0]} is missing.",
                "This is no causal language model, or its folder is not complete.",
                "MODEL-05",
                file=self._file,
            )
        return default


def _compare(folder: Path, sizes: _Sizes, tensors: list[TensorEntry]) -> None:
    """Compare the sizes that config.json claims with the tensors that are there, before anything is built."""
    found = {int(m.group(1)) for t in tensors if (m := _LAYER.search(t.name))}
    if found != set(range(sizes.layers)):
        raise EngineError(
            f"The weights of {paths.show_name(folder.name)} are not complete: "
            f"{sizes.layers} layers expected, {len(found)} found.",
            "Download the model again.",
            "MODEL-02",
            file=str(folder),
        )
    for tensor in tensors:
        if (
            is_embedding(tensor.name)
            and len(tensor.shape) == 2
            and "pos" not in tensor.name
            and "wpe" not in tensor.name
        ):
            if tensor.dtype in ("F32", "F16", "BF16") and tensor.shape[1] not in (
                sizes.hidden,
                _other_width(sizes),
            ):
                raise EngineError(
                    f"config.json: hidden_size {sizes.hidden} does not fit the weights ({tensor.shape[1]}).",
                    "Download the model again.",
                    "MODEL-05",
                    file=str(folder / "config.json"),
                )
            return


def _other_width(sizes: _Sizes) -> int:
    value = sizes._config.get("word_embed_proj_dim", sizes.hidden)
    return value if isinstance(value, int) else sizes.hidden


def is_embedding(name: str) -> bool:
    """Return whether a weight's name is that of an embedding table."""
    leaf = name.removesuffix(".weight").rpartition(".")[2]
    return leaf in ("wte", "wpe") or ("emb" in leaf and "norm" not in leaf and leaf != "embed_out")


def is_head(name: str) -> bool:
    """Return whether a weight's name is that of the output head, which `all-linear` leaves out."""
    return name.removesuffix(".weight").split(".")[-1] in _HEADS


def linears_of(tensors: Iterable[TensorEntry], model_type: str) -> tuple[Linear, ...]:
    """Return the modules that peft's `all-linear` takes: every linear layer but the output head.

    Mixture-of-experts layers are one three-dimensional parameter in transformers 5, no linear modules, so
    per-expert weights and their router are left out.
    """
    tensors = list(tensors)
    experts = any(".experts." in t.name for t in tensors)
    prefix = _PREFIX.get(model_type, "")
    found = []
    for tensor in tensors:
        name = tensor.name.removesuffix(".weight")
        if name == tensor.name or len(tensor.shape) != 2 or is_embedding(tensor.name) or is_head(tensor.name):
            continue
        if experts and (".experts." in name or name.endswith((".gate", ".router"))):
            continue
        rows, columns = tensor.shape
        inner, outer = (rows, columns) if model_type in CONV1D_TYPES else (columns, rows)
        found.append(Linear(name if name.startswith(prefix) else prefix + name, inner, outer))
    return tuple(sorted(found, key=lambda linear: _reading_order(linear.name)))


def _reading_order(name: str) -> tuple[list[tuple[int, str]], int, str]:
    """Sort by layer, then as the model computes: attention's inputs, its output, the MLP."""
    parts = name.split(".")
    leaf = parts[-1]
    outer = [(int(part), "") if part.isdigit() else (-1, part) for part in parts[:-2]]
    return outer, _LEAVES.index(leaf) if leaf in _LEAVES else len(_LEAVES), leaf


def _parameters(tensors: list[TensorEntry], tied: bool) -> int:
    """Count values once: buffers of old checkpoints and the second name of a shared head do not count."""
    return sum(
        t.numel
        for t in tensors
        if not _BUFFERS.search(t.name) and not (tied and is_head(t.name) and len(t.shape) == 2)
    )


def _dtype(tensors: list[TensorEntry]) -> str:
    by_type: Counter[str] = Counter()
    for tensor in tensors:
        by_type[tensor.dtype] += tensor.end - tensor.begin
    return (
        DTYPE_NAMES.get(by_type.most_common(1)[0][0], by_type.most_common(1)[0][0]) if by_type else "float32"
    )


def _bytes(headers: list[Header]) -> int:
    return sum(t.end - t.begin for h in headers for t in h.tensors)


def _quantization(config: dict[str, Any]) -> str | None:
    value = config.get("quantization_config")
    return paths.show_name(str(value.get("quant_method", "unknown")), 40) if isinstance(value, dict) else None


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(read_json(path).get("chat_template"))
