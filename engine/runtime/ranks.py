"""One training loop in several processes: what each of them does, what they sum, what they agree on.

The rows of a micro-batch are shared out, so that N ranks together take the step that one process would take
over N times the rows. Each adds up the gradient of its own rows over the supervised tokens of the *whole*
step; then all are summed. A mean of means, each over another number of tokens, would be something else.

Rank 0 alone reads commands, writes events and checkpoints, and looks at the clock; what it decides is said
to the others where the loop stands at the same place in all of them. Between two such places a rank may
do what it likes, cut its rows in smaller pieces for one; within a sharded model (fsdp) it may not, since
each layer's weights are gathered from all.

A run of one process has `Ranks()`: nothing is sent, summed or waited for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.data.dataset import Example
from engine.events import Log, Warned
from engine.runtime.crew import Place
from engine.runtime.job import Job
from engine.runtime.load import Compute

if TYPE_CHECKING:
    from engine.runtime.training import Training

# A dead rank is noticed at once by others means; a slow one may tokenise a large file or write a large save.
PATIENCE = timedelta(hours=24)
BUCKET_VALUES = 1 << 24
HEAD_BYTES = 256
T = TypeVar("T")


class Ear(Protocol):
    """What commands are taken from."""

    def take(self) -> list[dict[str, Any]]: ...


@dataclass(frozen=True)
class Portion:
    """This rank's rows of a step, with the tokens of the whole step."""

    micro: list[list[Example]]
    tokens: int
    supervised: int


@dataclass(frozen=True)
class Told:
    """What the ranks tell each other of a step: its loss, the largest memory, how each cuts its rows."""

    loss: float
    memory_bytes: int
    parts: tuple[int, ...]


