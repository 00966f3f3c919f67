import functools
import re
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest

from helpers.builders import dense
from helpers.forecasters import flat_forecaster
from seqkeras.errors import ArgumentError, DataError
from seqkeras.forecasting import Columns, backtest, tune

optuna = pytest.importorskip("optuna", reason="needs the extra tune")

bare = functools.partial(
    flat_forecaster,
    **{"lookback": 7, "architecture": dense, "epochs": 1, "validation": 0, "levels": ()},
    seed=0,
    progress=False,
)
RATE = "training__learning_rate"
SPACE = {"lookback": [5, 10], RATE: (1e-3, 1e-1)}


@pytest.fixture(scope="module")
def df():
    steps = np.arange(60)
    noise = np.random.default_rng(0).normal(0, 0.1, 60)
    stamps = pd.date_range("2024-01-01", periods=60)
    return pd.DataFrame({"day": stamps, "sold": np.sin(steps * 0.9) + noise})


NAMES = Columns(time="day", target="sold")


@pytest.fixture(scope="module")
def found(df):
    return tune(bare(3), df, space=SPACE, trials=3, score="MAE", columns=NAMES)


def test_trials_are_told_the_best_first(df, found):
    frame = found.trials
    assert frame.columns.tolist() == [
        "trial",
        "lookback",
        RATE,
        "MAE",
        "state",
        "windows",
        "seconds",
        "why",
    ]
    assert sorted(frame.trial) == [0, 1, 2]
    assert frame.MAE.is_monotonic_increasing
    assert frame.state.tolist() == ["complete"] * 3
    assert frame.windows.tolist() == [2] * 3
    assert not hasattr(found.forecaster, "model_")
    best = frame.loc[0, ["lookback", RATE]].to_dict()
    assert found.forecaster.get_params(deep=False) == (
        bare(3).set_params(**best).get_params(deep=False)
    )


def test_the_score_is_that_of_a_backtest_before_the_last_rows(df, found):
    scores = backtest(found.forecaster, df.iloc[:-3], windows=2, refit=True, columns=NAMES).scores
    assert scores.loc["seqkeras", "MAE"] == pytest.approx(found.trials.MAE[0], rel=1e-3)


def test_the_last_rows_have_no_part_in_it_and_the_seed_says_what_is_tried(df, found):
    other = df.assign(sold=np.where(np.arange(60) >= 57, 1e6, df.sold))
    again = tune(bare(3), other, space=SPACE, trials=1, score="MAE", columns=NAMES).trials
    first = found.trials[found.trials.trial < 1]
    assert again[RATE].tolist() == first[RATE].tolist()
    np.testing.assert_allclose(again.MAE, first.MAE, rtol=1e-3)


def test_a_search_goes_on_in_its_storage(df, tmp_path):
    search = functools.partial(
        tune,
        bare(3),
        df,
        space=SPACE,
        windows=1,
        storage=f"sqlite:///{tmp_path}/search.db",
        columns=NAMES,
    )
    first, second = search(trials=1).trials, search(trials=2).trials
    assert (len(first), len(second)) == (1, 2)
    assert second[RATE].nunique() == 2
    assert first.MASE[0] in second.MASE.tolist()
    with pytest.raises(ArgumentError, match=r"name must be new, or .* had other scores\. Use ano"):
        search(trials=3, score="RMSE")
    with pytest.raises(DataError, match="None of 0 trials"):
        search(trials=1, seconds=1e-9, name="another")


def refusal(refused, search, *args, **options):
    """Which parts of a search are said to be others."""
    with pytest.raises(ArgumentError, match="name must be new, or") as told:
        search(*args, **options)
    return re.search(r"had other (.*)\. Use another name", str(told.value)).group(1) == refused


def test_another_search_of_the_same_name_is_refused(df, tmp_path):
    df = df.assign(load=df.sold * 2, price=1.0 + np.arange(60) % 3, shop="east")
    columns = replace(NAMES, past=["load"], id="shop")
    storage = f"sqlite:///{tmp_path}/search.db"
    builders = {
        "lookback": [5, 10],
        "network": [functools.partial(shifted, shift=0.0), dense],
    }
    search = functools.partial(
        tune, space=builders, columns=columns, windows=1, trials=1, storage=storage
    )
    given = bare(3)
    search(given, df)
    assert len(search(bare(3, lookback=9), df, seed=3).trials) == 1
    later = df.assign(day=df.day + pd.Timedelta(days=1))
    others = [
        refusal("rows", search, given, later),
        refusal("rows", search, given, df.assign(load=0.5 * df.load)),
        refusal("rows", search, given, df.assign(shop="west")),
        refusal("rows, columns", search, given, df, columns=replace(columns, past=())),
        refusal("rows, columns", search, given, df, columns=replace(columns, future=["price"])),
        refusal(
            "rows, columns", search, given, df, columns=replace(columns, calendar=["day_of_week"])
        ),
        refusal(
            "columns",
            search,
            given,
            df.rename(columns={"load": "b"}),
            columns=replace(columns, past=["b"]),
        ),
        refusal("columns", search, given, df, columns=replace(columns, missing="raise")),
        refusal("parameters", search, bare(3, batch_size=4), df),
        refusal("space", search, given, df, space=builders | {"lookback": [5, 11]}),
        refusal("parameters, space", search, given, df, space={"network": builders["network"]}),
    ]
    assert all(others)


class Killed(BaseException):
    """What ends a process."""


