"""The base model in memory: device, precision, 4-bit, and how its attention takes many sequences at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import EngineError
from engine.recipe.recipe import ModelOptions
from engine.runtime import attention, faulty, memory, quantised
from engine.runtime.load_room import too_large
from engine.runtime.loss import decoder_of, plain_head
from engine.runtime.opened import load_causal

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """Where and in which numbers a model computes."""

    device: torch.device
    dtype: torch.dtype

    @property
    def device_name(self) -> str:
        """Return the device as a person knows it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"

    @property
    def dtype_name(self) -> str:
        """Return the precision without torch's prefix, such as float32."""
        return str(self.dtype).removeprefix("torch.")


def choose_compute(precision: str = "auto") -> Compute:
    """Return the GPU of this process, with bf16 where the hardware has it; without one the CPU in float32."""
    if torch.cuda.is_available():
        fitting = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
        device = torch.device("cuda", torch.cuda.current_device())  # its rank's, see `ranks.join`
    else:
        fitting, device = torch.float32, torch.device("cpu")
    dtype = {"auto": fitting, "fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    return Compute(device, dtype)


def load_base(folder: Path, options: ModelOptions, compute: Compute, *, whole: bool = False) -> Any:
    """Load the frozen base from a plain folder of safetensors; in float32 when it is to be trained `whole`.

    Raises EngineError MODEL-02 when weights are missing or damaged, MODEL-04/05 for a foreign model, GPU-01
    where there is no room for it.
    """
    dtype = torch.float32 if whole else DTYPES.get(options.dtype, compute.dtype)
    packed = _quantised(options, compute)
    extra: dict[str, Any] = {} if packed is None else {"quantization_config": packed}
    if packed is not None or compute.device.type == "cuda":
        extra["device_map"] = {"": compute.device}
    try:
        faulty.device("load")
        model = load_causal(folder, dtype=dtype, **extra)
    except memory.ERRORS as error:
        if not memory.ran_out(error):
            raise
        raise too_large(folder, options, compute, dtype) from error
    model.requires_grad_(False)
    quantised.keep_gradients_right(model)
    if packed is not None and compute.device.type == "cpu":
        _let_go_of_the_file(model)
    quantised.check_gradient(model)
    return model


def quantization_of(options: ModelOptions) -> str | None:
    """Return how the base is quantised, as the events call it: nf4, fp4, int8 or None."""
    if options.load_in_8bit:
        return "int8"
    return options.bnb_4bit_quant_type if options.load_in_4bit else None


def _quantised(options: ModelOptions, compute: Compute) -> Any:
    """Return transformers' configuration of a quantised base, None for a plain one."""
    from transformers import BitsAndBytesConfig

    if options.load_in_8bit:
        return BitsAndBytesConfig(load_in_8bit=True)
    if not options.load_in_4bit:
        return None
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=options.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=options.bnb_4bit_use_double_quant,
        bnb_4bit_compute_dtype=compute.dtype,
    )


def _let_go_of_the_file(model: nn.Module) -> None:
    """Copy what stays as it was: views of the mapped file would keep all of it in memory."""
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.clone()


@dataclass(frozen=True)
class Layout:
    """How batches are laid out for a model, and why."""

    flat: bool
    head_apart: bool
    reason: str
    shares: bool = False  # what rows begin with can stand once


@torch.no_grad()
def choose_layout(model: Any, asked: str = "auto") -> Layout:
    """Try two short sequences in one flat row against each alone; a model that differs gets padded batches.

    Leaves the model with the attention that fits its layout, or the one that the recipe asked for.
    """
    device = next(model.parameters()).device
    if asked != "auto":
        _set_attention(model, asked)
    own = model.config._attn_implementation  # what transformers chose for this family
    size = int(model.config.get_text_config().vocab_size)
    pieces = [torch.arange(3, 3 + n, device=device)[None] * 7 % size for n in (5, 9)]
    first, head_apart = _head_is_apart(model, pieces[0])
    alone = torch.cat([first, model(input_ids=pieces[1], use_cache=False).logits], 1)
    if asked in ("sdpa", "eager"):
        return Layout(False, head_apart, f"padded batches: {asked} attention, as the recipe says")
    attention.register()
    try:
        model.set_attn_implementation(attention.NAME if asked == "auto" else asked)
        shares = _close(*_sharing(model, pieces, alone))
        together = shares or _close(_flat(model, attention.Rows([5, 9]), pieces), alone)
    except (ValueError, TypeError, ImportError, NotImplementedError, RuntimeError) as error:
        _restore_attention(model, own)
        return Layout(False, head_apart, f"padded batches: {str(error)[:120]}")
    if not together:
        _restore_attention(model, own)
        return Layout(False, head_apart, "padded batches: this model mixes sequences that share a row")
    return Layout(True, head_apart, "flat batches without padding", shares)


def _flat(model: Any, rows: attention.Rows, pieces: list[Tensor]) -> Tensor:
    """Return the logits of sequences in one flat row, [1, tokens, vocabulary]."""
    own = [torch.arange(rows.shared, p.shape[1], device=p.device) for p in pieces]
    front = torch.arange(rows.shared, device=pieces[0].device)
    ids = torch.cat([pieces[0][:, : rows.shared], *(p[:, rows.shared :] for p in pieces)], 1)
    with attention.flat_row(rows):
        logits: Tensor = model(
            input_ids=ids, position_ids=torch.cat([front, *own])[None], use_cache=False
        ).logits
    return logits


def _sharing(model: Any, pieces: list[Tensor], alone: Tensor, count: int = 4) -> tuple[Tensor, Tensor]:
    """Return the logits of two sequences whose first `count` tokens stand once, and what they should be."""
    lengths = [p.shape[1] for p in pieces]
    found = _flat(model, attention.Rows([n - count for n in lengths], count), pieces)
    each = alone.split(lengths, 1)
    return found, torch.cat([each[0][:, :count], *(x[:, count:] for x in each)], 1)


def _set_attention(model: Any, name: str) -> None:
    try:
        model.set_attn_implementation(name)
    except (ValueError, ImportError) as error:
        raise EngineError(
            f"model.attn_implementation: this model cannot compute its attention with {name}.",
            "Use auto.",
            "REC-01",
            field="model.attn_implementation",
        ) from error


def _restore_attention(model: Any, name: str) -> None:
    if model.config._attn_implementation != name:
        model.set_attn_implementation(name)


def _close(found: Tensor, expected: Tensor) -> bool:
    limit = 1e-4 if expected.dtype == torch.float32 else 5e-2
    return bool(
        (found.float() - expected.float()).abs().max() <= limit * expected.float().abs().max().clamp_min(1e-3)
    )


def _head_is_apart(model: Any, ids: Tensor) -> tuple[Tensor, bool]:
    """Return a sequence's logits, and whether they are just `head @ hidden`, without a cap or a scale."""
    weight, seen = plain_head(model), list[Tensor]()
    # A cap on the logits does nothing to small ones: two short sequences cannot show it.
    if getattr(model.config.get_text_config(), "final_logit_softcapping", None) is not None:
        weight = None
    if weight is None or not hasattr(model, model.base_model_prefix):
        return model(input_ids=ids, use_cache=False).logits, False
    decoder = decoder_of(model)
    hook = decoder.register_forward_hook(lambda _module, _inputs, out: seen.append(out.last_hidden_state))
    try:
        logits = model(input_ids=ids, use_cache=False).logits
    finally:
        hook.remove()
    alike = len(seen) == 1 and seen[0].shape[-1] == weight.shape[1] and _close(seen[0] @ weight.T, logits)
    return logits, alike
