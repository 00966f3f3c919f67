"""The training of an encoder-decoder on pairs of sequences."""

from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import keras

from seqkeras.kernels._randomness import seeded
from seqkeras.kernels._retracing import without_retracing_notes
from seqkeras.models import sequence_to_sequence
from seqkeras.text._best_epoch import BestEpoch, train_to_best
from seqkeras.text._pair_batches import PairBatches
from seqkeras.text._text_compile import compile_for
from seqkeras.text._text_settings import TextSettings
from seqkeras.training import ProgressBar, TrainingLog

#: Pairs of a training step, and of one that only judges.
ROWS = 64
JUDGED_ROWS = 256
#: Shapes of batches at most, and the pairs that make up for the time to compile one of them.
SHAPES = 8
PAIRS_OF_A_SHAPE = 512
#: Training steps in all, unless `epochs` says otherwise, and the epochs that they may make.
STEPS = 8000
FEWEST_EPOCHS = 3
MOST_EPOCHS = 40

T = TypeVar("T")


class Pairs(NamedTuple, Generic[T]):
    """Tokens of sources and targets, or their ids, without special tokens."""

    sources: list[list[T]]
    targets: list[list[T]]


@dataclass(frozen=True)
class PairTraining:
    """A training whose arguments are checked.

    Attributes:
        settings: parameters of the translator, with sizes filled in.
        attention: mechanism of the attention, or None.
        label_smoothing: see `TokenCrossEntropy`.
        sizes: number of ids of the sources and of the targets.
        start_id, end_id: ids of the tokens around a target; the end also follows each source.
        pairs: the pairs to learn from.
        held_out: pairs that decide which epoch is kept; None to keep the last.
    """

    settings: TextSettings
    attention: str | None
    label_smoothing: float
    sizes: tuple[int, int]
    start_id: int
    end_id: int
    pairs: Pairs[int]
    held_out: Pairs[int] | None

    @without_retracing_notes()
    def run(self) -> tuple[keras.Model, TrainingLog, bool]:
        """Train, and return the model, the log, and whether Ctrl-C ended the training.

        Raises:
            DataError: training diverged.
        """
        settings = self.settings
        with seeded(settings.seed) as seed:
            batches = self._batches(self.pairs, settings.batch_size or self._rows(), seed=seed)
            judged = None
            if self.held_out is not None:
                judged = self._batches(self.held_out, JUDGED_ROWS, shuffle=False)
            model = self._build()
            epochs = settings.epochs or self._epochs(len(batches))
            compile_for(
                model,
                learning_rate=settings.learning_rate,
                steps=epochs * len(batches),
                label_smoothing=self.label_smoothing,
            )
            best = BestEpoch(model, settings.patience)
            progress = ProgressBar(epochs, len(batches), "training") if settings.progress else None
            interrupted = train_to_best(
                best,
                lambda callbacks: model.fit(
                    batches,
                    epochs=epochs,
                    validation_data=judged,
                    shuffle=False,
                    verbose=0,
                    callbacks=[*callbacks, *([progress] if progress is not None else [])],
                ),
            )
            return model, best.log(), interrupted

    def _batches(
        self, pairs: Pairs[int], batch_size: int, *, shuffle: bool = True, seed: int = 0
    ) -> PairBatches:
        return PairBatches(
            pairs.sources,
            pairs.targets,
            start_id=self.start_id,
            end_id=self.end_id,
            source_end_id=self.end_id,
            batch_size=batch_size,
            buckets=max(1, min(SHAPES, len(pairs.sources) // PAIRS_OF_A_SHAPE)),
            shuffle=shuffle,
            seed=seed,
        )

    def _build(self) -> keras.Model:
        settings = self.settings
        attention = None
        if self.attention is not None:
            # The new state attends, so that the decoder runs on its kernels.
            attention = {"mechanism": self.attention, "query": "new"}
        return sequence_to_sequence(
            *self.sizes,
            embedding=settings.embedding,
            units=settings.units or 256,
            cell=settings.cell,
            # The dot product needs an encoder as wide as the decoder.
            bidirectional=self.attention != "dot",
            attention=attention,
            dropout=settings.dropout or 0.0,
            tied=True,
        )

    def _rows(self) -> int:
        return max(1, min(ROWS, len(self.pairs.sources) // 16))

    def _epochs(self, batches: int) -> int:
        return max(FEWEST_EPOCHS, min(MOST_EPOCHS, round(STEPS / batches)))
