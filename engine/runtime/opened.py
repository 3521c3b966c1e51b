"""A base model built from what the gate lets through: no path of a stranger's folder reaches transformers.

Given a folder, `from_pretrained` would follow its index, its adapter_config.json, and a configuration's own
wishes for code, kernels and other files. So it is given a configuration object and tensors, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import safe_open

from engine.data.templates import load_template
from engine.data.tokenizer import ModelTokenizer
from engine.errors import EngineError
from engine.models.facts import BUFFERS
from engine.models.gate import Opened, open_model
from engine.paths import show_name
from engine.runtime import imports

# What a configuration with odd values, or weights that do not fit it, make transformers raise.
TROUBLE = (OSError, ValueError, KeyError, RuntimeError, TypeError, AttributeError, StrictDataclassError)


def config_of(opened: Opened) -> Any:
    """Return transformers' configuration of a model; raises EngineError MODEL-05 for odd values."""
    imports.forbid_kernels()
    from transformers import CONFIG_MAPPING

    values = dict(opened.config.values)
    if values["model_type"] == "mistral" and "layer_types" in values:  # as transformers' own reader has it
        values["model_type"] = "ministral"
    try:
        return CONFIG_MAPPING[values["model_type"]].from_dict(values)
    except TROUBLE as error:
        raise explain(error, opened.folder) from error


def load_causal(folder: Path, **options: Any) -> Any:
    """Return the causal language model of a folder of safetensors, on the device and in the dtype asked for.

    `options` are those of `from_pretrained`. Raises EngineError MODEL-01 to MODEL-05 for a folder that is not
    whole, does not fit its configuration, or holds values that are no numbers.
    """
    opened = open_model(folder)
    config = config_of(opened)
    kind, config = _class_for(config, opened)
    quantised = "quantization_config" in options or hasattr(config, "quantization_config")
    with ExitStack() as files:
        tensors = _slices(opened.weights, files)
        if quantised:  # afterwards the values are packed, and a missing number among them cannot be seen
            _refuse_no_numbers(((name, tensors[name][...]) for name in tensors), folder)
        try:
            model, info = kind.from_pretrained(
                None,
                config=config,
                state_dict=tensors,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, by the name of the tensor
                **options,
            )
        except TROUBLE as error:
            if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
                raise
            raise explain(error, folder) from error
    _refuse_other_names(info, folder)
    if not quantised:
        _refuse_no_numbers(model.named_parameters(), folder)
    model.name_or_path = model.config.name_or_path = str(folder)
    model.generation_config = _generation(opened, model)
    return model


def _class_for(config: Any, opened: Opened) -> tuple[Any, Any]:
    """Return the class of the causal model, and the part of the configuration that it is built from."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        raise EngineError(
            f"{show_name(opened.folder.name)} is no causal language model ({config.model_type}).",
            "Choose a causal language model, such as one of the family llama, qwen or gemma.",
            "MODEL-05",
            file=str(opened.folder / "config.json"),
        )
    found = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    kind = found[0] if isinstance(found, tuple) else found
    inner = config.sub_configs.get("text_config")
    if inner is None or getattr(kind, "config_class", None) is not inner:
        return kind, config
    quantised = getattr(config, "quantization_config", None)
    config = config.get_text_config()
    if quantised is not None:
        config.quantization_config = quantised
    return kind, config


def _slices(weights: tuple[Path, ...], files: ExitStack) -> dict[str, Any]:
    """Return the tensors of a model, each read from its file when it is wanted."""
    found: dict[str, Any] = {}
    for path in weights:
        file = files.enter_context(safe_open(path, framework="pt", device="cpu"))
        found.update((name, file.get_slice(name)) for name in file.keys())
    return found


def _refuse_other_names(info: Mapping[str, Any], folder: Path) -> None:
    """Raise EngineError MODEL-02 for weights that are missing, of another shape, or none of this model's."""
    extra = [name for name in info.get("unexpected_keys", ()) if not BUFFERS.search(name)]
    for what, names in (
        ("lacks weights", info.get("missing_keys", ())),
        ("holds weights of another shape", [str(key[0]) for key in info.get("mismatched_keys", ())]),
        ("holds weights that its config.json has no place for", extra),
    ):
        if names:
            more = f" and {len(names) - 1} more." if len(names) > 1 else "."
            raise EngineError(
                f"{show_name(folder.name)} {what}: {show_name(min(names))}{more}",
                "Download the model again, or choose another one.",
                "MODEL-02",
                file=str(folder),
            )


def _refuse_no_numbers(tensors: Iterator[tuple[str, torch.Tensor]], folder: Path) -> None:
    """Raise EngineError MODEL-02 for a value that is NaN or infinite: one makes every answer none.

    A sum tells of it in a single reading; only a sum that is none itself is looked at value by value.
    """
    for name, tensor in tensors:
        if not tensor.is_floating_point() or tensor.is_meta or tensor.dtype.itemsize < 2:
            continue
        total = tensor.detach().sum(dtype=torch.float32)
        if not torch.isfinite(total) and not torch.isfinite(tensor).all():
            raise EngineError(
                f"{show_name(folder.name)} is damaged: {show_name(name)} holds values that are no numbers.",
                "Download the model again, or choose another one.",
                "MODEL-02",
                file=str(folder),
            )


def _generation(opened: Opened, model: Any) -> Any:
    """Return how answers end and are drawn, from the numbers that are within bounds."""
    from transformers import GenerationConfig

    values = opened.generation.values
    return GenerationConfig.from_dict(values) if values else model.generation_config


def explain(error: Exception, folder: Path) -> EngineError:
    """Return what a library's trouble with a model means."""
    text, name = str(error).lower(), show_name(folder.name)
    if "size mismatch" in text or "header" in text or "safetensors" in text:
        return EngineError(
            f"The weights of {name} are damaged or do not fit its config.json.",
            "Download the model again.",
            "MODEL-02",
            file=str(folder),
        )
    return EngineError(
        f"{name} cannot be loaded: its config.json is not one that transformers takes "
        f"({show_name(type(error).__name__, 60)}).",
        "Choose another model, or download it again; child.log has the details.",
        "MODEL-05",
        file=str(folder),
    )


def plain_tokenizer(folder: Path) -> Any:
    """Return transformers' tokenizer of a model, from what the gate lets through.

    Raises EngineError MODEL-02 to MODEL-06 for one that may not be used.
    """
    from transformers import PreTrainedTokenizerFast

    own = ModelTokenizer(folder)
    made = PreTrainedTokenizerFast(tokenizer_file=str(own.path), **own.tokens)
    made.chat_template = load_template(folder).source
    return made
