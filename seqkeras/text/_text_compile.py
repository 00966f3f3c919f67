"""How networks of texts are compiled: Adam, a falling learning rate, the loss of tokens."""

from typing import Any

import keras

from seqkeras.text._perplexity import Perplexity
from seqkeras.text._token_cross_entropy import TokenCrossEntropy

#: Training steps at which the learning rate rises to its value, at most a tenth of all.
WARMUP = 100


def compile_for(
    model: keras.Model, *, learning_rate: float, steps: int, label_smoothing: float = 0.0
) -> None:
    """Compile a model for a training of this number of steps.

    The learning rate rises at first, and then falls to zero as a cosine (Loshchilov and Hutter
    2017, arXiv 1608.03983). The norm of all gradients together is at most 1.
    """
    warmup = min(WARMUP, steps // 10)
    rising: dict[str, Any] = {"warmup_target": learning_rate, "warmup_steps": warmup}
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else learning_rate, max(1, steps - warmup), **rising if warmup else {}
    )
    model.compile(
        keras.optimizers.Adam(schedule, beta_2=0.99, global_clipnorm=1.0),
        TokenCrossEntropy(label_smoothing=label_smoothing),
        weighted_metrics=[Perplexity()],
    )
