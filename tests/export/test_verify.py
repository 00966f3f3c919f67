"""A program is compared with its model before it is written."""

import keras
import numpy as np
import pytest

import seqkeras
from seqkeras import runtime
from seqkeras.errors import ArgumentError, SeqkerasError
from seqkeras.export import _program_parts, save_program
from seqkeras.export._scalers import Affine
from seqkeras.export._verify import largest_difference


def test_a_model_that_returns_something_else_is_not_written(tmp_path, monkeypatch):
    model = seqkeras.many_to_one(2, units=3)
    call = keras.layers.Dense.call
    monkeypatch.setattr(
        keras.layers.Dense, "call", lambda self, *args, **kwargs: call(self, *args) + 0.01
    )
    with pytest.raises(SeqkerasError, match=r"output 'head' differs by 0\.01. Nothing was written"):
        save_program(model, tmp_path / "p")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "broken"),
    [
        ({"scaler": (10.0, 2.0)}, "_from_raw"),
        ({"target_scaler": (10.0, 2.0)}, "_to_raw"),
        ({"scaler": (10.0, 2.0), "storage": "float16"}, "_from_raw"),
    ],
)
def test_a_wrong_scaling_is_not_written(tmp_path, monkeypatch, options, broken):
    model = seqkeras.many_to_one(2, units=3)
    save_program(model, tmp_path / "p", **options)
    before = (tmp_path / "p").read_bytes()
    scale = getattr(_program_parts, broken)
    monkeypatch.setattr(
        _program_parts,
        broken,
        lambda trace, value, scaling, *dtype: scale(
            trace, value, Affine(scaling.center + 1, scaling.scale), *dtype
        ),
    )
    with pytest.raises(SeqkerasError, match=r"output 'head' differs by .* Nothing was written"):
        save_program(model, tmp_path / "p", **options)
    assert (tmp_path / "p").read_bytes() == before


@pytest.mark.backends
def test_rounded_weights_are_compared_exactly(tmp_path, monkeypatch):
    model = seqkeras.many_to_one(2, units=3)
    weights = model.get_weights()
    save_program(model, tmp_path / "p", storage="float16")
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)
    # A difference as small as the rounding is found.
    head = model.layers[-1]
    call = type(head).call
    monkeypatch.setattr(type(head), "call", lambda self, *args, **kwargs: call(self, *args) + 2e-4)
    with pytest.raises(SeqkerasError, match=r"output 'head' differs by 0\.0002"):
        save_program(model, tmp_path / "p", storage="float16")


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("center", [0.0, 1e9])
def test_outputs_in_raw_units_are_compared_in_units_of_the_model(center, scale):
    scaling = Affine(np.array([center]), np.array([scale]))
    model_output = np.random.default_rng(0).normal(size=(2, 3, 1))
    expected = scaling.undo(model_output)
    close = scaling.undo(model_output + 5e-5)
    assert largest_difference(close, expected, 1e-4, scaling) is None
    if center == 0:
        far = scaling.undo(model_output + 5e-4)
        assert largest_difference(far, expected, 1e-4, scaling) == pytest.approx(5e-4 * scale)


def test_nan_equals_nan_only():
    x = np.array([[np.nan, 1.0]])
    assert largest_difference(x, x.copy(), 1e-4, None) is None
    assert largest_difference(x, np.array([[0.0, 1.0]]), 1e-4, None) is not None


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_large_weights_are_compared(tmp_path, storage):
    model = seqkeras.many_to_one(2, units=3)
    size = 1e6 if storage == "float32" else 6e4
    model.set_weights([np.full_like(weight, size) for weight in model.get_weights()])
    save_program(model, tmp_path / "p", storage=storage)
    program = runtime.load(tmp_path / "p")
    y, _ = program.step([[1.0, 1.0]], program.initial_state())
    assert y > size


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, value):
    model = seqkeras.many_to_one(2, units=3)
    model.layers[-1].bias.assign([value])
    with pytest.raises(ArgumentError, match=r"finite weights. Got: weights '.*head/bias"):
        save_program(model, tmp_path / "p")


@pytest.mark.parametrize("timesteps", [1, 300])
def test_models_of_any_length_are_compared(tmp_path, timesteps):
    save_program(seqkeras.many_to_many(2, timesteps=timesteps, units=3), tmp_path / "p")
    assert runtime.load(tmp_path / "p").inputs[0].shape == (2,)