@dataclass(frozen=True)
class Ranks:
    """This process among those of its run; alone unless it has joined others."""

    rank: int = 0
    world: int = 1
    sharded: bool = False  # fsdp: every rank holds a part of each weight

    @property
    def several(self) -> bool:
        """Return whether there are others."""
        return self.world > 1

    @property
    def first(self) -> bool:
        """Return whether this is the rank that writes."""
        return self.rank == 0

    def loading_place(self, compute: Compute) -> Compute:
        """Return where a model is loaded: one that is to be spread over GPUs fits none of them whole."""
        return replace(compute, device=torch.device("cpu")) if self.sharded else compute

    # ---------------------------------------------------------------- who does what

    def portion(self, micro: list[list[Example]]) -> Portion:
        """Return this rank's rows of each micro-batch of a step."""
        rows = [example for examples in micro for example in examples]
        tokens = sum(len(example.ids) for example in rows)
        supervised = sum(int(np.count_nonzero(example.trained[1:])) for example in rows)
        if self.several:
            micro = [mine for examples in micro if (mine := self.share(examples))]
        return Portion(micro, tokens, supervised)

    def share(self, examples: list[Example]) -> list[Example]:
        """Return this rank's rows of a micro-batch: as many and as long ones as each other rank gets.

        The longest are dealt out first, there and back again. A rank of a sharded model never goes without.
        """
        if not self.several:
            return examples
        order = sorted(range(len(examples)), key=lambda i: (-len(examples[i].ids), i))
        round_trip = 2 * self.world
        mine = order[self.rank :: round_trip] + order[round_trip - 1 - self.rank :: round_trip]
        rows = [examples[i] for i in sorted(mine)]
        return rows if rows or not self.sharded else [_empty(examples[0])]

    def even(self, pieces: list[Sequence[Example]]) -> list[Sequence[Example]]:
        """Return as many pieces as every other rank has, where the ranks must go through each together."""
        if not (self.several and self.sharded):
            return pieces
        most = round(max(row[0] for row in self.gather([len(pieces)])))
        return pieces + [[_empty(pieces[0][0])]] * (most - len(pieces))

    def turns(self, batches: list[list[Example]]) -> list[list[Example]]:
        """Return this rank's batches of a list that is shared out whole, one a turn, empty where it rests."""
        if not self.several:
            return batches
        mine = batches[self.rank :: self.world]
        rest = [[_empty(batches[0][0])]] if self.sharded else [[]]
        return mine + rest * (-(-len(batches) // self.world) - len(mine))

    @contextmanager
    def rank_0_first(self) -> Iterator[None]:
        """Let rank 0 do something before the others do it: what it kept on disk is theirs to read."""
        if not self.first:
            self.agree(None)
        yield
        if self.first:
            self.agree(None)

    def turn(self, number: int) -> int:
        """Return the number of this rank's micro-batch among those of all: what its dropout is drawn from."""
        return number * self.world + self.rank

    # ---------------------------------------------------------------- what rank 0 says

    def agree(self, value: T) -> T:
        """Return rank 0's value, anything that JSON holds; every rank calls this at the same place."""
        if not self.several:
            return value
        said = json.dumps(value).encode() if self.first else b""
        head = torch.zeros(
            HEAD_BYTES, dtype=torch.uint8
        )  # mostly there is little to say, and one message does
        if self.first:
            _put(head, len(said).to_bytes(8, "big") + said)
        dist.broadcast(head, 0)
        length = int.from_bytes(bytes(head[:8].tolist()), "big")
        text = bytes(head[8 : 8 + length].tolist())
        if length > len(text):
            rest = torch.empty(length - len(text), dtype=torch.uint8)
            if self.first:
                _put(rest, said[len(text) :])
            dist.broadcast(rest, 0)
            text += bytes(rest.tolist())
        agreed: T = json.loads(text)
        return agreed

    def same_start(self, model: nn.Module) -> None:
        """Give every rank the bits that rank 0 has drawn, computed or read: the last one may differ."""
        if not self.several or self.sharded:
            return
        with torch.no_grad():
            for tensor in model.parameters():
                dist.broadcast(tensor, 0)

    # ---------------------------------------------------------------- what all of them sum

    def gather(self, numbers: Sequence[float]) -> list[list[float]]:
        """Return the numbers of every rank, in double precision, one list a rank."""
        if not self.several:
            return [list(numbers)]
        table = torch.zeros(self.world, len(numbers), dtype=torch.float64)
        table[self.rank] = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(table)
        rows: list[list[float]] = table.tolist()
        return rows

    def add_up(self, parameters: Sequence[nn.Parameter], told: Told) -> Told:
        """Sum the gradients of all ranks in place, and return what they tell of the step.

        Each rank's gradient is over the tokens of the whole step already: the sum is the step's own. A
        parameter without a gradient on any rank keeps none.
        """
        if not self.several:
            return told
        there = [float(p.grad is not None) for p in parameters]
        table = self.gather([told.loss, told.memory_bytes, told.parts[0], *there])
        if not self.sharded:
            _sum_gradients([p for k, p in enumerate(parameters, 3) if any(row[k] for row in table)])
        return Told(
            loss=sum(row[0] for row in table),
            memory_bytes=round(max(row[1] for row in table)),
            parts=tuple(round(row[2]) for row in table),
        )

    def clip(self, parameters: Sequence[nn.Parameter], limit: float) -> float:
        """Shorten the gradient to `limit` where it is longer; return its length before."""
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        length = float(norm.full_tensor() if self.sharded else norm)
        if length > limit:
            torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
        return length

    def leave(self) -> None:
        """Part from the others; called once, at the end of a run that went well."""
        if dist.is_initialized():
            dist.destroy_process_group()


def _sum_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Sum in flat float32 buckets: one message for an adapter, a few for a whole model."""
    bucket: list[nn.Parameter] = []
    held = 0
    for number, parameter in enumerate(parameters, 1):
        bucket.append(parameter)
        held += parameter.numel()
        if held >= BUCKET_VALUES or number == len(parameters):
            _sum_bucket(bucket)
            bucket, held = [], 0


def _sum_bucket(parameters: Sequence[nn.Parameter]) -> None:
    device = parameters[0].device
    flat = torch.cat(
        [
            torch.zeros(p.numel(), device=device) if p.grad is None else p.grad.reshape(-1).float()
            for p in parameters
        ]
    )
    dist.all_reduce(flat)
    for parameter, total in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        if parameter.grad is None:
            parameter.grad = torch.empty_like(parameter)
        parameter.grad.copy_(total.view_as(parameter))


def _empty(example: Example) -> Example:
    """Return a row of two tokens that trains nothing."""
    return replace(example, ids=example.ids[:2], trained=np.zeros(2, dtype=bool), prompt=None)


def _put(tensor: Tensor, text: bytes) -> None:
    size = min(len(tensor), len(text))
    tensor[:size] = torch.frombuffer(bytearray(text[:size]), dtype=torch.uint8)


def meet(job: Job, strategy: str) -> Ranks:
    """Meet the other ranks of a run: from here on all of them hear the same and go on from the same save."""
    ranks = join(job.place, strategy)
    job.ranks = ranks
    if job.place is None:
        return ranks
    job.requests.share(lambda ear: SharedEar(ranks, ear))
    found = ranks.agree(None if job.resume_from is None else job.resume_from.name)
    job.resume_from = None if found is None else job.folder / "checkpoints" / found
    many = "1 process" if ranks.world == 1 else f"{ranks.world} processes"
    job.write(Log(message=f"{many} ({strategy}, {dist.get_backend()})."))
    return ranks


def ranks_of(job: Job) -> Ranks:
    """Return the ranks of a job: those it has met, or none but itself."""
    return Ranks() if job.ranks is None else job.ranks


def join(place: Place | None, strategy: str) -> Ranks:
    """Meet the other ranks and take the GPU of this one; alone without a place.

    Ours meet through a file and talk over the loopback interface; those that torchrun started meet there.
    """
    if place is None:
        return Ranks()
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(place.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    if place.meeting is None:
        dist.init_process_group(backend, timeout=PATIENCE)
    else:
        store = dist.FileStore(str(place.meeting / "store"), place.world)
        dist.init_process_group(
            backend, store=store, rank=place.rank, world_size=place.world, timeout=PATIENCE
        )
    return Ranks(place.rank, place.world, strategy == "fsdp" and place.world > 1)


class SharedEar:
    """Commands as all ranks hear them: rank 0 takes them and says them on."""

    def __init__(self, ranks: Ranks, ear: Ear) -> None:
        self._ranks = ranks
        self._ear = ear

    def take(self) -> list[dict[str, Any]]:
        """Return what came in at rank 0; every rank calls this at the same place of the loop."""
        return self._ranks.agree(self._ear.take() if self._ranks.first else [])


def tell_cuts(run: Training, told: Told) -> None:
    """Say where another rank has cut its rows in smaller pieces; its own voice is not heard."""
    for rank, (before, now) in enumerate(zip(run.cuts or (1,) * run.ranks.world, told.parts, strict=True)):
        if rank and now > before:
            run.job.write(
                Warned(
                    code="GPU-01",
                    message=f"Memory ran out in process {rank + 1} of {run.ranks.world} at step {run.step}.",
                    hint=f"Its batches are now cut in {now} parts; the result is the same.",
                )
            )
    run.cuts = told.parts
