"""The own writer of safetensors files: what it writes is what the library reads, and writes itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine import durable
from engine.runtime import tensor_files


def every_type() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    made = {str(t).removeprefix("torch."): (torch.randn(3, 5) * 9).to(t) for t in tensor_files.NAMES}
    return made | {
        "b.step": torch.tensor(7, dtype=torch.int64),
        "nothing": torch.zeros(0, 4),
        "turned": torch.randn(4, 6).t().contiguous(),
        "ä": torch.ones(1),
    }


def test_that_a_file_is_byte_for_byte_the_librarys(tmp_path: Path) -> None:
    tensors = every_type()
    tensor_files.save(tensors, tmp_path / "ours.safetensors")
    save_file(tensors, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    back = load_file(tmp_path / "ours.safetensors")
    assert set(back) == set(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype and back[name].shape == tensor.shape
        assert tensor_files.bytes_of(back[name]) == tensor_files.bytes_of(tensor)
    assert (tmp_path / "ours.safetensors").stat().st_size == (tmp_path / "theirs.safetensors").stat().st_size


def test_that_a_tensor_that_lies_across_is_written_in_its_own_order(tmp_path: Path) -> None:
    tensor = torch.arange(6.0).reshape(2, 3).t()
    tensor_files.save({"a": tensor}, tmp_path / "a.safetensors")
    assert torch.equal(load_file(tmp_path / "a.safetensors")["a"], tensor)


def test_that_all_goes_through_the_one_disk_and_nothing_half_written_keeps_the_name(tmp_path: Path) -> None:
    class Full(durable.Disk):
        def write(self, fd: int, data: bytes | memoryview) -> int:
            if len(data) > 1000:
                raise OSError(28, "full")
            return super().write(fd, data)

    with durable.using(Full()), pytest.raises(OSError):
        tensor_files.save({"a": torch.zeros(4), "b": torch.zeros(400)}, tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
