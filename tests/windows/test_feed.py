"""Tests of windows as a tf.data.Dataset and as a PyTorch DataLoader."""

import keras
import numpy as np
import pytest

from seqkeras.errors import ArgumentError
from seqkeras.windows import Windows, WindowSpec

VALUES = np.sin(np.arange(83.0))


def many(count=83, **options):
    options = {"batch_size": 16, "future": VALUES[:count], "weights": VALUES[:count] ** 2} | options
    return Windows(VALUES[:count], WindowSpec(3), **options)


def passes(batches, times):
    """Return the first inputs of the windows of each pass."""
    return [
        np.concatenate([np.asarray(x["past"])[:, 0, 0] for x, *_ in batches]).tolist()
        for _ in range(times)
    ]


def assert_same(actual, expected):
    for batch, other in zip(actual, expected, strict=True):
        for part, array in zip(batch, other, strict=True):
            for name in array if isinstance(array, dict) else [...]:
                np.testing.assert_array_equal(np.asarray(part[name]), array[name])


def test_a_tf_dataset_has_the_batches_with_their_shapes_and_number():
    tf = pytest.importorskip("tensorflow")
    windows = many()
    dataset = windows.to_tf_dataset()
    assert dataset.cardinality() == len(windows) == 5
    x, y, weights = dataset.element_spec
    assert x["past"] == tf.TensorSpec((16, 3, 1), tf.float32)  # 80 windows: every batch is full
    assert x["future"].shape == (16, 1, 1)
    assert (y.shape, weights.shape) == ((16, 1), (16,))
    assert_same(dataset, list(windows))
    assert many(82).to_tf_dataset().element_spec[1].shape.as_list() == [None, 1]


def test_a_tf_dataset_of_only_inputs():
    pytest.importorskip("tensorflow")
    windows = Windows(VALUES, WindowSpec(3, horizon=0))
    for actual, expected in zip(windows.to_tf_dataset(), windows, strict=True):
        np.testing.assert_array_equal(actual, expected)


def test_passes_over_a_tf_dataset_are_the_epochs():
    pytest.importorskip("tensorflow")
    windows = many(shuffle=True, seed=3)
    expected = [passes([windows.batch(epoch, i) for i in range(5)], 1)[0] for epoch in range(3)]
    dataset = windows.to_tf_dataset()
    next(iter(dataset))  # reading the first batch is not an epoch
    assert passes(dataset, 3) == expected
    assert windows.epoch == 3


def test_passes_over_a_torch_loader_are_the_epochs():
    torch = pytest.importorskip("torch")
    windows = many(shuffle=True, seed=3)
    expected = [passes([windows.batch(epoch, i) for i in range(5)], 1)[0] for epoch in range(2)]
    loader = windows.to_torch_loader()
    assert len(loader) == 5
    assert passes(loader, 2) == expected
    assert windows.epoch == 2
    x, y, weights = next(iter(loader))
    assert isinstance(x["past"], torch.Tensor)
    assert (y.dtype, weights.shape) == (torch.float32, (16,))


@pytest.mark.parametrize(
    "options", [{"num_workers": 2}, {"num_workers": 1, "persistent_workers": True}]
)
def test_workers_follow_the_epoch(options):
    pytest.importorskip("torch")
    windows = many(shuffle=True, seed=3)
    expected = [passes([windows.batch(epoch, i) for i in range(5)], 1)[0] for epoch in range(2)]
    loader = windows.to_torch_loader(multiprocessing_context="fork", **options)
    assert passes(loader, 2) == expected
    assert windows.epoch == 2


@pytest.mark.parametrize("option", ["batch_size", "shuffle", "sampler", "drop_last"])
def test_options_that_decide_on_batches_are_refused(option):
    with pytest.raises(
        ArgumentError, match="options must be options that do not change batches"
    ) as caught:
        many().to_torch_loader(**{option: 1})
    assert option in str(caught.value)
    assert "Pass batch_size and shuffle to Windows" in str(caught.value)


@pytest.mark.backends
def test_models_train_from_what_their_backend_reads():
    backend = keras.backend.backend()
    if backend == "jax":
        pytest.skip("JAX has no data sets")
    windows = Windows(VALUES, WindowSpec(3), batch_size=16, shuffle=True, seed=0)
    inputs = keras.Input((3, 1))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(inputs)))
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.1))
    data = windows.to_tf_dataset() if backend == "tensorflow" else windows.to_torch_loader()
    loss = model.fit(data, epochs=4, verbose=0).history["loss"]
    assert loss[-1] < loss[0]
    assert windows.epoch == 4
