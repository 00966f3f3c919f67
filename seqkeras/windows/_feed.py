"""Windows as what TensorFlow and PyTorch read by themselves."""

from collections.abc import Iterator
from typing import Any, Protocol

from seqkeras._checks import bad_argument
from seqkeras._lazy import optional

# TensorFlow and PyTorch are imported inside the functions, and here rather than in kernels/: no
# arithmetic depends on them, they are only asked for the container in which batches travel.


class Batches(Protocol):
    """What is needed of `Windows`."""

    epoch: int
    count: int
    batch_size: int

    def __len__(self) -> int: ...

    def batch(self, epoch: int, index: int) -> Any: ...


def tf_dataset(windows: Batches) -> Any:
    """The batches as a `tf.data.Dataset`."""
    tf = optional("tensorflow", extra="tensorflow")
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
    """The batches as a `torch.utils.data.DataLoader`."""
    ours = sorted({"batch_size", "batch_sampler", "drop_last", "sampler", "shuffle"} & set(options))
    if ours:
        fix = "Windows decide on batches and their order: give batch_size and shuffle there."
        raise bad_argument("options", ours, "left away", fix)
    data = optional("torch.utils.data", extra="torch")
    # Only numbers of batches travel to the workers, so that none needs to be told of an epoch.
    return data.DataLoader(_ByNumber(windows), sampler=_Epochs(windows), batch_size=None, **options)


class _ByNumber:
    """Batches by epoch and number."""

    def __init__(self, windows: Batches) -> None:
        self._windows = windows

    def __getitem__(self, number: tuple[int, int]) -> Any:
        return self._windows.batch(*number)


class _Epochs:
    """The numbers of the batches, with those of the next epoch at each pass."""

    def __init__(self, windows: Batches) -> None:
        self._windows = windows

    def __len__(self) -> int:
        return len(self._windows)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        epoch = self._windows.epoch
        yield from ((epoch, index) for index in range(len(self)))
        self._windows.epoch = epoch + 1
