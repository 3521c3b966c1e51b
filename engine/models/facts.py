"""What a model folder says of itself: sizes, layers, linear modules; from config.json and headers alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine import paths
from engine.errors import EngineError
from engine.models.adapter_facts import AdapterFacts as AdapterFacts
from engine.models.adapter_facts import read_adapter_facts as read_adapter_facts
from engine.models.config_keys import is_builtin
from engine.models.families import UNKNOWN, family_of
from engine.models.gate import ignored_files, refuse_links
from engine.models.model_facts import CONV1D_TYPES, LAYER
from engine.models.model_facts import Build as Build
from engine.models.model_facts import Linear as Linear
from engine.models.model_facts import ModelFacts as ModelFacts
from engine.models.packed import refuse_packed
from engine.models.rebuilt import own_code, rebuild_config
from engine.models.refused import folder_name
from engine.models.safetensors_header import Header, TensorEntry
from engine.models.shapes import read_sizes, shapes_of
from engine.models.sizes import Config, Sizes
from engine.models.weight_files import has_weights, read_headers, read_json

DTYPE_NAMES = {
    "F32": "float32",
    "BF16": "bfloat16",
    "F16": "float16",
    "F64": "float64",
    "U8": "uint8",
    "I8": "int8",
}
DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "float64": 8, "uint8": 1, "int8": 1}
_PREFIX = {"gpt2": "transformer.", "openai-gpt": "transformer.", "bloom": "transformer."}
_HEADS = ("lm_head", "embed_out", "output_projection")
BUFFERS = re.compile(r"(\.attn\.bias|\.masked_bias|\.inv_freq|\.attention\.bias)$")
_LEAVES = (
    "q_proj k_proj v_proj qkv_proj query_key_value c_attn o_proj out_proj dense gate_proj up_proj "
    "gate_up_proj fc_in fc1 c_fc dense_h_to_4h down_proj fc_out fc2 dense_4h_to_h c_proj"
).split()


def read_facts(folder: Path | str, *, weights: bool = True) -> ModelFacts:
    """Read a model folder; without `weights` config.json alone is enough.

    Raises EngineError MODEL-01 (weights that can run programs), MODEL-02 (damaged or incomplete), MODEL-03
    (points outside), MODEL-04 (needs its own code), MODEL-05 (sizes that cannot be).
    """
    folder = Path(folder)
    file = folder / "config.json"
    if not file.is_file():
        raise EngineError(
            f"{paths.show_name(folder.name)} is no model folder: config.json is missing.",
            "Choose a folder that holds config.json and model.safetensors.",
            "MODEL-02",
            file=str(folder),
        )
    refuse_links(folder)
    config = read_json(file)
    dropped = _rebuilt(config, str(file), quantised=weights)
    headers = read_headers(folder) if weights else []
    tensors = [t for header in headers for t in header.tensors]
    refuse_packed(folder, tensors)
    facts, sizes = _facts(config, folder_name(folder), str(file), tensors)
    facts = replace(
        facts,
        path=folder,
        chat_template=_has_template(folder),
        ignored=ignored_files(folder),
        dropped_fields=dropped,
    )
    if not weights:
        return facts
    _compare(folder, sizes, tensors)
    return _with_weights(facts, headers, tensors)


def look_at(folder: Path | str) -> ModelFacts:
    """Read a model folder with its weights where it has any, else from config.json: to show and to plan."""
    return read_facts(folder, weights=has_weights(Path(folder)))


def facts_of_config(config: Mapping[str, Any], name: str = "") -> ModelFacts:
    """Return the facts of a parsed config.json; raises EngineError MODEL-05 for sizes that cannot be."""
    return _facts(config, name, None, [])[0]


def _facts(
    config: Mapping[str, Any], name: str, file: str | None, tensors: list[TensorEntry]
) -> tuple[ModelFacts, Sizes]:
    """Return what config.json alone tells; `tensors`, where known, say whether a head is there."""
    model_type = str(config.get("model_type", ""))
    if config.get("is_encoder_decoder") is True:
        raise EngineError(
            "This model is an encoder with a decoder, no causal language model.",
            "Choose a causal language model, such as one of the family llama, qwen or gemma.",
            "MODEL-05",
            file=file,
        )
    values = _flat(config)
    family = family_of(model_type)
    reader = Config(values, family.defaults if family else {}, file)
    sizes = read_sizes(family or UNKNOWN, reader)
    tied = _tied(reader, tensors)
    built = shapes_of(family or UNKNOWN, reader, sizes, tied=tied)
    dtype = _dtype_named(values)
    facts = ModelFacts(
        name=paths.show_name(name),
        path=Path(name),
        architecture=_architecture(config),
        model_type=model_type,
        parameters=built.parameters,
        layers=sizes.layers,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.intermediate,
        heads=sizes.heads,
        kv_heads=sizes.kv_heads,
        head_dim=sizes.head_dim,
        vocab_size=sizes.vocab,
        max_positions=sizes.positions,
        dtype=dtype,
        tied=tied,
        chat_template=False,
        weights_bytes=built.parameters * DTYPE_BYTES[dtype],
        linears=_ordered(built.linears),
        quantization=_quantization(config),
        from_config=True,
        rough=family is None,
        build=built.build,
        tensors=built.tensors if family else (),
    )
    return facts, sizes


def _flat(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the configuration of the text; whether its head is tied is said by the one around it."""
    inner = config.get("text_config")
    if not isinstance(inner, dict):
        return config
    inner = {key: value for key, value in inner.items() if key != "tie_word_embeddings"}
    return {**config, **inner}


