"""Layers that treat masks as Keras 2 did: the layers that merge branches, and TimeDistributed.

If a branch has no mask, Keras 3 drops the masks of the other branches. If all have one, it joins
them by "or", and Multiply, Maximum and Minimum skip masked values. Keras 2 joined the masks of the
branches that had one by "and", and its masks never changed a value.
"""

from collections.abc import Sequence
from functools import reduce
from typing import Any

import keras
from keras import ops

from seqkeras.layers._time_distributed import TimeDistributed

_register = keras.saving.register_keras_serializable(package="seqkeras")


class _Keras2Merge:
    def compute_mask(self, inputs: Sequence[Any], previous_mask: Any = None) -> Any:
        """Return the masks of the branches joined by "and", or None if no branch has one."""
        masks = [mask for mask in previous_mask or () if mask is not None]
        return reduce(ops.logical_and, masks) if masks else None


@_register
class Keras2Add(_Keras2Merge, keras.layers.Add):
    """`Add` of Keras 2."""


@_register
class Keras2Subtract(_Keras2Merge, keras.layers.Subtract):
    """`Subtract` of Keras 2."""


@_register
class Keras2Average(_Keras2Merge, keras.layers.Average):
    """`Average` of Keras 2."""


@_register
class Keras2Multiply(_Keras2Merge, keras.layers.Multiply):
    """`Multiply` of Keras 2."""

    def _merge_function(self, inputs: Sequence[Any]) -> Any:
        return reduce(ops.multiply, inputs)


@_register
class Keras2Maximum(_Keras2Merge, keras.layers.Maximum):
    """`Maximum` of Keras 2."""

    def _merge_function(self, inputs: Sequence[Any]) -> Any:
        return reduce(ops.maximum, inputs)


@_register
class Keras2Minimum(_Keras2Merge, keras.layers.Minimum):
    """`Minimum` of Keras 2."""

    def _merge_function(self, inputs: Sequence[Any]) -> Any:
        return reduce(ops.minimum, inputs)


@_register
class Keras2Concatenate(keras.layers.Concatenate):
    """`Concatenate` of Keras 2."""

    def compute_mask(self, inputs: Sequence[Any], previous_mask: Any = None) -> Any:
        """Return the masks concatenated if the axis is time, otherwise joined by "and"."""
        if all(mask is None for mask in previous_mask or ()):
            return None
        masks = [_as_wide(mask, x) for x, mask in zip(inputs, previous_mask, strict=True)]
        # Not ops.concatenate: its automatic name may be that of a layer like this one, and Keras
        # refuses a model in which two operations have one name.
        joined = reduce(lambda left, right: ops.append(left, right, axis=self.axis), masks)
        return ops.all(joined, axis=-1)


def _as_wide(mask: Any, x: Any) -> Any:
    """Return a mask of the shape of `x`, from one with fewer axes or None."""
    if mask is None:
        return ops.ones_like(x, dtype="bool")
    if len(mask.shape) < len(x.shape):
        mask = ops.expand_dims(mask, axis=-1)
    return ops.logical_and(mask, ops.ones_like(x, dtype="bool"))


@_register
class Keras2TimeDistributed(TimeDistributed):
    """`TimeDistributed` of Keras 2: a Masking or Embedding within it gives its output a mask."""

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Return the mask that the inner layer makes, or else that of the inputs."""
        if not isinstance(self.layer, (keras.layers.Embedding, keras.layers.Masking)):
            return super().compute_mask(inputs, previous_mask)
        # The time axis need not be split off: Masking reads only the last axis, and Embedding each
        # number by itself.
        mask = self.layer.compute_mask(inputs, None)
        return previous_mask if mask is None else mask


#: Replacements of the layers of Keras 3 that treat masks differently from Keras 2.
KERAS_2_MASKS = {
    "Add": Keras2Add,
    "Average": Keras2Average,
    "Concatenate": Keras2Concatenate,
    "Maximum": Keras2Maximum,
    "Minimum": Keras2Minimum,
    "Multiply": Keras2Multiply,
    "Subtract": Keras2Subtract,
    "TimeDistributed": Keras2TimeDistributed,
}
