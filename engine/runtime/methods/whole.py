"""Full finetuning: all weights are trained, in float32; the result is a model folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from engine import durable
from engine.errors import EngineError
from engine.models.companions import copy_companion

FOLDER = "model"
# Beside weights and config.json, what a model folder needs to be used: tokenizer, template, generation.
_COMPANIONS = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "chat_template*",
    "generation_config.json",
)


@dataclass(frozen=True)
class Writers:
    """What writes one file of tensors, and one of text."""

    tensors: Callable[[dict[str, Tensor], Path], None]
    text: Callable[[str, Path], None]


class Whole(nn.Module):  # type: ignore[misc]
    """A model that is trained whole, with those of peft's methods that the loop uses."""

    def __init__(self, model: Any, folder: Path) -> None:
        super().__init__()
        self.model = model
        self.folder = folder
        self._begun = self._touched()

    def get_base_model(self) -> Any:
        """Return the model itself."""
        return self.model

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model itself."""
        return self.model(*args, **kwargs)

    def _touched(self) -> int:
        """Return how often the first weight was written to: torch counts it."""
        return int(next(self.model.parameters())._version)

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Answer as the untouched base: possible until the first step only, there is no second copy."""
        if self._touched() != self._begun:
            raise EngineError(
                "A model that is trained whole has no untouched base beside it.",
                "Load the base to compare with.",
                "MODEL-07",
            )
        yield


def wrap(model: Any, folder: Path) -> Whole:
    """Make all weights of `model` trainable; `folder` is the base it came from."""
    model.requires_grad_(True)
    return Whole(model, folder)


def take(
    model: Whole,
    own: Callable[..., dict[str, Tensor]],
    live: Collection[int],
    writers: Writers,
) -> Callable[[Path], None]:
    """Take the weights as they stand; what is returned writes them as a plain model folder.

    `own` copies what training changes.
    """
    base = model.model
    tensors = own({n: t.detach().to("cpu").contiguous() for n, t in _gathered(base).items()}, live)

    def write(folder: Path) -> None:
        target = folder / FOLDER
        durable.make_folder(target)
        writers.tensors(tensors, target / "model.safetensors")
        writers.text(base.config.to_json_string(use_diff=True), target / "config.json")
        copy_companions(model.folder, target)

    return write


def _gathered(model: Any) -> dict[str, Tensor]:
    """Return every weight once, whole where it is spread over several processes, under its own name.

    A weight that head and embedding share is kept under the embedding's name, as transformers saves it.
    """
    named = dict(model.named_parameters())
    named.update((n, b) for n, b in model.named_buffers() if n in model.state_dict())
    return {n: t.full_tensor() if hasattr(t, "full_tensor") else t for n, t in named.items()}


@torch.no_grad()
def restore(model: Whole, checkpoint: Path) -> None:
    """Put the weights of a checkpoint back, bit by bit, a file at a time."""
    named = dict(model.model.named_parameters()) | dict(model.model.named_buffers())
    missing = set(dict(model.model.named_parameters()))
    for path in sorted((checkpoint / FOLDER).glob("*.safetensors")):
        for name, tensor in load_file(path).items():
            if name not in named or named[name].shape != tensor.shape:
                raise EngineError(
                    f"The saved model does not fit the base: {name}.",
                    "Start a new run from the saved model.",
                    "MODEL-07",
                    file=str(path),
                )
            named[name].copy_(tensor)
            missing.discard(name)
    if missing:
        raise EngineError(
            f"The saved model lacks {sorted(missing)[0]}.",
            "Start a new run from the base.",
            "MODEL-02",
            file=str(checkpoint),
        )


def copy_companions(source: Path, target: Path) -> None:
    """Copy tokenizer, chat template and generation settings beside the weights; nothing is overwritten."""
    for pattern in _COMPANIONS:
        for path in sorted(source.glob(pattern)):
            plain = path.is_file() and path.suffix in (".json", ".jinja", ".txt", ".model")
            if plain and not (target / path.name).exists():
                copy_companion(path, target / path.name)
