"""Networks that read their own outputs: trained on them, and judged by them."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns, Forecaster
from seqkeras.models import many_to_one


def forecaster_of(**options):
    options = {"architecture": "recursive", "units": 4, "epochs": 1, "lookback": 6, **options}
    return flat_forecaster(3, seed=0, progress=False, levels=(), **options)


def weights(forecaster):
    return np.concatenate([array.ravel() for array in forecaster.model_.get_weights()])


def test_a_network_that_is_fed_back_is_judged_by_its_forecasts(one):
    """The untrained network is the naive forecast, whose error is the first loss."""
    forecaster = forecaster_of(epochs=2, season_length=1).fit(one)
    values = one.y.to_numpy()
    held_out = int(0.2 * len(one))
    past = values[:-held_out]
    starts = range(len(values) - held_out, len(values) - 2)
    errors = [np.abs(values[i : i + 3] - values[i - 1]).mean() / past.std() for i in starts]
    assert forecaster.log_.val_loss[0] == pytest.approx(np.mean(errors), rel=1e-4)
    assert len(forecaster.log_.val_loss) == 1 + len(forecaster.log_.loss)


def test_missing_targets_and_future_covariates_are_fed_back_too(one):
    df = one.assign(week=one.ds.dt.day_of_week, kind="a")
    df.loc[[40, 80, 85], "y"] = np.nan
    known = Columns(future=["week"], static=["kind"])
    forecaster = forecaster_of(teacher_forcing=0.5).fit(df, columns=known)
    assert np.isfinite(forecaster.log_.val_loss).all()
    future = forecaster.future_frame()
    future = future.assign(week=future.ds.dt.day_of_week)
    assert np.isfinite(forecaster.predict(future=future).yhat).all()


def test_training_on_own_outputs_gives_other_weights(one):
    weights_of = {
        forcing: weights(forecaster_of(teacher_forcing=forcing, validation=0).fit(one))
        for forcing in (1, 0.0)
    }
    assert np.abs(weights_of[1] - weights_of[0.0]).max() > 1e-4


def test_it_is_saved_and_cloned(one, tmp_path):
    forecaster = forecaster_of(teacher_forcing="scheduled", validation=0).fit(one)
    forecaster.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    pd.testing.assert_frame_equal(loaded.predict(), forecaster.predict())
    assert loaded.training == clone(forecaster).training == forecaster.training


def test_custom_networks_are_trained_on_their_outputs_too(one):
    def network(features, *, lookback, horizon):
        return many_to_one(features, timesteps=lookback, outputs=2, units=4)

    forecaster = forecaster_of(architecture=network, units=None, teacher_forcing=0.0, validation=0)
    assert forecaster.fit(one).predict().shape == (3, 2)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"teacher_forcing": 1.5}, "teacher_forcing must be a number from 0 to 1, or 'scheduled'"),
        ({"teacher_forcing": "schedule"}, "teacher_forcing must be a number from 0 to 1"),
        ({"teacher_forcing": None}, "teacher_forcing must be a number from 0 to 1"),
        (
            {"teacher_forcing": 0.5, "architecture": "multi_output"},
            "1 for a network that forecasts the whole horizon",
        ),
        ({"teacher_forcing": 0.5, "likelihood": "gaussian"}, "1 with a likelihood"),
        (
            {"teacher_forcing": 0.5, "architecture": ["recursive", "multi_output"]},
            "1 for a network that forecasts the whole horizon",
        ),
    ],
    ids=["large", "word", "none", "multi_output", "likelihood", "ensemble"],
)
@pytest.mark.usefixtures("no_training")
def test_what_cannot_work_is_refused_before_training(one, options, words):
    forecaster = forecaster_of(**options)
    with pytest.raises(ArgumentError, match=words):
        forecaster.fit(one)
    assert not hasattr(forecaster, "model_")
