"""What scikit-learn asks of an estimator, as far as rows of a frame can be split."""

import copy
import functools
import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    TimeSeriesSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from helpers.builders import dense
from helpers.examples import long_run_only
from helpers.forecasters import flat_forecaster
from seqkeras import many_to_one
from seqkeras.errors import ArgumentError
from seqkeras.forecasting import Columns

quick = functools.partial(
    flat_forecaster,
    **{"lookback": 10, "architecture": dense, "epochs": 1, "validation": 0, "levels": ()},
    seed=0,
    progress=False,
)


def network(features, *, lookback, horizon):
    return many_to_one(features, timesteps=lookback, outputs=horizon, units=3)


def joblib_copy(forecaster):
    file = io.BytesIO()
    joblib.dump(forecaster, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "pickle": lambda forecaster: pickle.loads(pickle.dumps(forecaster)),
    "joblib": joblib_copy,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(scope="module")
def fitted():
    steps = np.arange(60)
    df = pd.DataFrame({"ds": steps, "y": np.sin(steps * 0.7) * 5 + 20})
    return quick(4, levels=(80,), validation=0.2, architecture=network).fit(df), df


@pytest.mark.parametrize(
    "way", [pytest.param("pickle", marks=pytest.mark.backends), "joblib", "deepcopy"]
)
def test_a_fitted_forecaster_is_copied_with_all_that_it_knows(fitted, way):
    forecaster, _ = fitted
    copied = COPIES[way](forecaster)
    pd.testing.assert_frame_equal(copied.predict(), forecaster.predict(), rtol=1e-6)
    pd.testing.assert_frame_equal(copied.encode(), forecaster.encode(), rtol=1e-6)
    assert copied.get_params() == forecaster.get_params()
    assert copied.log_ == forecaster.log_


def test_a_copy_is_fitted_again_to_the_same(fitted):
    forecaster, df = fitted
    again = COPIES["pickle"](forecaster).fit(df)
    pd.testing.assert_frame_equal(again.predict(), forecaster.predict(), rtol=1e-4)


@pytest.mark.parametrize("way", COPIES)
def test_an_unfitted_forecaster_is_copied(way):
    copied = COPIES[way](quick(4, architecture=network))
    assert copied.get_params() == quick(4, architecture=network).get_params()
    assert not hasattr(copied, "model_")


def test_a_clone_of_a_fitted_forecaster_is_not_fitted(fitted):
    copied = clone(fitted[0])
    assert copied.get_params() == fitted[0].get_params()
    assert not hasattr(copied, "model_")


def test_a_grid_search_over_the_rows_of_one_series(one):
    search = GridSearchCV(
        quick(4),
        {"lookback": [5, 7]},
        cv=TimeSeriesSplit(2, test_size=10),
        error_score="raise",
        refit=False,
    ).fit(one)
    last = quick(4, lookback=5).fit(one.iloc[:-10]).score(one.iloc[-10:])
    assert search.cv_results_["split1_test_score"][0] == pytest.approx(last, rel=1e-4)
    assert search.best_params_["lookback"] in (5, 7)


@long_run_only
def test_a_random_search_passes_the_columns_on_to_fit(one):
    renamed = one.rename(columns={"ds": "day", "y": "sold"})
    search = RandomizedSearchCV(
        quick(4, architecture="multi_output"),
        {"network__architecture": [dense], "training__epochs": [1]},
        n_iter=1,
        cv=TimeSeriesSplit(2, test_size=4),
        error_score="raise",
        random_state=0,
    )
    search.fit(renamed, columns=Columns(time="day", target="sold"))
    assert search.best_estimator_.predict().columns.tolist() == ["day", "yhat"]


def test_a_pipeline_prepares_the_frame(one):
    pipeline = make_pipeline(FunctionTransformer(lambda df: df.assign(y=df.y * 2)), quick(4))
    pipeline.fit(one.iloc[:-5])
    alone = quick(4).fit(one.assign(y=one.y * 2).iloc[:-5])
    assert pipeline.score(one.iloc[-5:]) == pytest.approx(
        alone.score(one.assign(y=one.y * 2).iloc[-5:]), rel=1e-4
    )


def test_folds_that_leave_rows_out_between_are_told(one):
    with pytest.raises(ValueError, match="must continue at"):
        cross_val_score(quick(4), one, cv=TimeSeriesSplit(2, gap=3), error_score="raise")


def test_a_target_beside_the_frame_is_refused(one, fitted):
    with pytest.raises(ArgumentError, match="The target is a column of df"):
        quick(4).fit(one, one.y)
    with pytest.raises(ArgumentError, match="y must be omitted"):
        fitted[0].score(one, one.y)