def _with_weights(facts: ModelFacts, headers: list[Header], tensors: list[TensorEntry]) -> ModelFacts:
    """Return the facts of a folder with its weights.

    Where the files hold as many values as the family's table says, names and shapes are the table's: files
    of the hub may bear other names than the model, experts above all.
    """
    counted = _parameters(tensors, facts.tied)
    known = bool(facts.tensors) and (facts.quantization is not None or counted == facts.parameters)
    facts = replace(facts, dtype=_dtype(tensors), weights_bytes=_bytes(headers), from_config=False)
    if known:
        return facts
    linears = linears_of(tensors, facts.model_type)
    build = replace(facts.build, gated=any("gate" in linear.leaf for linear in linears))
    return replace(facts, parameters=counted, linears=linears, tensors=(), rough=True, build=build)


def _tied(config: Config, tensors: list[TensorEntry]) -> bool:
    """A family without a table may leave the key out: without an output head in its files it shares it."""
    value = config.get("tie_word_embeddings")
    if isinstance(value, bool):
        return value
    return bool(tensors) and not any(t.name.split(".")[0] in _HEADS for t in tensors)


def _dtype_named(values: Mapping[str, Any]) -> str:
    """Return the numbers that config.json names, float32 where it names none that can be."""
    named = values.get("dtype") or values.get("torch_dtype")
    return named if isinstance(named, str) and named in ("bfloat16", "float16") else "float32"


def _architecture(config: Mapping[str, Any]) -> str:
    names = config.get("architectures")
    return paths.show_name(str(names[0]), 80) if isinstance(names, list) and names else ""


def _rebuilt(config: Mapping[str, Any], file: str, *, quantised: bool) -> tuple[str, ...]:
    """Return the names of the fields that are left out; a model that needs its own program is refused.

    A type that this version of transformers does not know can still be planned for, unless it brings code.
    """
    if not is_builtin(str(config.get("model_type", ""))):
        if "auto_map" in config:
            raise own_code("auto_map", file)
        return ()
    left_out = () if quantised else ("quantization_config",)
    return rebuild_config({k: v for k, v in config.items() if k not in left_out}, file).dropped


def _compare(folder: Path, sizes: Sizes, tensors: list[TensorEntry]) -> None:
    """Compare the sizes that config.json claims with the tensors that are there, before anything is built."""
    tensors = [
        tensor for tensor in tensors if "vision" not in tensor.name
    ]  # pictures have layers of their own
    found = {int(m.group(1)) for t in tensors if (m := LAYER.search(t.name))}
    if found != set(range(sizes.layers)):
        raise EngineError(
            f"The weights of {paths.show_name(folder.name)} are not complete: "
            f"{sizes.layers} layers expected, {len(found)} found.",
            "Download the model again.",
            "MODEL-02",
            file=str(folder),
        )
    for tensor in tensors:
        if is_embedding(tensor.name) and len(tensor.shape) == 2 and not is_position(tensor.name):
            if tensor.dtype in ("F32", "F16", "BF16") and tensor.shape[1] not in (
                sizes.hidden,
                sizes.embedding,
            ):
                raise EngineError(
                    f"config.json: hidden_size {sizes.hidden} does not fit the weights ({tensor.shape[1]}).",
                    "Download the model again.",
                    "MODEL-05",
                    file=str(folder / "config.json"),
                )
            return


def is_embedding(name: str) -> bool:
    """Return whether a weight's name is that of an embedding table."""
    leaf = name.removesuffix(".weight").rpartition(".")[2]
    return leaf in ("wte", "wpe") or ("emb" in leaf and "norm" not in leaf and leaf != "embed_out")


def is_position(name: str) -> bool:
    """Return whether a weight's name is that of learned positions, an embedding that no head shares."""
    return "pos" in name or name.removesuffix(".weight").endswith("wpe")


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
    return _ordered(found)


def _ordered(linears: Iterable[Linear]) -> tuple[Linear, ...]:
    return tuple(sorted(linears, key=lambda linear: _reading_order(linear.name)))


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
        if not BUFFERS.search(t.name) and not (tied and is_head(t.name) and len(t.shape) == 2)
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


def _quantization(config: Mapping[str, Any]) -> str | None:
    value = config.get("quantization_config")
    return paths.show_name(str(value.get("quant_method", "unknown")), 40) if isinstance(value, dict) else None


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").is_file():
        return True
    path = folder / "tokenizer_config.json"
    return path.is_file() and bool(read_json(path).get("chat_template"))
