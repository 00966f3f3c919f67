"""The hard sigmoid of Keras 2, which Keras 3 no longer has."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="seqkeras")
def keras_2_hard_sigmoid(x: Any) -> Any:
    """Return the `hard_sigmoid` of Keras 2: `0.2 * x + 0.5`, clipped to [0, 1].

    The function of that name in Keras 3 is less steep: `x / 6 + 0.5`.

    Args:
        x: tensor of any shape.

    Example:
        >>> import keras
        >>> x = keras.ops.array([1.0])
        >>> round(float(keras_2_hard_sigmoid(x)[0]), 3)
        0.7
        >>> round(float(keras.activations.hard_sigmoid(x)[0]), 3)
        0.667
    """
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)
