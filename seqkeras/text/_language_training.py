"""The training of a language model on the tokens of a text, with its state carried along."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from seqkeras.kernels._randomness import seeded
from seqkeras.kernels._retracing import without_retracing_notes
from seqkeras.models import language_model
from seqkeras.states import as_stateful
from seqkeras.text._best_epoch import BestEpoch, train_to_best
from seqkeras.text._pad import Ids
from seqkeras.text._text_compile import compile_for
from seqkeras.text._text_settings import TextSettings
from seqkeras.text._token_batches import TokenBatches
from seqkeras.training import TrainingLog, fit_stateful

#: Tokens of a row in a training step, and rows of a step.
TIMESTEPS = 64
ROWS = 32
#: Tokens that training reads in all, over and over, unless `epochs` says otherwise: about seven
#: epochs of a million characters. Other tokens have large vocabularies, which take more time.
CHARACTERS_READ = 7_000_000
TOKENS_READ = 4_000_000
MOST_EPOCHS = 60
#: Fewer tokens than these are not worth a batch of several rows.
_STEPS_A_PASS = 16


@dataclass(frozen=True)
class LanguageTraining:
    """A training whose arguments are checked.

    Attributes:
        settings: parameters of the language model, with sizes filled in.
        vocabulary_size: number of ids.
        ids: the ids of the text.
        held_out: ids that decide which epoch is kept; None to keep the last.
    """

    settings: TextSettings
    vocabulary_size: int
    ids: Ids
    held_out: Ids | None

    @without_retracing_notes()
    def run(self) -> tuple[keras.Model, TrainingLog, bool]:
        """Train, and return the model, the log, and whether Ctrl-C ended the training.

        Raises:
            DataError: training diverged.
        """
        settings = self.settings
        rows, timesteps = self._shape()
        with seeded(settings.seed) as seed:
            trained = self._build(stateful=True, batch_size=rows)
            batches = TokenBatches(
                self.ids,
                batch_size=rows,
                timesteps=timesteps,
                partition="sequential",
                random_start=self._has_room(rows, timesteps),
                seed=seed,
            )
            epochs = settings.epochs or self._epochs()
            compile_for(trained, learning_rate=settings.learning_rate, steps=epochs * len(batches))
            best = BestEpoch(trained, settings.patience)
            interrupted = train_to_best(
                best,
                lambda callbacks: fit_stateful(
                    trained,
                    batches,
                    epochs,
                    validation=self._judged(rows, timesteps),
                    callbacks=callbacks,
                    progress=settings.progress,
                ),
            )
            log = best.log()
            model = self._build()
            model.set_weights(trained.get_weights())
        return model, log, interrupted

    def _build(self, **options: Any) -> keras.Model:
        settings = self.settings
        return language_model(
            self.vocabulary_size,
            embedding=settings.embedding,
            units=settings.units or 256,
            cell=settings.cell,
            dropout=settings.dropout or 0.0,
            tied=settings.tokens != "char",
            **options,
        )

    def _shape(self) -> tuple[int, int]:
        """Return rows and timesteps of a batch, fewer of them for a short text."""
        targets = len(self.ids) - 1
        timesteps = min(TIMESTEPS, max(1, targets // 4))
        rows = self.settings.batch_size or min(ROWS, targets // (timesteps * _STEPS_A_PASS))
        if self.held_out is not None:
            rows = min(rows, len(self.held_out) - 1)
        return max(1, min(rows, targets)), timesteps

    def _has_room(self, rows: int, timesteps: int) -> bool:
        return len(self.ids) >= (rows + 1) * timesteps + 1

    def _epochs(self) -> int:
        read = CHARACTERS_READ if self.settings.tokens == "char" else TOKENS_READ
        return max(1, min(MOST_EPOCHS, round(read / len(self.ids))))

    def _judged(self, rows: int, timesteps: int) -> TokenBatches | None:
        if self.held_out is None:
            return None
        return TokenBatches(
            self.held_out,
            batch_size=rows,
            timesteps=timesteps,
            partition="sequential",
            random_start=False,
        )


@without_retracing_notes()
def text_nats(model: keras.Model, ids: Ids) -> tuple[float, int]:
    """Return the sum of the cross-entropies of all ids but the first, and their number.

    The state is carried from the first id to the last.
    """
    batches = TokenBatches(
        ids, batch_size=1, timesteps=256, partition="sequential", random_start=False
    )
    reader = as_stateful(model, batch_size=1)
    total = 0.0
    for x, y, weights in batches:
        logits = np.asarray(reader.predict_on_batch(x), np.float64)
        logits -= logits.max(axis=-1, keepdims=True)
        chosen = np.take_along_axis(logits, y[..., np.newaxis], axis=-1)[..., 0]
        nats = np.log(np.exp(logits).sum(axis=-1)) - chosen
        total += float((nats * weights).sum())
    return total, len(ids) - 1
