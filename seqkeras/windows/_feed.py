"""Windows as a data set of TensorFlow or a data loader of PyTorch."""

from collections.abc import Iterator
from typing import Any, Protocol

from seqkeras._checks import bad_argument
from seqkeras._lazy import import_optional

# TensorFlow and PyTorch are imported inside the functions, so only their users load them. They
# belong here and not in kernels/, because they only hold the batches and compute nothing.


class Batches(Protocol):
    """The part of `Windows` that this module uses."""

    epoch: int
    count: int
    batch_size: int

    def __len__(self) -> int: ...

    def batch(self, epoch: int, index: int) -> Any: ...


def tf_dataset(windows: Batches) -> Any:
    """Return the batches as a `tf.data.Dataset`."""
    tf = import_optional("tensorflow", extra="tensorflow")
    full = windows.count % windows.batch_size == 0

    def signature(array: Any) -> Any:
        batch = windows.batch_size if full else None
        return tf.TensorSpec((batch, *array.shape[1:]), array.dtype)

    def one_pass() -> Iterator[Any]:
        epoch = windows.epoch
        for index in range(len(windows)):
            yield windows.batch(epoch, index)
        windows.epoch = epoch + 1

    first = tf.nest.map_structure(signature, windows.batch(windows.epoch, 0))
    dataset = tf.data.Dataset.from_generator(one_pass, output_signature=first)
    return dataset.apply(tf.data.experimental.assert_cardinality(len(windows))).prefetch(2)


def torch_loader(windows: Batches, options: dict[str, Any]) -> Any:
    """Return the batches as a `torch.utils.data.DataLoader`."""
    reserved = {"batch_size", "batch_sampler", "drop_last", "sampler", "shuffle"} & set(options)
    if reserved:
        fix = "Pass batch_size and shuffle to Windows, which decide on batches and their order."
        expected = "options that do not change batches and their order"
        raise bad_argument("options", sorted(reserved), expected, fix)
    data = import_optional("torch.utils.data", extra="torch")
    # Each key holds the epoch as well, so workers need no other signal of a new epoch.
    return data.DataLoader(
        _ByNumber(windows), sampler=_Sampler(windows), batch_size=None, **options
    )


class _ByNumber:
    """The batches, indexed by epoch and number."""

    def __init__(self, windows: Batches) -> None:
        self._windows = windows

    def __getitem__(self, number: tuple[int, int]) -> Any:
        return self._windows.batch(*number)


class _Sampler:
    """Yields the epoch and number of each batch; each pass is the next epoch."""

    def __init__(self, windows: Batches) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self._windows.epoch
        yield from ((epoch, index) for index in range(len(self)))
        self._windows.epoch = epoch + 1
