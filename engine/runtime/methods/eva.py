"""EVA: A begins with the directions in which the inputs of its layer vary most, seen on the training data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from engine.data.dataset import Example
from engine.errors import EngineError
from engine.runtime.batches import Batch, collate

BATCHES = 16  # of the training data, evenly spread over it
LEAST_TOKENS = 512


def check(model: Any, targets: Any, ranks: dict[str, int], examples: Sequence[Example]) -> None:
    """Raise EngineError REC-01 where a layer or the data has fewer directions than the rank asks for."""
    for linear in targets.modules:
        if isinstance(model.get_submodule(linear.name), nn.Embedding):
            raise _refuse(f"EVA cannot begin {linear.name}, an embedding", "Leave it out of target_modules.")
        if ranks[linear.name] > linear.in_features:
            raise _refuse(
                f"EVA finds {linear.in_features} directions in {linear.name}, fewer than the rank of "
                f"{ranks[linear.name]}",
                "Lower the rank.",
            )
    tokens = sum(map(_trained, examples))
    most = max(ranks.values())
    if tokens < most:
        raise _refuse(
            f"the data has {tokens} trained tokens, EVA needs {most} for this rank",
            "Lower the rank, or begin with true.",
        )


def _refuse(what: str, hint: str) -> EngineError:
    return EngineError(
        f"adapter.init_lora_weights: {what}.", hint, "REC-01", field="adapter.init_lora_weights"
    )


@torch.no_grad()
def draw(model: Any, examples: Sequence[Example], device: torch.device) -> None:
    """Set A of every LoRA layer of peft's `model` to the principal directions of its input."""
    from peft import initialize_lora_eva_weights
    from peft.tuners.lora.layer import LoraLayer

    layers = {n: m for n, m in model.named_modules() if isinstance(m, LoraLayer) and "default" in m.lora_A}
    ranks = {name: layer.r["default"] for name, layer in layers.items()}
    batches = list(_batches(examples, device, max(ranks.values())))
    was = model.training
    model.eval()
    first = _twins(model, layers, batches[0])
    wide = {name: max(ranks[n] for n in ranks if first[n] == name) for name in set(first.values())}
    fits = {name: _Directions(rank, layers[name].in_features) for name, rank in wide.items()}
    for batch in batches:
        _watch(model, {n: layers[n] for n in fits}, batch, lambda name, x: fits[name].add(x))
    found = {name: fits[first[name]].best(rank).to(device) for name, rank in ranks.items()}
    initialize_lora_eva_weights(model, eva_state_dict=found)
    model.peft_config["default"].init_lora_weights = True  # drawn: nothing is left to do when it is opened
    model.train(was)


class _Directions:
    """peft's incremental principal components of rows that come batch by batch."""

    def __init__(self, count: int, width: int) -> None:
        from peft.utils.incremental_pca import IncrementalPCA

        quick = 4 * count <= width  # the randomised decomposition looks at twice as many directions
        self._least = 2 * count if quick else count
        self._held: list[Tensor] = []
        self._pca = IncrementalPCA(count, copy=True, lowrank=quick, lowrank_seed=42 if quick else None)

    def add(self, rows: Tensor) -> None:
        self._held.append(rows.float())
        if sum(len(r) for r in self._held) >= self._least:
            self._pca.partial_fit(torch.cat(self._held))
            self._held = []

    def best(self, count: int) -> Tensor:
        if self._held and not hasattr(self._pca, "components_"):  # little data: the exact decomposition
            self._pca.lowrank = False
            self._pca.partial_fit(torch.cat(self._held))
        components: Tensor = self._pca.components_[:count]
        return components


def _trained(example: Example) -> int:
    return int(np.count_nonzero(np.asarray(example.trained)[1:]))


def _batches(examples: Sequence[Example], device: torch.device, rank: int) -> Iterator[Batch]:
    """Yield padded batches of at least as many trained tokens as the decomposition needs."""
    size = max(LEAST_TOKENS, 2 * rank)
    step = max(1, sum(map(_trained, examples)) // (BATCHES * size))
    held: list[Example] = []
    made = 0
    for example in examples[::step]:
        held.append(example)
        if sum(map(_trained, held)) >= size:
            yield collate(held, device, flat=False)
            held, made = [], made + 1
            if made == BATCHES:
                return
    if not made:
        yield collate(examples, device, flat=False)


def _twins(model: Any, layers: dict[str, Any], batch: Batch) -> dict[str, str]:
    """Return for each layer the first one that gets the very same input, as queries, keys and values do."""
    seen: dict[tuple[int, int], str] = {}
    first: dict[str, str] = {}
    kept: list[Tensor] = []  # as long as they live no other input can have their place in memory

    def note(name: str, rows: Tensor, x: Tensor) -> None:
        kept.append(x)
        first[name] = seen.setdefault((x.data_ptr(), x._version), name)

    _watch(model, layers, batch, note, whole=True)
    return first


def _watch(
    model: Any, layers: dict[str, Any], batch: Batch, tell: Callable[..., None], *, whole: bool = False
) -> None:
    """Run the model over a batch and tell each layer's input at the trained positions."""

    def hook(name: str) -> Any:
        def see(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            x = inputs[0]
            rows = x.reshape(-1, x.shape[-1])[batch.where]
            tell(*((name, rows, x) if whole else (name, rows)))

        return see

    handles = [layer.register_forward_pre_hook(hook(name)) for name, layer in layers.items()]
    try:
        model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
