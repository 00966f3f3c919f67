"""What distinguishes a training run: its data, its model, its loss and its optimizer."""

import json
import re
import zlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import keras
import numpy as np
from keras import tree

#: The arguments of `compile` that change the numbers of a training run.
_COMPILED = ("loss", "loss_weights", "metrics", "weighted_metrics")


def fingerprint(model: keras.Model) -> dict[str, Any]:
    """Describe a compiled model in JSON; parts that cannot be serialized are omitted or None."""
    optimizer = _written(model.optimizer.get_config) or {}
    compiled = _written(model.get_compile_config) or {}
    return {
        "model": config_checksum(model),
        "optimizer": type(model.optimizer).__name__,
        **{f"optimizer {name}": _rounded(value) for name, value in optimizer.items()},
        **{name: compiled.get(name) for name in _COMPILED},
    }


def config_checksum(model: keras.Model) -> int:
    """Return a checksum of the layers of a model and their arguments, without weights."""
    config = _written(partial(keras.saving.serialize_keras_object, model)) or {}
    config.pop("compile_config", None)
    return zlib.crc32(json.dumps(config, sort_keys=True).encode())


def checksum(batches: Iterable[Any]) -> int:
    """Return a checksum of all arrays in the batches."""
    crc = 0
    for batch in batches:
        for value in tree.flatten(batch):
            array = np.ascontiguousarray(value)
            crc = zlib.crc32(f"{array.dtype}{array.shape}".encode(), crc)
            crc = zlib.crc32(array.reshape(-1).view(np.uint8).data, crc)
    return crc


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Describe each entry that two descriptions share and that differs between them."""
    return [
        f"{name} {old[name]!r} (now {new[name]!r})"
        for name in new
        if name in old and old[name] != new[name]
    ]


def _rounded(value: Any) -> Any:
    """Return a float without the digits that only float32 rounding has added."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _written(write: Callable[[], Any]) -> Any:
    """Return a config as JSON, with the numbers of names removed; None if it cannot be written."""
    try:
        text = json.dumps(write())
    except Exception:  # of a user's own layer, loss or optimizer
        return None
    # Keras numbers the layers of a second model: dense_1, lstm_3, ...
    return json.loads(re.sub(r'_\d+"', '"', text))
