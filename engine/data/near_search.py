"""Pairs of like signatures among many, without comparing all with all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BINS = 128
ALIKE = 0.8
PARTS_ALIKE = 0.35
_BAND = 8
_LAGS = 8
_CHUNK = 8192
Bytes = NDArray[np.uint8]
Rows = NDArray[np.int64]


def find_near(signatures: Bytes, parts: NDArray[np.uint64], rows: Rows) -> Rows:
    """Return for every signature the kept row, among `rows`, that it is near to and comes after, or -1.

    `rows` ascend; all others stay -1. A row near to an earlier row that is kept is left out; the others are
    kept. Two rows are compared when one of 16 bands of their signatures is the same (or all of it), each with
    the first and the eight before it of that band: 99.99 % of pairs of similarity 0.9, 95 % at 0.8.
    """
    near_to = np.full(len(signatures), -1, np.int64)
    rows = rows[signatures[rows].any(axis=1)]
    if len(rows) < 2:
        return near_to
    first, second = _candidates(signatures, rows)
    alike = _alike(signatures, parts, first, second)
    first, second = first[alike], second[alike]
    for i, j in zip(first.tolist(), second.tolist(), strict=True):
        if near_to[j] >= 0:
            continue
        kept = int(near_to[i]) if near_to[i] >= 0 else i
        if kept == i or _alike(signatures, parts, np.array([kept]), np.array([j]))[0]:
            near_to[j] = kept
    return near_to


def similarity(a: Bytes, b: Bytes) -> NDArray[np.float64]:
    """Return the estimated Jaccard similarity of signatures [n, bytes] of two 4-bit bins a byte.

    The share of equal marks among the bins that either fills, less those of both that are equal by chance.
    """
    used, both, equal = (np.zeros(len(a), np.int64) for _ in range(3))
    for mask in (np.uint8(15), np.uint8(240)):
        x, y = a & mask, b & mask
        used += np.count_nonzero(x | y, axis=1)
        common = (x != 0) & (y != 0)
        both += common.sum(axis=1)
        equal += (common & (x == y)).sum(axis=1)
    return np.asarray((equal - both / 15) / (14 / 15) / np.maximum(used, 1))


def _alike(signatures: Bytes, parts: NDArray[np.uint64], first: Rows, second: Rows) -> NDArray[np.bool_]:
    found = np.zeros(len(first), np.bool_)
    for start in range(0, len(first), _CHUNK):
        a, b = first[start : start + _CHUNK], second[start : start + _CHUNK]
        alike = similarity(signatures[a], signatures[b]) >= ALIKE
        found[start : start + _CHUNK] = alike & _parts_alike(parts[a], parts[b])
    return found


def _parts_alike(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say where both last line asked and answer are alike: short ones are so only when they are the same."""
    x, y = a.view(np.uint32), b.view(np.uint32)
    long = ((x | y) & np.uint32(15)) == 0
    close = similarity(x.view(np.uint8).reshape(-1, 4), y.view(np.uint8).reshape(-1, 4)) >= PARTS_ALIKE
    return np.asarray(((x == y) | (long & close)).reshape(-1, 2).all(axis=1))


def _candidates(signatures: Bytes, rows: Rows) -> tuple[Rows, Rows]:
    """Return pairs (earlier, later) that share a band, ordered by the later row, then the earlier one."""
    pairs = []
    for keys in _band_keys(signatures, rows):
        order = np.argsort(keys, kind="stable")  # equal keys keep the order of the rows
        keys = keys[order]
        start = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
        size = np.diff(np.append(start, len(keys)))
        again = np.flatnonzero(np.repeat(size > 1, size))
        group = np.repeat(start, size)[again]
        for lag in range(1, _LAGS + 1):
            later = again[again - lag > group]
            pairs.append(_pair(order[later - lag], order[later]))
        later = again[again > group]
        pairs.append(_pair(order[group[again > group]], order[later]))
    numbers = np.unique(np.concatenate(pairs))
    return rows[numbers & 0xFFFFFFFF], rows[numbers >> 32]


def _pair(first: Rows, second: Rows) -> Rows:
    return np.asarray((second << 32) | first)


def _band_keys(signatures: Bytes, rows: Rows) -> list[NDArray[np.uint32]]:
    """Return one array of keys a band, and one of the whole signature.

    An empty bin takes the mark of the next filled one and how far it is away, so that a band of empty bins
    still tells rows apart (A. Shrivastava, P. Li, Densifying One Permutation Hashing, 2014).
    """
    random = np.random.default_rng(BINS)
    odd = random.integers(1 << 63, size=(BINS,), dtype=np.int64).astype(np.uint64) * np.uint64(2) + np.uint64(
        1
    )
    keys = np.empty((BINS // _BAND + 1, len(rows)), np.uint32)
    for start in range(0, len(rows), _CHUNK):
        packed = signatures[rows[start : start + _CHUNK]]
        marks = np.empty((len(packed), BINS), np.uint8)
        marks[:, ::2], marks[:, 1::2] = packed & 15, packed >> 4
        mixed = _filled(marks).astype(np.uint64) * odd
        bands = mixed.reshape(len(packed), -1, _BAND).sum(axis=2, dtype=np.uint64)
        keys[:-1, start : start + _CHUNK] = (bands >> np.uint64(32)).T
        keys[-1, start : start + _CHUNK] = mixed.sum(axis=1, dtype=np.uint64) >> np.uint64(32)
    return list(keys)


def _filled(marks: Bytes) -> NDArray[np.uint16]:
    """Return the mark of each bin or of the next filled one round the circle, with the distance to it."""
    twice = np.concatenate((marks, marks), axis=1)[:, ::-1]
    places = np.arange(2 * BINS, dtype=np.int16)
    last = np.maximum.accumulate(np.where(twice > 0, places, np.int16(-1)), axis=1)[:, BINS:]
    mark = np.take_along_axis(twice, last.astype(np.int64), axis=1)
    distance = (places[BINS:] - last).astype(np.uint16)
    return np.asarray((mark | (distance << np.uint16(4)))[:, ::-1])
