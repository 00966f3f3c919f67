"""A program is compared with its model before it is written."""

import keras
import numpy as np
import pytest

import seqkeras
from seqkeras import runtime
from seqkeras.errors import ArgumentError, SeqkerasError
from seqkeras.export import save_program


def test_a_model_that_does_not_give_the_same_is_not_written(tmp_path, monkeypatch):
    model = seqkeras.many_to_one(2, units=3)
    call = keras.layers.Dense.call
    monkeypatch.setattr(
        keras.layers.Dense, "call", lambda self, *args, **kwargs: call(self, *args) + 0.01
    )
    with pytest.raises(SeqkerasError, match=r"output 'head' differs by 0\.01. Nothing was written"):
        save_program(model, tmp_path / "p")
    assert not list(tmp_path.iterdir())


def test_large_weights_are_compared(tmp_path):
    model = seqkeras.many_to_one(2, units=3)
    model.set_weights([np.full_like(weight, 1e6) for weight in model.get_weights()])
    save_program(model, tmp_path / "p")
    y, _ = (program := runtime.load(tmp_path / "p")).step([[1.0, 1.0]], program.initial_state())
    assert y > 1e6


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused_by_name(tmp_path, value):
    model = seqkeras.many_to_one(2, units=3)
    model.layers[-1].bias.assign([value])
    with pytest.raises(ArgumentError, match=r"finite. Got: model=.*head/bias"):
        save_program(model, tmp_path / "p")


@pytest.mark.parametrize("timesteps", [1, 300])
def test_models_of_any_length_are_compared(tmp_path, timesteps):
    save_program(seqkeras.many_to_many(2, timesteps=timesteps, units=3), tmp_path / "p")
    assert runtime.load(tmp_path / "p").inputs[0].shape == (2,)
