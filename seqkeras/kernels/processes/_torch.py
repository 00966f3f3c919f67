"""Processes of PyTorch: each computes some rows of a batch, and all share outputs and gradients."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import torch
import torch.distributed as dist

from seqkeras._arrays import Array
from seqkeras.kernels.processes._row_draws import row_draws as row_draws


def connect() -> None:
    """Connect this process by the settings in the environment, if it is not connected yet."""
    if dist.is_initialized():
        return
    store = os.environ.get("SEQKERAS_STORE")
    if store is None:  # of torchrun
        dist.init_process_group("gloo")
        return
    dist.init_process_group(
        "gloo",
        init_method=Path(store).as_uri(),  # a file: nothing listens for others at a port
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )


def count() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def index() -> int:
    """Return the number of this process."""
    return dist.get_rank() if dist.is_initialized() else 0


def broadcast(sent: Array) -> Array:
    """Return the bytes of the first process."""
    data = torch.from_numpy(sent.copy())
    dist.broadcast(data, src=0)
    return data.numpy()


def collect(sent: Array) -> Array:
    """Return the bytes of all processes, `(processes, bytes)`."""
    own = torch.from_numpy(sent.copy())
    parts = [torch.empty_like(own) for _ in range(count())]
    dist.all_gather(parts, own)
    return torch.stack(parts).numpy()


def place(batch: Any) -> Any:
    """Return the batch: each process reads all rows, and computes its own."""
    return batch


@contextmanager
def together(model: keras.Model, share: Callable[..., Any]) -> Iterator[None]:
    """Share the rows of each step of a model, and average the gradients of all processes."""
    call = share(model.call)

    def shared(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(data: Any) -> Any:
            with _replaced(model, "call", call):  # only here: Keras also calls it to build metrics
                return step(data)

        return run

    apply = model.optimizer.apply

    def apply_average(gradients: Sequence[Any], variables: Any = None) -> Any:
        return apply(_average(gradients), variables)

    with (
        _replaced(model, "train_step", shared(model.train_step)),
        _replaced(model, "test_step", shared(model.test_step)),
        _replaced(model.optimizer, "apply", apply_average),
    ):
        yield


@contextmanager
def _replaced(owner: Any, name: str, method: Callable[..., Any]) -> Iterator[None]:
    """Replace a method of one object."""
    own = vars(owner)  # of the object, which Python finds before those of its class
    before = own.get(name)
    own[name] = method
    try:
        yield
    finally:
        if before is None:
            del own[name]
        else:
            own[name] = before


def make_whole(model: keras.Model, states: Sequence[Any]) -> None:
    """Give each process the rows of the states that others have written."""
    for state in states:
        state.assign(gather(state.value.chunk(count())[index()]))


def gather(tensor: torch.Tensor) -> Any:
    """Return the rows of all processes in order, with their gradients."""
    return _Gather.apply(tensor)


class _Gather(torch.autograd.Function):
    """Concatenates the rows of all processes.

    Each process computes the same loss from all rows, and passes the gradients of its own rows
    back. They are multiplied by the number of processes, because `_average` divides by it. So the
    gradient of a penalty on weights, which each process computes whole, is right as well.
    """

    @staticmethod
    def forward(context: Any, own: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(own) for _ in range(count())]
        dist.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.chunk(count())[index()] * count()


def _average(gradients: Sequence[Any]) -> list[Any]:
    """Return the mean of the gradients of all processes; None stays None."""
    present = [gradient for gradient in gradients if gradient is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in present])
    dist.all_reduce(flat)
    flat /= count()
    parts = iter(flat.split([gradient.numel() for gradient in present]))
    return [None if gradient is None else next(parts).view_as(gradient) for gradient in gradients]
