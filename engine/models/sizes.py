"""Values of a config.json within bounds, under the several names that families give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine import paths
from engine.errors import EngineError

MAX_LAYERS = 1024
EXPERTS = ("num_local_experts", "num_experts")
_MAX_HIDDEN = 1 << 17
_MAX_WIDTH = 1 << 20


class Config:
    """A config.json: a key that is not there has its family's default, one that is null has none."""

    def __init__(self, values: Mapping[str, Any], defaults: Mapping[str, Any], file: str | None) -> None:
        self.values: dict[str, Any] = {**values}
        self._defaults, self.file = defaults, file

    def get(self, name: str) -> Any:
        """Return a value as it stands, or its default."""
        return self.values[name] if name in self.values else self._defaults.get(name)

    def flag(self, name: str) -> bool:
        """Return a switch; raises EngineError MODEL-05 for what is none."""
        value = self.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._refuse(name, value, "It should be true or false.")
        return bool(value)

    def number(self, names: Iterable[str], most: int, default: int | None = None, least: int = 1) -> int:
        """Return the first of `names` that has a value; raises EngineError MODEL-05 outside the bounds."""
        names = tuple(names)
        for name in names:
            value = self.values.get(name)
            if value is None and not any(n in self.values for n in names):
                value = self._defaults.get(name)
            if value is None:
                continue
            if type(value) is not int or not least <= value <= most:
                raise self._refuse(name, value, f"It should be a whole number from {least} to {most}.")
            return value
        if default is None:
            raise EngineError(
                f"config.json: {names[0]} is missing.",
                "This is no causal language model, or its folder is not complete.",
                "MODEL-05",
                file=self.file,
            )
        return default

    def entries(self, name: str, kind: type) -> list[Any] | None:
        """Return a list with something for each layer at most, None where there is none."""
        value = self.get(name)
        if value is None:
            return None
        if (
            not isinstance(value, list)
            or len(value) > MAX_LAYERS
            or any(type(entry) is not kind for entry in value)
        ):
            raise self._refuse(name, value, "It should be a list with an entry for each layer.")
        return value

    def _refuse(self, name: str, value: object, hint: str) -> EngineError:
        return EngineError(
            f"config.json: {name} = {paths.show_name(str(value), 40)} is not supported.",
            hint,
            "MODEL-05",
            file=self.file,
        )


class Sizes:
    """The sizes of a model (numbers of values, not bytes)."""

    def __init__(self, config: Config, *, own_head_dim: bool = True, experts: bool = False) -> None:
        number = config.number
        self.hidden = number(("hidden_size", "n_embd", "d_model", "dim"), _MAX_HIDDEN)
        self.layers = number(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), MAX_LAYERS)
        self.heads = number(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4096)
        self.kv_heads = number(("num_key_value_heads", "num_kv_heads"), 4096, self.heads)
        whole = max(1, self.hidden // max(1, self.heads))
        self.head_dim = number(("head_dim",), 1 << 14, whole) if own_head_dim else whole
        widths = ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size")
        self.intermediate = number(widths, _MAX_WIDTH, 4 * self.hidden)
        self.vocab = number(("vocab_size",), 1 << 22)
        self.positions = number(
            ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len"), 1 << 32, 2048
        )
        self.embedding = number(("word_embed_proj_dim",), _MAX_HIDDEN, self.hidden)
        self.experts = number(EXPERTS, 4096, 0, least=0) if experts else 0
        self.experts_per_token = number(("num_experts_per_tok",), 4096, 0, least=0) if experts else 0
        self.expert = number(("moe_intermediate_size",), _MAX_WIDTH, self.intermediate) if experts else 0
        self.shared_expert = (
            number(("shared_expert_intermediate_size",), _MAX_WIDTH, 0, least=0) if experts else 0
        )
