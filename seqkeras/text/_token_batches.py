"""Batches of a text for language models."""

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from seqkeras._arrays import Floats32, Integers
from seqkeras._checks import bad_data, check_flag, check_one_of
from seqkeras.text._model_ids import check_reader
from seqkeras.text._pad import Ids, check_text_ids
from seqkeras.windows._continued import ContinuedBatches
from seqkeras.windows._numbers import check_size
from seqkeras.windows._stream import cut
from seqkeras.windows._targets import Advice

TokenBatch: TypeAlias = tuple[Any, Ids] | tuple[Any, Ids, Floats32]


class TokenBatches(ContinuedBatches):
    """Batches of the ids of a text; the target of each token is the next one.

    Each epoch begins at another place in the text, as in Zhang et al., Dive into Deep Learning,
    9.3: otherwise a model with a carried state can learn the text by heart. The place is a function
    of the seed and the epoch. An epoch has as many whole batches as there are at each place; the
    ids that remain, fewer than `(batch_size + 1) * timesteps`, are divided at random between the
    start and the end of the text.

    Args:
        ids: the ids of the text, a list or an array `(ids,)`, which may be a memory map.
        batch_size: rows of a batch.
        timesteps: tokens in a row of a batch.
        partition: `"random"`, the default: the rows are pieces of the text in random order, for
            models that begin each row with a cleared state. `"sequential"`: the text is cut into
            `batch_size` parts, and row `i` of a batch continues row `i` of the batch before, for
            stateful models, which `seqkeras.training.fit_stateful` trains.
        random_start: whether each epoch begins at another place, default True. With False, for
            validation, each epoch has every token once as a target; the last batch is padded, and
            each batch has a third part, the weights: 0 for padding, and 1 for all others.
        reset_input: whether the inputs are `{"sequence": x, "reset": flags}`, for Keras' own `fit`
            and `evaluate` with a stateful model that has a `reset` input. Default: False.
            `fit_stateful` ignores it.
        seed: seed of the places and of the order, default 0. None: a random one.

    Indexing returns `(x, y)`, or `(x, y, weights)` with `random_start=False`: ids
    `(batch_size, timesteps)` as int32, and weights of the same shape as float32.

    Raises:
        ArgumentError: an argument is invalid, or `fit` has a model that the batches do not fit: it
            has too few ids, or it reads batches of a sequential partition in another order.
        DataError: the text is too short for a batch, or an id is negative.

    Example:
        >>> batches = TokenBatches(
        ...     range(20), batch_size=2, timesteps=4, partition="sequential", random_start=False
        ... )
        >>> for x, y, weights in batches:
        ...     print(x.tolist(), y[1].tolist(), weights[0].tolist())
        [[0, 1, 2, 3], [9, 10, 11, 12]] [10, 11, 12, 13] [1.0, 1.0, 1.0, 1.0]
        [[4, 5, 6, 7], [13, 14, 15, 16]] [14, 15, 16, 17] [1.0, 1.0, 1.0, 1.0]
        [[8, 0, 0, 0], [17, 18, 0, 0]] [18, 19, 0, 0] [1.0, 0.0, 0.0, 0.0]
    """

    advice = Advice("a model with an output at each timestep", "another data set")

    def __init__(
        self,
        ids: npt.ArrayLike,
        *,
        batch_size: int,
        timesteps: int,
        partition: Literal["random", "sequential"] = "random",
        random_start: bool = True,
        reset_input: bool = False,
        seed: int | None = 0,
    ) -> None:
        super().__init__(seed)
        self._ids = check_text_ids(ids)
        self.batch_size = check_size("batch_size", batch_size)
        self.bptt_steps = check_size("timesteps", timesteps)
        self.partition = check_one_of("partition", partition, ("random", "sequential"))
        self.continues = self.partition == "sequential"
        self.random_start = check_flag("random_start", random_start)
        self.shuffle = self.random_start or not self.continues
        self.reset_input = check_flag("reset_input", reset_input)
        self._largest = int(self._ids.max(initial=0))
        self._targets = len(self._ids) - 1
        self._per_batch = self.batch_size * self.bptt_steps
        # The start can be anywhere within a row of a batch at least.
        self._batches = (self._targets - self.bptt_steps + 1) // self._per_batch
        if self._batches < 1 and self.random_start:
            needed = self._per_batch + self.bptt_steps
            expected = f"have {needed} ids for a batch: (batch_size + 1) * timesteps"
            fix = "Use a smaller batch_size or fewer timesteps, or random_start=False."
            raise bad_data("The text", f"{len(self._ids)} ids", expected, fix)
        if self._targets < (self.batch_size if self.continues else 1):
            expected = "have a token and its target for each row of a batch"
            raise bad_data("The text", f"{len(self._ids)} ids", expected)
        self._new_pass()

    def __len__(self) -> int:
        return len(self._first)

    def __repr__(self) -> str:
        return (
            f"TokenBatches({len(self)} {self.partition} batches of {self.batch_size} rows and "
            f"{self.bptt_steps} timesteps; {self.steps} of {self._targets} targets in an epoch)"
        )

    @property
    def timesteps(self) -> int:
        """Return the number of tokens in a row of a batch."""
        return self.bptt_steps

    @property
    def steps(self) -> int:
        """Return the number of targets in an epoch."""
        return self._batches * self._per_batch if self.random_start else self._targets

    def resets(self, index: int) -> npt.NDArray[np.bool_]:
        """Return the flags of batch `index`, `(batch_size, 1)`: True before the first batch."""
        return np.full((self.batch_size, 1), index == 0 or not self.continues)

    def in_order(self) -> Iterator[TokenBatch]:
        """Yield batches of the whole text, in its order."""
        batches = TokenBatches(
            self._ids,
            batch_size=self.batch_size,
            timesteps=self.bptt_steps,
            partition="sequential",
            random_start=False,
        )
        for index in range(len(batches)):
            yield batches[index]

    def on_epoch_begin(self) -> None:
        """Begin the next pass, unless the current one is unfinished. Keras calls this."""
        check_reader({"sequence": self._largest}, self._largest)
        super().on_epoch_begin()

    def _new_pass(self) -> None:
        super()._new_pass()
        random = np.random.default_rng([self.seed, self.epoch])
        start = int(random.integers(self._targets - self.steps + 1)) if self.random_start else 0
        if self.continues:
            self._first, self._counts = self._rows(start)
        else:
            self._first, self._counts = self._pieces(start, random)

    def _rows(self, start: int) -> tuple[Integers, Integers]:
        """Return where the rows of each batch begin, and their lengths: `(batches, batch_size)`."""
        parts = cut(self.steps, self.batch_size)
        before = np.arange(-(-int(parts.steps.max()) // self.bptt_steps))[:, np.newaxis]
        before = before * self.bptt_steps
        return start + parts.first + before, np.clip(parts.steps - before, 0, self.bptt_steps)

    def _pieces(self, start: int, random: np.random.Generator) -> tuple[Integers, Integers]:
        """Return the same for pieces of the text in random order."""
        before = np.arange(-(-self.steps // self._per_batch) * self.batch_size) * self.bptt_steps
        order = before[random.permutation(-(-self.steps // self.bptt_steps))]
        before[: len(order)] = order  # the empty rows of the last batch stay at its end
        counts = np.clip(self.steps - before, 0, self.bptt_steps)
        shape = (-1, self.batch_size)
        return (start + before).reshape(shape), counts.reshape(shape)

    def _read(self, index: int, reset_input: bool) -> TokenBatch:
        steps = np.arange(self.bptt_steps)
        used = steps < self._counts[index, :, np.newaxis]
        position = np.where(used, self._first[index, :, np.newaxis] + steps, 0)
        x, y = (np.where(used, self._ids[position + later], 0).astype(np.int32) for later in (0, 1))
        inputs = {"sequence": x, "reset": self.resets(index)} if reset_input else x
        return (inputs, y) if self.random_start else (inputs, y, used.astype(np.float32))
