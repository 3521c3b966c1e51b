"""How one file of the data is read and mapped: the recipe's data section with what differs for this file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class ReadOptions:
    """How the bytes of a file become rows; what is None is found out."""

    encoding: str | None = None
    part: str | None = None
    delimiter: str | None = None
    header: bool | None = None


@dataclass(frozen=True)
class SourceOptions:
    """How a file is read and mapped; `share` is its part of the training rows, None for all its rows."""

    read: ReadOptions = ReadOptions()
    format: str = "auto"
    columns: Mapping[str, str] = field(default_factory=dict)
    share: float | None = None
    label_names: Mapping[str, str] = field(default_factory=dict)
    role_names: Mapping[str, str] = field(default_factory=dict)


def options_for(data: Any, path: str) -> SourceOptions:
    """Return what the data section of a recipe says of one file, named as in `train` or `validation`."""
    entry = data.sources.get(path)
    if entry is None:
        read = ReadOptions(data.encoding, data.part, data.delimiter, data.header)
        return SourceOptions(read, data.format, data.columns, None, data.label_names, data.role_names)

    def pick(own: Any, common: Any) -> Any:
        return common if own is None else own

    read = ReadOptions(
        pick(entry.encoding, data.encoding),
        pick(entry.part, data.part),
        pick(entry.delimiter, data.delimiter),
        pick(entry.header, data.header),
    )
    return SourceOptions(
        read,
        pick(entry.format, data.format),
        pick(entry.columns, data.columns),
        entry.share,
        pick(entry.label_names, data.label_names),
        pick(entry.role_names, data.role_names),
    )