def test_the_forecaster_itself_is_tried_again_after_a_kill(df, tmp_path):
    begun = tmp_path / "begun"

    def model(features, *, lookback, horizon):
        if not begun.exists():
            begun.touch()
            raise Killed
        return dense(features, lookback=lookback, horizon=horizon)

    given = bare(3, architecture=model)
    search = functools.partial(tune, given, df, windows=1, columns=NAMES)
    search = functools.partial(search, storage=f"sqlite:///{tmp_path}/search.db")
    with pytest.raises(Killed):
        search(trials=1)
    found = search(trials=1).trials.set_index("trial")
    assert found.state.to_dict() == {0: "fail", 1: "complete"}
    assert found.loc[1, ["lookback", RATE]].tolist() == [7, given.settings().training.learning_rate]
    again = search(trials=2).trials.set_index("trial")
    assert again[RATE].nunique() == 2


def shifted(features, *, lookback, horizon, shift):
    """The newest value and something far off it, which no training mends."""
    x = keras.Input((lookback, features))
    weight = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    newest = weight(x)[:, -1]
    return keras.Model(x, keras.layers.RepeatVector(horizon)(newest)[..., 0] + shift)


def test_a_trial_that_is_worse_than_the_others_is_given_up(df):
    """There must be four others, of which three are in the storage before."""

    def space(trial):
        trial.suggest_float("nothing", 0, 1)
        shift = 9.0 if trial.number == 4 else 0.0
        return {"network": functools.partial(shifted, shift=shift)}

    storage = optuna.storages.InMemoryStorage()
    before = optuna.create_study(storage=storage, study_name="search")
    for number in range(3):
        trial = optuna.create_trial(
            value=1.0,
            intermediate_values={0: 1.0, 1: 1.0},
            params={"nothing": number / 3},
            distributions={"nothing": optuna.distributions.FloatDistribution(0, 1)},
        )
        before.add_trial(trial)
    found = tune(bare(3), df, space=space, trials=5, columns=NAMES, storage=storage, name="search")
    frame = found.trials.set_index("trial")
    assert frame.state.tolist()[:4] == ["complete"] * 4
    assert frame.loc[4, ["state", "windows", "why"]].tolist() == ["pruned", 1, ""]


def test_a_trial_that_cannot_be_fitted_says_why(df):
    found = tune(bare(3), df, space={"lookback": [300, 4]}, trials=3, windows=1, columns=NAMES)
    assert found.forecaster.lookback == 4
    failed = found.trials[found.trials.state == "pruned"]
    assert len(failed)
    assert failed.why.str.contains("must have 303").all()
    assert failed.MASE.isna().all()
    with pytest.raises(
        DataError, match=r"None of 1 trials could be fitted\. The first: The longest"
    ):
        tune(bare(3), df, space={"lookback": [300]}, trials=1, columns=NAMES)


def test_parameters_that_do_not_go_together_end_their_trial(df):
    space = {"network": ["multi_output", "recursive"], "training__teacher_forcing": [0.5]}
    given = bare(2, architecture="recursive", units=2)
    found = tune(given, df, space=space, trials=3, windows=1, columns=NAMES)
    assert found.forecaster.settings().network.architecture == "recursive"
    failed = found.trials[found.trials.network == "multi_output"]
    assert len(failed)
    assert failed.state.eq("pruned").all()
    assert failed.why.str.contains(
        "teacher_forcing must be 1 for a network that forecasts the whole"
    ).all()
    space["network"].remove("recursive")
    with pytest.raises(DataError, match=r"None of 2 trials .* The first: teacher_forcing must"):
        tune(given, df, space=space, trials=2, columns=NAMES)


def test_a_forecaster_that_cannot_be_used_itself_is_refused(df):
    with pytest.raises(
        ArgumentError, match="teacher_forcing must be 1 for a network that forecasts the whole"
    ):
        tune(bare(3, architecture="multi_output", teacher_forcing=0.5), df, trials=2, columns=NAMES)


def test_without_a_space_the_first_trial_is_the_forecaster_itself(df):
    given = bare(3, architecture="segment_rnn", units=2, lookback=None)
    found = tune(given, df, trials=1, windows=1, columns=NAMES)
    first = found.trials.iloc[0]
    names = ["network__architecture", "network__units", RATE]
    assert first[names].tolist() == ["segment_rnn", 2, 3e-3]
    expected = backtest(given, df.iloc[:-3], columns=NAMES).scores.loc["seqkeras", "MASE"]
    assert abs(first.MASE - expected) < 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trials": 0}, "trials must be an integer >= 1"),
        ({"windows": 0}, "windows must be an integer >= 1"),
        ({"holdout": -1}, "holdout must be an integer >= 0"),
        ({"score": "MSE"}, "score must be one of 'MAE', "),
        ({"seconds": 0}, "seconds must be a finite number > 0"),
        ({"seed": None}, "seed must be an integer >= 0"),
        ({"space": {"hidden": [1]}}, "space must be one of"),
    ],
)
def test_bad_arguments_are_refused_before_any_trial(df, options, message):
    with pytest.raises(ArgumentError, match=message):
        tune(bare(3), df, **options, columns=NAMES)


def test_rows_that_are_too_few_are_refused_before_any_trial(df):
    with pytest.raises(DataError, match=r"must have 10 rows \(1 \+ 9 to hold out\)\. Got: 8"):
        tune(bare(3), df.head(8), columns=NAMES)
