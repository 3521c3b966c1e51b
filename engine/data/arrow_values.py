"""Arrow columns as Python values: which types can be read as training data, and each value checked as text.

What comes out is what JSON would give: text, numbers, lists, dicts; a struct's empty fields are left out
(every struct of a column has the same fields, so an absent one is stored as null).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 64
CONTAINERS = ("is_list", "is_large_list", "is_fixed_size_list", "is_map", "is_struct")


class Fault:
    """Stands in the place of a value that cannot be read; `code` and `what` tell why."""

    def __init__(self, code: str, what: str) -> None:
        self.code = code
        self.what = what


NOT_UTF8 = Fault("DATA-01", "its text is not UTF-8")
KEY_TWICE = Fault("DATA-02", "a key stands twice in one map")


def readable(kind: Any) -> bool:
    """Say whether a column of this type is offered: plain values, and what holds text."""
    import pyarrow.types as types

    kind = storage_type(kind)
    if _is_scalar(kind) or types.is_null(kind):
        return True
    if types.is_dictionary(kind):
        return _is_scalar(kind.value_type)
    return any(getattr(types, name)(kind) for name in CONTAINERS) and _all_plain(kind) and _nested_text(kind)


def holds_text(kind: Any) -> bool:
    """Say whether a readable column could be text, or hold it inside."""
    import pyarrow.types as types

    kind = storage_type(kind)
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return is_text(kind) or any(getattr(types, name)(kind) for name in CONTAINERS)


def is_text(kind: Any) -> bool:
    """Say whether a type is text."""
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def storage_type(kind: Any) -> Any:
    """Return what a column of JSON text is stored as; other extension types stay what they are."""
    return kind.storage_type if getattr(kind, "extension_name", "") == "arrow.json" else kind


def _is_scalar(kind: Any) -> bool:
    import pyarrow.types as types

    return bool(is_text(kind) or types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind))


def _children(kind: Any) -> list[Any]:
    import pyarrow.types as types

    if types.is_map(kind):
        return [kind.key_type, kind.item_type]
    if types.is_struct(kind):
        return [kind.field(i).type for i in range(kind.num_fields)]
    if any(getattr(types, name)(kind) for name in CONTAINERS):
        return [kind.value_type]
    return []


def _all_plain(kind: Any, depth: int = 0) -> bool:
    import pyarrow.types as types

    if depth > MAX_DEPTH:
        return False
    if types.is_dictionary(kind):
        return _is_scalar(kind.value_type)
    if any(getattr(types, name)(kind) for name in CONTAINERS):
        return all(_all_plain(child, depth + 1) for child in _children(kind))
    return _is_scalar(kind) or bool(types.is_null(kind))


def _nested_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    # A list that is empty in all rows has elements of no type.
    return is_text(kind) or bool(types.is_null(kind)) or any(_nested_text(c) for c in _children(kind))


def values(array: Any) -> list[Any]:
    """Return a validated array as Python values; bytes (text that may not be UTF-8) are decoded."""
    import pyarrow.types as types

    kind = array.type
    if getattr(kind, "extension_name", ""):
        return values(array.storage)
    if types.is_dictionary(kind):
        return _dictionary(array)
    if types.is_map(kind):
        return _maps(array)
    if types.is_struct(kind):
        return _structs(array)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _lists(array)
    if types.is_floating(kind):
        # Tables of numbers write "missing" as NaN.
        return [v if v is not None and math.isfinite(v) else None for v in array.to_pylist()]
    if types.is_binary(kind) or types.is_large_binary(kind):
        return [_decoded(v) for v in array.to_pylist()]
    found: list[Any] = array.to_pylist()
    return found


def _decoded(value: bytes | None) -> str | Fault | None:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return NOT_UTF8


def _dictionary(array: Any) -> list[Any]:
    """Every value is made once, so that one long text in a million rows costs no more than once."""
    used = array.indices.drop_null().unique()
    made = dict(zip(used.to_pylist(), values(array.dictionary.take(used)), strict=True))
    return [None if index is None else made[index] for index in array.indices.to_pylist()]


def _structs(array: Any) -> list[Any]:
    names = [field.name for field in array.type]
    columns = [values(child) for child in array.flatten()]
    if not columns:
        return [{} if valid else None for valid in array.is_valid().to_pylist()]
    rows = (
        {n: v for n, v in zip(names, row, strict=True) if v is not None} for row in zip(*columns, strict=True)
    )
    if not array.null_count:
        return list(rows)
    return [row if valid else None for row, valid in zip(rows, array.is_valid().to_pylist(), strict=True)]


def _lists(array: Any) -> list[Any]:
    return list(_pieces(array, values(array.flatten())))


def _pieces(array: Any, flat: list[Any]) -> Iterator[list[Any] | None]:
    import pyarrow.compute as compute

    at = 0
    for length in compute.list_value_length(array).to_pylist():
        if length is None:
            yield None
            continue
        yield flat[at : at + length]
        at += length


def _maps(array: Any) -> list[Any]:
    import pyarrow as pa

    pair = pa.struct([("key", array.type.key_type), ("value", array.type.item_type)])
    found: list[Any] = []
    for pairs in _lists(array.cast(pa.list_(pair))):
        made = None if pairs is None else {str(p.get("key")): p.get("value") for p in pairs}
        found.append(made if pairs is None or made is None or len(made) == len(pairs) else KEY_TWICE)
    return found


def as_bytes(array: Any) -> Any:
    """Return an array whose texts are bytes, unseen; ValueError where that cannot be."""
    import pyarrow as pa

    if isinstance(array, pa.DictionaryArray):
        return pa.DictionaryArray.from_arrays(array.indices, as_bytes(array.dictionary))
    if getattr(array.type, "extension_name", ""):
        array = array.storage
    return array.view(_bytes_type(array.type))


def _bytes_type(kind: Any) -> Any:
    import pyarrow as pa
    import pyarrow.types as types

    if types.is_string(kind):
        return pa.binary()
    if types.is_large_string(kind):
        return pa.large_binary()
    if types.is_struct(kind):
        return pa.struct([field.with_type(_bytes_type(field.type)) for field in kind])
    if types.is_map(kind):
        return pa.map_(_bytes_type(kind.key_type), _bytes_type(kind.item_type))
    if types.is_list(kind):
        return pa.list_(_bytes_type(kind.value_type))
    if types.is_large_list(kind):
        return pa.large_list(_bytes_type(kind.value_type))
    if types.is_fixed_size_list(kind):
        return pa.list_(_bytes_type(kind.value_type), kind.list_size)
    return kind


def fault_in(value: Any, path: str = "") -> tuple[str, Fault] | None:
    """Return where in a row's value something cannot be used, and why: not UTF-8, a NUL, a key twice."""
    if isinstance(value, Fault):
        return path, value
    if isinstance(value, str):
        return (path, Fault("DATA-02", "a NUL character stands in the text")) if "\0" in value else None
    inner: Iterator[tuple[str, Any]] = iter(())
    if isinstance(value, dict):
        inner = ((f"{path}.{key}" if path else str(key), each) for key, each in value.items())
    elif isinstance(value, list):
        inner = ((f"{path}[{i}]", each) for i, each in enumerate(value))
    return next((found for name, each in inner if (found := fault_in(each, name))), None)
