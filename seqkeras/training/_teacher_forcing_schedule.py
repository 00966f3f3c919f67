"""Lower the probability of teacher forcing from epoch to epoch."""

from typing import Any

import keras

from seqkeras._checks import bad_argument, check_integer
from seqkeras._keras_graph import self_and_sublayers
from seqkeras.layers import ScheduledSampling

#: Epochs over which the probability falls from teacher forcing to free running.
SCHEDULED_EPOCHS = 10


class TeacherForcingSchedule(keras.callbacks.Callback):
    """A callback that lowers the probability of true values evenly from 1 to 0.

    Args:
        epochs: number of epochs after which it is 0, default 10.

    Raises:
        ArgumentError: `epochs` is not a positive integer; or, when training starts, the model has
            no `ScheduledSampling` layer, also not within another layer.
    """

    def __init__(self, epochs: int = SCHEDULED_EPOCHS) -> None:
        super().__init__()
        self.epochs = check_integer("epochs", epochs)

    def on_train_begin(self, logs: Any = None) -> None:
        """Find the layers."""
        layers = self_and_sublayers(self.model)
        self._layers = [layer for layer in layers if isinstance(layer, ScheduledSampling)]
        if not self._layers:
            fix = (
                "unrolled(network, horizon=..., teacher_forcing=1.0) builds one, and so does "
                "sequence_to_sequence(..., teacher_forcing=1.0)."
            )
            expected = "a model with a ScheduledSampling layer"
            raise bad_argument("model", self.model.name, expected, fix)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Set the probability of this epoch."""
        for layer in self._layers:
            layer.probability.assign(max(0.0, 1.0 - epoch / self.epochs))
