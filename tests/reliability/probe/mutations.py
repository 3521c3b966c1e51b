"""Heads of GGUF files, sound and with changes."""

from __future__ import annotations

import random
import struct


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, start: int, columns: int = 8, kind: int = 0) -> bytes:
    return text(name) + struct.pack("<IQQIQ", 2, columns, 4, kind, start)


def head(
    keys: list[bytes], tensors: list[bytes], data: int = 0, *, counts: tuple[int, int] = (0, 0)
) -> bytes:
    claimed = (counts[0] or len(tensors), counts[1] or len(keys))
    made = b"GGUF" + struct.pack("<IQQ", 3, *claimed) + b"".join(keys) + b"".join(tensors)
    return made + bytes(-len(made) % 32) + bytes(data)


WORDS = [text(f"word{i}") for i in range(50)]
KEYS = [
    key("general.architecture", 8, text("llama")),
    key("general.alignment", 4, struct.pack("<I", 32)),
    key("llama.block_count", 4, struct.pack("<I", 2)),
    key("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, len(WORDS)) + b"".join(WORDS)),
    key("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 50) + bytes(200)),
]
SOUND = head(KEYS, [tensor("a", 0), tensor("b", 128)], 256)


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Return content with one to four changes: a bit, a number, a piece gone, a piece put in."""
    made = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(made))
        kind = chance.randrange(4)
        if kind == 0:
            made[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            made[at : at + 8] = struct.pack("<Q", chance.choice([2**60, 2**64 - 1, 2**32, 0]))
        elif kind == 2:
            del made[at : at + chance.randint(1, 40)]
        else:
            made[at:at] = chance.randbytes(chance.randint(1, 40))
    return bytes(made)
