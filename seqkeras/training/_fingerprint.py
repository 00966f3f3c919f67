"""What tells a training from others: its data, its model, its loss and its optimizer."""

import json
import re
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import tree

#: What of the arguments of `compile` changes the numbers of a training.
_COMPILED = ("loss", "loss_weights", "metrics", "weighted_metrics")


def fingerprint(model: keras.Model) -> dict[str, Any]:
    """Describe a compiled model in JSON; what Keras cannot write down is None."""
    optimizer = _written(model.optimizer.get_config) or {}
    compiled = _written(model.get_compile_config) or {}
    config = _written(partial(keras.saving.serialize_keras_object, model)) or {}
    config.pop("compile_config", None)
    return {
        "model": zlib.crc32(json.dumps(config, sort_keys=True).encode()),
        "optimizer": type(model.optimizer).__name__,
        **{f"optimizer {name}": _rounded(value) for name, value in optimizer.items()},
        **{name: compiled.get(name) for name in _COMPILED},
    }


def checksum(batches: Iterable[Any]) -> int:
    """Return a checksum of all arrays of some batches."""
    crc = 0
    for batch in batches:
        for value in tree.flatten(batch):
            array = np.ascontiguousarray(value)
            crc = zlib.crc32(f"{array.dtype}{array.shape}".encode(), crc)
            crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return crc


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return what differs between two descriptions, as far as both have it."""
    return [
        f"{name} {old[name]!r} (now {new[name]!r})"
        for name in new
        if name in old and old[name] != new[name]
    ]


def _rounded(value: Any) -> Any:
    """Return a number without what float32 has added to it."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _written(write: Callable[[], Any]) -> Any:
    """Return a config as JSON holds it, with names without their numbers; None if it cannot be."""
    try:
        text = json.dumps(write())
    except Exception:  # of a user's own layer, loss or optimizer
        return None
    # A second model of the same layers has the names dense_1, lstm_3 ...
    return json.loads(re.sub(r'_\d+"', '"', text))
