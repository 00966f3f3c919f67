import copy
import io
import json
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from helpers.examples import covering, examples
from helpers.forecasters import POINT, flat_forecaster
from seqkeras._archive import MAX_TABLE_BYTES, read_archive, write_archive
from seqkeras._keras_graph import _network_file
from seqkeras.errors import ArgumentError, FileFormatError
from seqkeras.forecasting import Columns, Forecaster, Intervals, Network, Training
from seqkeras.forecasting._settings import as_network
from seqkeras.forecasting.fitted import _old_formats, _saving
from seqkeras.forecasting.frames._reading import read_panel
from seqkeras.forecasting.networks._ensemble import members_of
from seqkeras.models import many_to_one

DATA = Path(__file__).parent / "data"


def quick(**options):
    return flat_forecaster(
        4, **{"lookback": 8, "units": 4, "epochs": 1, "seed": 0, "progress": False} | options
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A fitted forecaster and its file."""
    stamps = pd.date_range("2020-01-01", periods=60, freq="h", tz="America/New_York")
    values = np.random.default_rng(0).normal(size=(2, 60)).cumsum(axis=1)
    frames = [pd.DataFrame({"unique_id": i, "ds": stamps, "y": values[i]}) for i in range(2)]
    fitted = quick(levels=(np.int64(50), 90), units=(4, 3)).fit(pd.concat(frames))
    path = tmp_path_factory.mktemp("archive") / "forecaster.zip"
    fitted.save(path)
    return fitted, path


ORDERED = pd.CategoricalDtype(["b", "a", "c"], ordered=True)


@pytest.fixture(scope="module")
def shops():
    """Two series of days, with ids that are ordered categories and a static covariate of words."""
    stamps = pd.date_range("2020-01-01", periods=40, freq="D")
    random = np.random.default_rng(0)
    frames = [
        pd.DataFrame(
            {"unique_id": name, "ds": stamps, "y": 9 + random.normal(size=40), "kind": kind}
        )
        for name, kind in [("a", "large"), ("b", "small")]
    ]
    return pd.concat(frames, ignore_index=True).astype({"unique_id": ORDERED})


@pytest.mark.backends
def test_a_loaded_forecaster_is_the_same(saved):
    fitted, path = saved
    loaded = Forecaster.load(path)
    assert loaded.get_params() == fitted.get_params()
    assert (loaded.log_, loaded.lookback_) == (fitted.log_, fitted.lookback_)
    assert loaded.season_length_ == fitted.season_length_
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)


def test_a_loaded_forecaster_can_be_saved_and_fitted_again(saved, tmp_path):
    fitted, path = saved
    loaded = Forecaster.load(path)
    loaded.save(tmp_path / "again.zip")
    pd.testing.assert_frame_equal(
        Forecaster.load(tmp_path / "again.zip").predict(), fitted.predict(), rtol=1e-6
    )
    frame = loaded.panel_.history_frame()
    assert (
        len(
            loaded.set_params(intervals__levels=(), training__validation=0, lookback=3)
            .fit(frame)
            .predict()
        )
        == 8
    )


def test_the_file_holds_a_header_plain_arrays_and_the_network(saved):
    header, arrays, *_ = opened(saved[1])
    assert header["horizon"] == 4
    assert {array.dtype.kind for array in arrays.values()} <= set("ifu")
    assert arrays["network.keras"].tobytes()[:2] == b"PK"


def builder(features, *, lookback, horizon):
    return many_to_one(features, timesteps=lookback, outputs=horizon, units=4)


def test_a_builder_comes_back_as_its_network(one, tmp_path):
    fitted = quick(architecture=builder, units=None, **POINT).fit(one)
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)
    pd.testing.assert_frame_equal(loaded.fit(one).predict(), fitted.predict(), rtol=1e-4)


@pytest.mark.parametrize("model", [["multi_output", builder], [builder]], ids=["mixed", "one"])
def test_an_ensemble_comes_back_as_one_and_is_fitted_again_as_one(one, tmp_path, model):
    """One of names alone is saved in `tests/forecasting/networks/test_ensemble.py`."""
    fitted = quick(architecture=model, units=2 if len(model) > 1 else None, **POINT).fit(one)
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    for before, now in zip(model, members_of(as_network(loaded.network).architecture), strict=True):
        assert now == before if isinstance(before, str) else isinstance(now, keras.Model)
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)
    if len(model) > 1:
        again = loaded.fit(one)
        pd.testing.assert_frame_equal(again.predict(), fitted.predict(), rtol=1e-4)
        again.save(tmp_path / "f.zip")
        forecast = Forecaster.load(tmp_path / "f.zip").predict()
        pd.testing.assert_frame_equal(forecast, again.predict(), rtol=1e-6)


@pytest.mark.parametrize("model", [builder, [builder] * 2, ["multi_output", builder]])
def test_a_model_that_was_set_after_the_fit_does_not_make_the_file_unreadable(
    saved, tmp_path, model
):
    fitted = copy.copy(saved[0]).set_params(network=model)
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    assert isinstance(loaded.network, keras.Model)
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)


@pytest.mark.parametrize(
    "params", [{"training__validation": 0}, {"lookback": -1}, {"network__architecture": builder}]
)
def test_parameters_that_could_not_be_loaded_are_not_saved(saved, tmp_path, params):
    fitted = copy.copy(saved[0]).set_params(**params)
    with pytest.raises(ArgumentError, match="must be"):
        fitted.save(tmp_path / "f.zip")
    assert not list(tmp_path.iterdir())


def test_a_likelihood_that_was_removed_after_the_fit_stays_removed(one, tmp_path):
    fitted = quick(likelihood="gaussian", **POINT).fit(one).set_params(likelihood=None)
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    assert loaded.likelihood is None
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)


def test_layers_of_the_users_own_are_found(one, tmp_path):
    class Doubling(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    x = keras.Input((8, 1))
    model = keras.Model(x, keras.layers.Dense(4)(Doubling()(x)[:, :, 0]))
    fitted = quick(architecture=model, units=None, **POINT).fit(one)
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip", custom_objects={"Doubling": Doubling})
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)


def test_numbers_of_numpy_are_saved_like_pythons(saved, tmp_path):
    fitted = copy.copy(saved[0]).set_params(training__learning_rate=np.float32(0.001))
    assert isinstance(fitted.intervals.levels[0], np.int64)
    assert isinstance(fitted.intervals_.levels[0], np.int64)
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    assert loaded.intervals == Intervals((50, 90))
    assert loaded.training.learning_rate == pytest.approx(0.001)


def test_ids_that_json_cannot_hold_are_refused_and_no_file_is_left(saved, tmp_path):
    fitted = copy.copy(saved[0])
    panel = replace(fitted.panel_, ids=pd.Index([object(), object()]))
    fitted.fitted_ = replace(fitted.fitted_, panel=panel)
    with pytest.raises(ArgumentError, match="numbers or text"):
        fitted.save(tmp_path / "f.zip")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_survives_a_failed_save(saved, tmp_path, monkeypatch):
    fitted, path = saved
    target = tmp_path / "f.zip"
    shutil.copy(path, target)
    before = target.read_bytes()

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(fitted.model_), "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted.save(target)
    assert target.read_bytes() == before
    assert list(tmp_path.iterdir()) == [target]


def opened(path):
    return read_archive(path, kind=_saving.FILE_KIND, version=_saving.VERSION)


def rewrite(path, target, header=None, arrays=None, version=_saving.VERSION):
    """Write the file again, with another header, or with some arrays replaced; None drops one."""
    old_header, old_arrays, *_ = opened(path)
    changed = {**old_arrays, **(arrays or {})}
    whole = {name: array for name, array in changed.items() if array is not None}
    write_archive(target, header or old_header, whole, kind=_saving.FILE_KIND, version=version)


RUBBISH = np.frombuffer(b"rubbish", np.uint8)


@pytest.mark.parametrize("name", ["values", "network.keras", "ids", "log_0_loss", "radius"])
@pytest.mark.parametrize("data", [None, RUBBISH, np.zeros((0, 2))], ids=["none", "bytes", "empty"])
def test_a_damaged_array_is_refused(saved, tmp_path, name, data):
    rewrite(saved[1], tmp_path / "damaged", arrays={name: data})
    with pytest.raises(FileFormatError, match="is not a forecaster"):
        Forecaster.load(tmp_path / "damaged")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, tmp_path, share):
    whole = saved[1].read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FileFormatError, match="is not a"):
        Forecaster.load(tmp_path / "cut.zip")


@pytest.mark.parametrize("seed", range(25))
def test_a_byte_changed_anywhere_is_refused(saved, tmp_path, seed):
    random = np.random.default_rng(seed)
    whole = bytearray(saved[1].read_bytes())
    whole[random.integers(len(whole))] ^= int(random.integers(1, 256))
    (tmp_path / "flipped.zip").write_bytes(whole)
    with pytest.raises(FileFormatError):
        Forecaster.load(tmp_path / "flipped.zip")


@pytest.mark.parametrize(
    "change",
    [
        {"horizon": 500},
        {"horizon": "abc"},
        {"levels": [50]},
        {"calendar": {"dtype": "datetime64[us, America/New_York]", "freq": "rubbish"}},
        {"columns": {}},
        {"best_epochs": []},
        {"best_epochs": [1, 2]},
        {"params": None},
    ],
    ids=str,
)
def test_parts_that_do_not_fit_each_other_are_refused_at_load(saved, tmp_path, change):
    rewrite(saved[1], tmp_path / "unfit.zip", header=opened(saved[1]).header | change)
    with pytest.raises(FileFormatError, match="is not a forecaster"):
        Forecaster.load(tmp_path / "unfit.zip")


def places(part, way=()):
    """The way to every part of a header but the network's own."""
    inner = part.items() if isinstance(part, dict) else enumerate(part)
    for name, value in inner:
        yield (*way, name)
        if isinstance(value, dict | list):
            yield from places(value, (*way, name))


def put(header, way, value):
    """A copy of a header with another value in one place; `...` leaves it away."""
    header = part = copy.deepcopy(header)
    for name in way[:-1]:
        part = part[name]
    if value is ...:
        del part[way[-1]]
    else:
        part[way[-1]] = value
    return header


@pytest.fixture(scope="module")
def whole(shops, tmp_path_factory):
    """A file with everything in its header, and the forecast of the forecaster in it."""
    columns = Columns(static=["kind"], calendar=["day_of_week"])
    path = tmp_path_factory.mktemp("whole") / "f.zip"
    fitted = quick(levels=(50,)).fit(shops.set_index(["unique_id", "ds"]), columns=columns)
    fitted.save(path)
    return path, fitted.predict()


VALUES = [
    ...,
    None,
    True,
    -1,
    0,
    1,
    2.5,
    10**12,
    "",
    "abc",
    "1D",
    [],
    [1],
    ["a"],
    [[]],
    {},
    {"a": 1},
]


@examples(12)
@given(place=st.integers(0, 10**6), value=st.sampled_from(VALUES))
@example(("shape", "kind"), "abc")
@example(("shape", "names"), ["a"])
@example(("levels", 0), "abc")
@example(("calendar", "freq"), "-1D")
@example(("covariates", "calendar", 0), "abc")
@example(("covariates", "categories", "kind"), [[]])
@example(("season_length",), 0)
@example(("best_epochs", 0), "abc")
@example(("params", "network", "architecture"), [])
@example(("columns", "time"), [1])
@example(("ids_dtype", "ordered"), "abc")
@example(("params", "training", "patience"), "abc")
def test_whatever_stands_in_the_header_is_refused_or_harmless(whole, place, value):
    path, header = whole[0], opened(whole[0]).header
    ways = list(places(header))
    way = ways[place % len(ways)] if isinstance(place, int) else place
    target = path.with_name("changed.zip")
    rewrite(path, target, header=put(header, way, value))
    try:
        loaded = Forecaster.load(target)
    except FileFormatError:
        return
    assert len(loaded.predict()) == 8


def test_ids_that_are_categories_keep_their_order(whole):
    path, expected = whole
    answer = Forecaster.load(path).predict()
    assert answer.index.levels[0].dtype == ORDERED
    pd.testing.assert_frame_equal(answer, expected, rtol=1e-6)


def test_a_later_version_is_refused_with_the_way_out(saved, tmp_path):
    rewrite(saved[1], tmp_path / "later.zip", version=99)
    with pytest.raises(FileFormatError, match=r"later version.*pip install -U seqkeras"):
        Forecaster.load(tmp_path / "later.zip")


def test_a_network_that_unpacks_to_too_much_is_not_unpacked(saved, tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", bytes(10**6))
    bomb = np.frombuffer((tmp_path / "bomb.keras").read_bytes(), np.uint8)
    rewrite(saved[1], tmp_path / "bomb.zip", arrays={"network.keras": bomb})
    monkeypatch.setattr(_network_file, "MAX_BYTES", 10**6 - 1)
    with pytest.raises(FileFormatError, match="would unpack to 1000000 bytes"):
        Forecaster.load(tmp_path / "bomb.zip")


@pytest.mark.parametrize("member", ["config.json", "metadata.json"])
def test_json_of_a_network_is_limited_before_it_is_parsed(saved, tmp_path, member):
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(member, b"[" + b"[]," * (MAX_TABLE_BYTES // 3) + b"[]]")
    bomb = np.frombuffer((tmp_path / "bomb.keras").read_bytes(), np.uint8)
    rewrite(saved[1], tmp_path / "bomb.zip", arrays={"network.keras": bomb})
    with pytest.raises(FileFormatError, match=r"its network would unpack to .* bytes of JSON"):
        Forecaster.load(tmp_path / "bomb.zip")


def test_an_absurd_horizon_takes_no_memory(one, tmp_path):
    quick(architecture="recursive", **POINT).fit(one).save(tmp_path / "f")
    header = opened(tmp_path / "f").header | {"horizon": 2**40}
    rewrite(tmp_path / "f", tmp_path / "absurd", header=header)
    with pytest.raises(FileFormatError, match="its horizon is longer than 1048576 steps"):
        Forecaster.load(tmp_path / "absurd")


@pytest.mark.parametrize("code", [-1, 3])
def test_codes_beyond_the_categories_are_refused(whole, tmp_path, code):
    codes = opened(whole[0]).arrays["categories"].copy()
    codes[0] = code
    rewrite(whole[0], tmp_path / "wrong", arrays={"categories": codes})
    with pytest.raises(FileFormatError, match=r"codes below \(3,\)"):
        Forecaster.load(tmp_path / "wrong")


def test_ids_of_every_kind_come_back(tmp_path):
    times = pd.date_range("2024-01-01", periods=30)
    fitted = None
    for ids in (["a", "b"], [3, 1], [1.5, 2.5], [True, False]):
        frames = [pd.DataFrame({"unique_id": i, "ds": times, "y": np.arange(30.0)}) for i in ids]
        if fitted is None:
            fitted = quick(**POINT).fit(pd.concat(frames))
        panel = read_panel(pd.concat(frames)).tail(fitted.lookback_)
        fitted.fitted_ = replace(fitted.fitted_, panel=panel)
        fitted.save(tmp_path / "f.zip")
        forecast = Forecaster.load(tmp_path / "f.zip").predict()
        assert forecast.unique_id.unique().tolist() == ids
        pd.testing.assert_frame_equal(forecast, fitted.predict(), rtol=1e-6)


def test_a_file_of_the_first_version_still_loads():
    """The file and its forecast were written when the format had version 1."""
    loaded = Forecaster.load(DATA / "forecaster_1.zip")
    expected = pd.read_csv(DATA / "forecaster_1.csv").astype({"day": loaded.panel_.last.dtype})
    pd.testing.assert_frame_equal(loaded.predict(), expected, check_dtype=False, rtol=1e-5)


def test_a_file_of_the_second_version_still_loads_and_its_intervals_stay_as_they_are():
    loaded = Forecaster.load(DATA / "forecaster_2.zip")
    expected = pd.read_csv(DATA / "forecaster_2.csv").astype({"day": loaded.panel_.last.dtype})
    future = loaded.future_frame().assign(price=1.5)
    found = loaded.predict(future=future)
    pd.testing.assert_frame_equal(found, expected, check_dtype=False, rtol=1e-5)
    newer = future.assign(price=1.5, sold=1e3, kind="large")
    loaded.update(newer)
    assert loaded.intervals == Intervals((80,), method="split")
    assert (loaded.intervals_.factor == 1).all()
    assert loaded.panel_.values.lengths.tolist() == [6, 6]


def test_a_file_of_the_third_version_still_loads(tmp_path):
    loaded = Forecaster.load(DATA / "forecaster_3.zip")
    expected = pd.read_csv(DATA / "forecaster_3.csv").astype({"day": loaded.panel_.last.dtype})
    forecast = loaded.predict(future=loaded.future_frame().assign(price=1.5))
    pd.testing.assert_frame_equal(forecast, expected, check_dtype=False, rtol=1e-5)
    assert loaded.network == Network(["multi_output", "segment_rnn"], units=3)
    assert loaded.intervals == Intervals((80,))
    assert loaded.training == Training(epochs=2, progress=False)
    assert loaded.fitted_.short_series == "skip"


def old_file(target, members):
    """Write a file of format 3 with some of its members replaced; None drops one."""
    with zipfile.ZipFile(DATA / "forecaster_3.zip") as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = members.get(name, old.read(name))
            if data is not None:
                new.writestr(name, data)


@pytest.mark.parametrize("member", ["header.json", "arrays/values", "network.keras"])
@pytest.mark.parametrize("data", [None, b"", b"rubbish", b"[]"])
def test_a_damaged_file_of_the_third_version_is_refused(tmp_path, member, data):
    old_file(tmp_path / "damaged.zip", {member: data})
    with pytest.raises(FileFormatError, match="is not a"):
        Forecaster.load(tmp_path / "damaged.zip")


def damaged_zips():
    """Return the bytes of files of format 3, each with the damage of one field, by its name."""
    files = {}
    whole = (DATA / "forecaster_3.zip").read_bytes()
    with zipfile.ZipFile(DATA / "forecaster_3.zip") as file:
        members = {name: file.read(name) for name in file.namelist()}
    for method in (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as file:
            for name, data in members.items():
                file.writestr(name, data)
        packed = stream.getvalue()
        for place in range(60, len(packed) // 2, len(packed) // 8):
            changed = bytearray(packed)
            changed[place : place + 4] = b"\xff\x00\xff\x00"
            files[f"method {method}, byte {place}"] = bytes(changed)
    entry = whole.rindex(b"PK\x01\x02")
    for offset in (8, 10, 20, 24, 28, 42):  # flags, method, sizes, length of the name, offset
        for bit in (2, 30):
            changed = bytearray(whole)
            changed[entry + offset + bit // 8] ^= 1 << bit % 8
            files[f"entry {offset}, bit {bit}"] = bytes(changed)
    end = whole.rindex(b"PK\x05\x06")
    for offset in (12, 16):  # size and offset of the directory
        changed = bytearray(whole)
        changed[end + offset + 3] ^= 0x40
        files[f"end {offset}"] = bytes(changed)
    return files


DAMAGED_ZIPS = damaged_zips()


@pytest.mark.parametrize("damage", DAMAGED_ZIPS)
def test_a_damaged_zip_is_refused_or_loads_as_it_was(tmp_path, damage):
    (tmp_path / "damaged.zip").write_bytes(DAMAGED_ZIPS[damage])
    try:
        loaded = Forecaster.load(tmp_path / "damaged.zip")
    except FileFormatError:
        return
    assert loaded.network == Network(["multi_output", "segment_rnn"], units=3)


def test_a_header_of_many_megabytes_is_not_parsed(tmp_path):
    lists = b"[" + b"[]," * (MAX_TABLE_BYTES // 3) + b"[]]"
    old_file(tmp_path / "bomb.zip", {"header.json": lists})
    with pytest.raises(FileFormatError, match="bytes of JSON; the limit is"):
        Forecaster.load(tmp_path / "bomb.zip")


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileFormatError, match="must be a regular file"):
        Forecaster.load(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("values", ["<f8", [10**15]]),
        ("values", ["|O", [2]]),
        ("values", ["<f8", [-1, -1]]),
        ("indptr", ["<f8", [3]]),
    ],
)
def test_an_old_header_that_lies_about_arrays_is_refused(tmp_path, name, entry):
    with zipfile.ZipFile(DATA / "forecaster_3.zip") as file:
        header = json.loads(file.read("header.json"))
    header["arrays"][name] = entry
    old_file(tmp_path / "lying.zip", {"header.json": json.dumps(header)})
    with pytest.raises(FileFormatError, match="is not a forecaster"):
        Forecaster.load(tmp_path / "lying.zip")


def test_an_old_file_that_unpacks_to_too_much_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(_old_formats, "MAX_BYTES", 1000)
    with pytest.raises(FileFormatError, match=r"would unpack to \d+ bytes; the limit is 1000"):
        Forecaster.load(DATA / "forecaster_3.zip")


HOLIDAYS = ["2024-12-25", "2024-12-26"]
#: In an order whose every second one is of another kind: a day, an hour, a month, a word.
STEPS = [
    pd.offsets.CustomBusinessDay(holidays=HOLIDAYS, weekmask="Mon Tue Wed Thu Fri Sat"),
    2 * pd.DateOffset(months=1),
    pd.offsets.CustomBusinessHour(start="10:00", end="16:00", holidays=HOLIDAYS),
    pd.offsets.CustomBusinessMonthEnd(holidays=["2024-12-31"]),
    pd.DateOffset(months=1, day=30),
    pd.offsets.Easter(),
    pd.offsets.Week(),
]


@pytest.fixture(scope="module")
def stepping():
    """Return a function that fits rows of a step; the network is trained for the first one only."""
    fits = []

    def fit(step):
        times = [pd.Timestamp("2020-01-15") + step]
        while len(times) < 40:
            times.append(times[-1] + step)
        df = pd.DataFrame({"ds": times, "y": np.arange(40) % 5.0})
        columns = Columns(freq=step, calendar="day_of_week")
        if not fits:
            fits.append(quick(**POINT).fit(df.head(30), columns=columns))
            return fits[0], df
        panel = read_panel(df.head(30), columns).tail(fits[0].lookback_)
        other = copy.copy(fits[0])
        other.fitted_ = replace(other.fitted_, panel=panel)
        return other, df

    return fit


@pytest.mark.parametrize("step", covering(STEPS, 2), ids=lambda step: repr(step))
def test_every_way_on_from_a_fit_takes_the_steps_of_its_offset(step, stepping, tmp_path):
    fitted, df = stepping(step)
    times = df.ds.tolist()
    assert fitted.predict().ds.tolist() == times[30:34]
    fitted.save(tmp_path / "f")
    loaded = Forecaster.load(tmp_path / "f")
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict())
    assert loaded.predict(df=df.head(20)).ds.tolist() == times[20:24]
    stepper = loaded.stepper()
    stepper.step(df.y[30])
    assert stepper.timestamps()[0] == times[30]
    packed = stepper.pack_state(stepper.state())
    assert fitted.stepper().unpack_state(packed)[2].tolist() == stepper.state()[2].tolist()
    loaded.update(df[30:35])
    assert loaded.future_frame().ds.tolist() == times[35:39]


def test_a_file_with_a_damaged_offset_is_refused(whole, tmp_path):
    for freq in ("os.system {}", 'DateOffset {"months"', 'DateOffset {"moons": 1}', "fortnight"):
        header = put(opened(whole[0]).header, ("calendar", "freq"), freq)
        rewrite(whole[0], tmp_path / "f", header=header)
        with pytest.raises(FileFormatError, match="is not a forecaster, is damaged"):
            Forecaster.load(tmp_path / "f")
