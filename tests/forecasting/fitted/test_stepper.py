"""A forecaster that is fed one observation at a time says what `update` and `predict` say."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.arrays import assert_arrays_equal
from helpers.examples import examples, long_run_only
from helpers.forecasters import POINT, flat_forecaster
from seqkeras.errors import ArgumentError, DataError, FarValueWarning, FileFormatError
from seqkeras.forecasting import Columns, Forecaster

HORIZON, LOOKBACK = 3, 6
IDS = ("east", "north", "west")
EVERYTHING = Columns(
    past=["visits"],
    future=["price", "promo"],
    static=["kind", "size"],
    calendar=["day_of_week", "time_of_day"],
)
#: By model: columns that are read, and options.
CASES = {
    "multi_output": (EVERYTHING, {"likelihood": "quantiles", "season_length": 3}),
    "recursive": (
        Columns(future=["price", "promo"], calendar=["day_of_week"]),
        {**POINT, "season_length": 3},
    ),
    "encoder_decoder": (Columns(), POINT),
    "segment_rnn": (Columns(static=["kind"]), {}),
}
MASKED = ("multi_output", "segment_rnn")


def shops(rows=70, freq="D"):
    frames = []
    for number, name in enumerate(IDS):
        random = np.random.default_rng(number)
        frames.append(
            pd.DataFrame(
                {
                    "unique_id": name,
                    "ds": pd.date_range(f"2024-01-{1 + number:02d}", periods=rows, freq=freq),
                    "y": 10.0**number * (5 + random.normal(size=rows)),
                    "visits": random.normal(size=rows),
                    "price": random.random(rows),
                    "promo": random.choice(["no", "yes"], rows),
                    "kind": "large" if number else "small",
                    "size": float(number),
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def fitted():
    """A forecaster of each model, fitted when it is first asked for."""
    found = {}

    def of(model):
        if model not in found:
            columns, options = CASES[model]
            df = shops()
            if model in MASKED:
                df.loc[[5, 60, 100], "y"] = np.nan
            forecaster = flat_forecaster(
                HORIZON,
                architecture=model,
                lookback=LOOKBACK,
                units=3,
                epochs=1,
                seed=0,
                progress=False,
                **options,
            )
            found[model] = forecaster.fit(df, columns=columns), columns
        return found[model]

    return of


def new_rows(forecaster, ids, values, seed):
    """The next row of these series, as a frame."""
    random, panel = np.random.default_rng(seed), forecaster.panel_
    rows = panel.future_frame(1)
    rows = rows[rows.unique_id.isin(ids)].set_index("unique_id").loc[list(ids)].reset_index()
    rows["y"] = values
    rows["visits"], rows["price"] = random.normal(size=len(ids)), random.random(len(ids))
    rows["promo"] = random.choice(["no", "yes", "never seen"], len(ids))
    return rows.assign(kind="large", size=1.0)


def ahead(forecaster, seed):
    random, future = np.random.default_rng(seed), forecaster.future_frame()
    future["price"] = random.random(len(future))
    return future.assign(promo=random.choice(["no", "yes"], len(future)))


def by_column(columns, df, shape):
    return {name: df[name].to_numpy().reshape(shape) for name in columns}


def expected(forecaster, ids, columns, seed):
    """What `predict` says of some series, and what it was told of the horizon."""
    names = columns.future
    future = ahead(forecaster, seed)
    frame = forecaster.predict(future=future if names else None)
    numbers = [forecaster.panel_.ids.get_loc(one) for one in ids]
    answers = {
        name: frame[name].to_numpy().reshape(-1, HORIZON)[numbers]
        for name in frame.filter(like="yhat")
    }
    known = by_column(names, future, (-1, HORIZON))
    return answers, {name: known[name][numbers] for name in names} or None


def assert_alike(actual, expected_forecast, scale=1.0):
    assert actual.keys() == expected_forecast.keys()
    for name, values in expected_forecast.items():
        np.testing.assert_allclose(actual[name], values, rtol=1e-4, atol=1e-4 * scale)


def check_steps(forecaster, stepper, columns, steps):
    """Check that a stepper forecasts after each step what the forecaster does after an update."""
    names = [*columns.past, *columns.future]
    for seed, (ids, values) in enumerate(steps):
        rows = new_rows(forecaster, ids, values, seed)
        forecaster.update(rows)
        forecast, future = expected(forecaster, ids, columns, seed)
        covariates = by_column(names, rows, (-1,)) or None
        actual = stepper.step(
            dict(zip(ids, values, strict=True)), covariates=covariates, future=future
        )
        assert_alike(actual, forecast, scale=10)
    assert stepper.timestamps().equals(forecaster.panel_.last)


def streams(masked):
    number = st.floats(-50, 1000)
    one = st.one_of(number, st.just(float("nan"))) if masked else number
    ids = st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True)
    step = ids.flatmap(
        lambda chosen: st.tuples(
            st.just(chosen), st.lists(one, min_size=len(chosen), max_size=len(chosen))
        )
    )
    return st.lists(step, min_size=1, max_size=4)


@pytest.mark.parametrize("model", CASES)
@examples(2)
@given(data=st.data())
def test_it_says_what_update_and_predict_say(fitted, model, data):
    forecaster, columns = fitted(model)
    steps = data.draw(streams(model in MASKED))
    check_steps(copy.copy(forecaster), forecaster.stepper(implementation="keras"), columns, steps)


@pytest.mark.parametrize("model", ["multi_output", "recursive"])
def test_without_keras_the_numbers_are_the_same(fitted, model):
    forecaster, columns = fitted(model)
    stepper = forecaster.stepper(implementation="program")
    assert stepper.implementation == "program"
    assert stepper._network.program.window == LOOKBACK
    steps = [(("west",), [480.0]), (("east", "west"), [5.0, 520.0]), (IDS, [4.0, 40.0, 400.0])]
    check_steps(copy.copy(forecaster), stepper, columns, steps)


def test_networks_without_such_a_form_are_run_by_keras(fitted):
    forecaster, _ = fitted("encoder_decoder")
    assert forecaster.stepper().implementation == "keras"
    with pytest.raises(ArgumentError, match="implementation must be 'auto' or 'keras' here"):
        forecaster.stepper(implementation="program")
    with pytest.raises(ArgumentError, match="implementation must be one of"):
        forecaster.stepper(implementation="numpy")


def test_a_killed_stepper_goes_on_from_its_bytes(fitted, tmp_path):
    forecaster, _ = fitted("segment_rnn")
    forecaster.save(tmp_path / "f.zip")
    stepper = forecaster.stepper()
    stepper.update({"east": 4.0, "west": float("nan")})
    stepper.update({"west": 450.0})
    kept = {one: stepper.pack_state(stepper.state([one])) for one in IDS}
    other = Forecaster.load(tmp_path / "f.zip").stepper()
    for data in kept.values():
        other.restore(other.unpack_state(data))
    assert other.timestamps().equals(stepper.timestamps())
    assert_alike(other.predict(), stepper.predict())
    assert_alike(other.step({"east": 6.0}), stepper.step({"east": 6.0}))
    for mine, theirs in zip(other.state(), stepper.state(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_state_is_put_back_where_it_belongs(fitted):
    forecaster, _ = fitted("encoder_decoder")
    stepper = forecaster.stepper()
    before = stepper.state(["west", "east"])
    first = stepper.predict()
    stepper.step(np.array([1.0, 2.0, 3.0]))
    north = stepper.predict(ids=["north"])
    stepper.restore(before)
    assert_alike(stepper.predict(ids=["north"]), north)
    again = stepper.predict()
    np.testing.assert_array_equal(again["yhat"][[0, 2]], first["yhat"][[0, 2]])
    assert (again["yhat"][1] != first["yhat"][1]).any()


@pytest.mark.parametrize("implementation", ["program", "keras"])
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda stepper: pickle.loads(pickle.dumps(stepper))]
)
def test_a_copy_of_a_stepper_moves_on_by_itself(fitted_series, implementation, copied):
    stepper = fitted_series.stepper(implementation=implementation)
    before = stepper.predict()
    other = copied(stepper)
    assert other.implementation == implementation
    assert_alike(other.predict(), before)
    after = other.step(7.0)
    assert_alike(stepper.predict(), before)
    assert_alike(stepper.step(7.0), after)


def test_what_a_mask_hides_is_a_missing_target(fitted):
    values = np.ma.masked_array([1.0, 2.0, 3.0], mask=[False, True, False])
    stepper = fitted("segment_rnn")[0].stepper()
    other = copy.copy(stepper)
    stepper.update(values)
    other.update([1.0, np.nan, 3.0])
    np.testing.assert_array_equal(stepper.state()[0], other.state()[0])
    with pytest.raises(DataError, match="fitted on series without missing targets"):
        fitted("encoder_decoder")[0].stepper().update(values)


def test_the_forecaster_and_its_stepper_do_not_change_each_other(fitted):
    forecaster, _ = fitted("encoder_decoder")
    one, stepper = copy.copy(forecaster), forecaster.stepper()
    before, first = one.predict(), stepper.predict()
    stepper.step([1.0, 2.0, 3.0])
    pd.testing.assert_frame_equal(one.predict(), before)
    other = one.stepper()
    one.update(new_rows(one, IDS, [1.0, 2.0, 3.0], 0))
    assert_alike(other.predict(), first)


def test_one_series_is_fed_numbers_for_many_steps_and_counts_stay_counts():
    rng = np.random.default_rng(0)
    df = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=60, freq="h")})
    df["y"] = rng.poisson(9, 60)
    forecaster = flat_forecaster(
        2,
        lookback=4,
        units=3,
        epochs=1,
        levels=(),
        validation=0,
        seed=0,
        likelihood="negative_binomial",
    ).fit(df, columns=Columns(calendar=["time_of_day"]))
    stepper = forecaster.stepper()
    more = pd.DataFrame({"ds": pd.date_range("2024-01-03 12:00", periods=100, freq="h")})
    more["y"] = rng.poisson(9, 100)
    for value in more.y:
        stepper.update(value)
    answers = forecaster.update(more).predict().yhat.to_numpy()
    np.testing.assert_allclose(stepper.predict()["yhat"][0], answers, rtol=1e-3)
    assert stepper.timestamps()[0] == more.ds.iloc[-1]
    for wrong in (-1, 2.5, float("nan")):
        with pytest.raises(DataError, match="must be a count"):
            stepper.update(wrong)


RIGHT = {
    "values": {"east": 1.0, "west": 2.0},
    "covariates": {"price": 1.0, "promo": "no"},
    "future": {"price": [1.0, 2.0, 3.0], "promo": ["no"] * 3},
}


def covariates(**changes):
    return {"covariates": {**RIGHT["covariates"], **changes}}


WRONG = {
    "unknown": (
        {"values": {"easy": 1.0}},
        "ids must be among the 3 series.*Got: series 'easy'.*'east'",
    ),
    "unhashable": ({"values": [1.0], "ids": [["east"]]}, "ids must be among"),
    "nothing": ({"values": {}}, "ids must be one id or more"),
    "twice": ({"values": [1.0, 2.0], "ids": ["east", "east"]}, "ids must be listed once"),
    "both": ({"values": {"east": 1.0}, "ids": ["east"]}, "ids must be omitted"),
    "word": ({"values": [1.0], "ids": "east"}, "ids must be a list of ids"),
    "too few": ({"values": [1.0, 2.0]}, r"values must be of shape \(3,\)"),
    "one for all": ({"values": 1.0}, r"values must be of shape \(3,\)"),
    "text": ({"values": {"east": "1"}}, "values must be numbers"),
    "none": ({"values": {"east": None}}, "values must be numbers"),
    "missing": ({"values": {"east": np.nan}}, "without missing targets. .* some targets are NaN"),
    "infinite": ({"values": {"east": np.inf}}, "must be a finite number"),
    "no covariates": (
        {"covariates": None},
        r"covariates must be a dict of \['price', 'promo'\]. Got: covariates=None. "
        r"Pass covariates={'price': {'east': value, ...}, 'promo': {'east': value, ...}}",
    ),
    "missing column": ({"covariates": {"price": 1.0}}, "covariates must be a dict of"),
    "further column": (covariates(prize=1.0), "covariates must be a dict of"),
    "no number": (covariates(price="1"), r"covariates\['price'\] must be numbers"),
    "nan": (covariates(price=np.nan), r"covariates\['price'\] must have a finite value.*nan"),
    "no word": (covariates(promo=3), "another type"),
    "no word at all": (
        covariates(promo=None),
        r"covariates\['promo'\] must have a finite value.*None",
    ),
    "other ids": (covariates(price={"east": 1.0}), "only one of the two has 'west'"),
    "shape": (
        {"future": {**RIGHT["future"], "price": [1.0, 2.0]}},
        r"future\['price'\] must be of shape \(2, 3\)",
    ),
    "no future": (
        {"future": None},
        r"future must be a dict of .* Got: future=None. Pass future=.*'east': \[3 values\], ...",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_used_is_refused_and_nothing_is_taken(fitted, case):
    stepper = fitted("recursive")[0].stepper(implementation="keras")
    before = stepper.state()
    wrong, words = WRONG[case]
    given = RIGHT | wrong
    with pytest.raises((ArgumentError, DataError), match=words):
        stepper.step(given.pop("values"), **given)
    for now, then in zip(stepper.state(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_a_forecast_that_fails_takes_the_observation_back(fitted):
    stepper = fitted("recursive")[0].stepper(implementation="keras")
    before = stepper.state()
    step = RIGHT | {"future": {**RIGHT["future"], "price": np.full((2, 3), 1e9)}}
    with pytest.raises(FarValueWarning):  # warnings are errors in these tests
        stepper.step(step.pop("values"), **step)
    assert_arrays_equal(stepper.state(), before)


def test_states_of_others_are_refused(fitted):
    stepper = fitted("encoder_decoder")[0].stepper()
    data = stepper.pack_state(stepper.state())
    for wrong in (data[:-1], b"", data[:60] + bytes([data[60] ^ 1]) + data[61:]):
        with pytest.raises(FileFormatError):
            stepper.unpack_state(wrong)
    other = fitted("segment_rnn")[0].stepper()
    with pytest.raises(
        FileFormatError, match=r"another forecaster.*covariates and their categories"
    ):
        other.unpack_state(data)
    values, *others = stepper.state()
    with pytest.raises(ArgumentError, match="state must be a tuple of arrays"):
        stepper.restore((values[:, 1:], *others))
    with pytest.raises(ArgumentError, match="a state of this stepper"):
        stepper.restore((values * np.nan, *others))
    with pytest.raises(DataError, match="Got: 3 of 3 rows of other series"):
        stepper.restore((values, others[0], others[1] + 1, others[2]))


def test_a_state_fits_where_the_same_is_meant_and_nowhere_else(fitted):
    forecaster, _ = fitted("segment_rnn")
    data = forecaster.stepper().pack_state(forecaster.stepper().state())
    levels, intervals = forecaster.intervals_.levels, forecaster.intervals_
    other = copy.copy(forecaster).set_params(intervals__levels=(50,), intervals__method="split")
    same = replace(intervals, levels=tuple(np.float64(level) for level in levels))
    other.fitted_ = replace(forecaster.fitted_, intervals=same)
    other.stepper().restore(other.stepper().unpack_state(data))
    for change in ({"levels": (70, 95)}, {"follows": False}):
        other.fitted_ = replace(forecaster.fitted_, intervals=replace(intervals, **change))
        with pytest.raises(FileFormatError, match="levels, whether intervals are adaptive"):
            other.stepper().unpack_state(data)


@pytest.mark.parametrize("model", ["multi_output", "segment_rnn"])
def test_intervals_follow_the_series_as_those_of_update_do(fitted, model):
    """Rows of twice a horizon, much farther away than any before, in steps and at once."""
    forecaster, columns = fitted(model)
    stepper, forecaster = forecaster.stepper(), copy.copy(forecaster)
    steps = [(IDS, [1e3 * turn, 2e3 * turn, 3e3]) for turn in range(2 * HORIZON + 1)]
    check_steps(forecaster, stepper, columns, steps)
    factor = stepper.state()[3]
    np.testing.assert_allclose(factor, forecaster.intervals_.factor)
    assert (factor > 1).any()
    np.testing.assert_array_equal(stepper.state()[2][:, 3], forecaster.intervals_.waiting)
    wrong = list(stepper.state())
    wrong[3] = np.full_like(wrong[3], np.nan)
    with pytest.raises(ArgumentError, match="not finite"):
        stepper.restore(tuple(wrong))


def test_a_network_that_fails_while_intervals_follow_leaves_the_state_as_it_was(
    fitted, monkeypatch
):
    stepper = fitted("segment_rnn")[0].stepper()
    network, before = stepper._network, stepper.state()
    for turn in range(HORIZON - 1):
        stepper.update([1e3 * turn, 2e3, 3e3])

    def fails(*given):
        raise KeyboardInterrupt

    waiting = stepper.state()
    monkeypatch.setattr(type(network), "predict_on_batch", fails)
    with pytest.raises(KeyboardInterrupt):
        stepper.update([1.0, 2.0, 3.0])
    monkeypatch.undo()
    for now, then in zip(stepper.state(), waiting, strict=True):
        np.testing.assert_array_equal(now, then)
    stepper.update([1.0, 2.0, 3.0])
    assert (stepper.state()[2][:, 3] == before[2][:, 3]).all()
    assert (stepper.state()[3] != before[3]).all()


@long_run_only
def test_an_ensemble_is_fed_as_well():
    df = shops()
    forecaster = flat_forecaster(
        HORIZON,
        architecture=["multi_output", "segment_rnn"],
        lookback=LOOKBACK,
        units=3,
        epochs=1,
        seed=0,
        progress=False,
        **POINT,
    ).fit(df)
    steps = [(IDS, [4.0, 40.0, 400.0]), (("west",), [480.0]), (("east",), [5.0])]
    check_steps(copy.copy(forecaster), forecaster.stepper(), Columns(), steps)


def test_holidays_are_known_without_a_frame():
    """The steps come to Good Friday, March 29; only the first series has seen New Year's Day."""
    pytest.importorskip("holidays", reason="needs the extra holidays")
    df = shops(rows=86)  # from January 1, 2 and 3 on
    columns = Columns(calendar=["holidays:DE"])
    forecaster = flat_forecaster(
        HORIZON, lookback=LOOKBACK, units=3, epochs=1, seed=0, progress=False, **POINT
    ).fit(df, columns=columns)
    steps = [(IDS, [4.0 + turn, 40.0, 400.0]) for turn in range(4)]
    check_steps(copy.copy(forecaster), stepper := forecaster.stepper(), columns, steps)
    assert stepper.state()[1].any()
