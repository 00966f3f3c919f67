import copy
import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqkeras.errors import DataError, FileFormatError
from seqkeras.forecasting import Forecaster
from seqkeras.models import many_to_one

DATA = Path(__file__).parent / "data"


def quick(**options):
    return Forecaster(
        4, **{"lookback": 8, "units": 4, "epochs": 1, "seed": 0, "progress": False} | options
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A fitted forecaster and its file."""
    stamps = pd.date_range("2020-01-01", periods=60, freq="h", tz="America/New_York")
    values = np.random.default_rng(0).normal(size=(2, 60)).cumsum(axis=1)
    frames = [pd.DataFrame({"unique_id": i, "ds": stamps, "y": values[i]}) for i in range(2)]
    fitted = quick(levels=(50, 90), units=(4, 3)).fit(pd.concat(frames))
    path = tmp_path_factory.mktemp("archive") / "forecaster.zip"
    fitted.save(path)
    return fitted, path


@pytest.fixture(scope="module")
def shops():
    """Two series of days, with ids that are categories and a static covariate of words."""
    stamps = pd.date_range("2020-01-01", periods=40, freq="D")
    random = np.random.default_rng(0)
    frames = [
        pd.DataFrame({"unique_id": name, "ds": stamps, "y": random.normal(size=40), "kind": kind})
        for name, kind in [("a", "large"), ("b", "small")]
    ]
    return pd.concat(frames, ignore_index=True).astype({"unique_id": "category"})


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
    assert len(loaded.set_params(levels=(), validation=0, lookback=3).fit(frame).predict()) == 8


def test_the_file_holds_no_pickle(saved):
    with zipfile.ZipFile(saved[1]) as file:
        header = json.loads(file.read("header.json"))
        arrays = {f"arrays/{name}" for name in header["arrays"]}
        assert set(file.namelist()) == {"header.json", "network.keras"} | arrays
        assert header["format"] == "seqkeras.Forecaster"
        assert {np.dtype(dtype).kind for dtype, _ in header["arrays"].values()} <= set("if")


def builder(features, *, lookback, horizon):
    return many_to_one(features, timesteps=lookback, outputs=horizon, units=4)


def test_a_builder_comes_back_as_its_network(one, tmp_path):
    fitted = quick(model=builder, units=None).fit(one)
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)
    pd.testing.assert_frame_equal(loaded.fit(one).predict(), fitted.predict(), rtol=1e-4)


@pytest.mark.parametrize(
    "model",
    [["multi_output", builder], [builder, "segment_rnn", builder], ["multi_output"] * 2, [builder]],
    ids=["mixed", "three", "names", "one"],
)
def test_an_ensemble_comes_back_as_one_and_is_fitted_again_as_one(one, tmp_path, model):
    named = any(isinstance(part, str) for part in model)
    fitted = quick(model=model, units=2 if named else None).fit(one)
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    assert loaded.units == fitted.units
    for before, now in zip(model, loaded.model, strict=True):
        assert now == before if isinstance(before, str) else isinstance(now, keras.Model)
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)
    if model[1:] == [builder]:
        again = loaded.fit(one)
        pd.testing.assert_frame_equal(again.predict(), fitted.predict(), rtol=1e-4)
        again.save(tmp_path / "f.zip")
        found = Forecaster.load(tmp_path / "f.zip").predict()
        pd.testing.assert_frame_equal(found, again.predict(), rtol=1e-6)


@pytest.mark.parametrize("model", [builder, [builder] * 2, ["multi_output", builder]])
def test_a_model_that_was_set_after_the_fit_does_not_make_the_file_unreadable(
    saved, tmp_path, model
):
    fitted = copy.copy(saved[0]).set_params(model=model)
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip")
    assert isinstance(loaded.model, keras.Model)
    assert loaded.units is None
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)


def test_layers_of_the_users_own_are_found(one, tmp_path):
    class Doubling(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    x = keras.Input((8, 1))
    model = keras.Model(x, keras.layers.Dense(4)(Doubling()(x)[:, :, 0]))
    fitted = quick(model=model, units=None).fit(one)
    fitted.save(tmp_path / "f.zip")
    loaded = Forecaster.load(tmp_path / "f.zip", custom_objects={"Doubling": Doubling})
    pd.testing.assert_frame_equal(loaded.predict(), fitted.predict(), rtol=1e-6)


def test_numbers_of_numpy_are_saved_like_pythons(one, tmp_path):
    fitted = quick(levels=(np.int64(80),), learning_rate=np.float32(0.001)).fit(one)
    fitted.save(tmp_path / "f.zip")
    assert Forecaster.load(tmp_path / "f.zip").levels == (80,)


def test_ids_that_json_cannot_hold_are_refused_and_no_file_is_left(one, tmp_path):
    fitted = quick().fit(one)
    fitted.panel_ = replace(fitted.panel_, ids=pd.Index([object()]))
    with pytest.raises(DataError, match="cannot be saved"):
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


def rewrite(path, target, changes):
    """A copy of the archive with other bytes in some members; None drops one."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = changes.get(name, old.read(name))
            if data is not None:
                new.writestr(name, data)


@pytest.mark.parametrize("member", ["header.json", "arrays/values", "network.keras"])
@pytest.mark.parametrize("data", [None, b"", b"rubbish", b"[]"])
def test_a_damaged_member_is_refused(saved, tmp_path, member, data):
    target = tmp_path / "damaged.zip"
    rewrite(saved[1], target, {member: data})
    with pytest.raises(FileFormatError, match="is not a"):
        Forecaster.load(target)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(saved, tmp_path, share):
    whole = saved[1].read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(FileFormatError, match="is not a forecaster, or is damaged"):
        Forecaster.load(tmp_path / "cut.zip")


def test_a_flipped_byte_is_refused(saved, tmp_path):
    whole = bytearray(saved[1].read_bytes())
    with zipfile.ZipFile(saved[1]) as file:
        middle = file.getinfo("network.keras").header_offset + 2000
    whole[middle] ^= 0xFF
    (tmp_path / "flipped.zip").write_bytes(whole)
    with pytest.raises(FileFormatError, match="damaged"):
        Forecaster.load(tmp_path / "flipped.zip")


@pytest.mark.parametrize("seed", range(25))
def test_a_byte_changed_anywhere_is_refused_or_harmless(saved, tmp_path, seed):
    random = np.random.default_rng(seed)
    whole = bytearray(saved[1].read_bytes())
    whole[random.integers(len(whole))] ^= int(random.integers(1, 256))
    (tmp_path / "flipped.zip").write_bytes(whole)
    try:
        loaded = Forecaster.load(tmp_path / "flipped.zip")
    except FileFormatError:
        return
    pd.testing.assert_frame_equal(loaded.predict(), saved[0].predict(), rtol=1e-6)


@pytest.mark.parametrize(
    "change",
    [
        {"horizon": 500},
        {"horizon": "abc"},
        {"levels": [50]},
        {"ids": [1]},
        {"calendar": {"dtype": "datetime64[us, America/New_York]", "freq": "rubbish"}},
        {"columns": {}},
        {"arrays": []},
        {"params": None},
    ],
    ids=str,
)
def test_parts_that_do_not_fit_each_other_are_refused_at_load(saved, tmp_path, change):
    with zipfile.ZipFile(saved[1]) as file:
        header = json.loads(file.read("header.json")) | change
    rewrite(saved[1], tmp_path / "unfit.zip", {"header.json": json.dumps(header).encode()})
    with pytest.raises(FileFormatError, match="is not a forecaster, or is damaged"):
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
    """A file with everything in its header, and that."""
    columns = {"static_covariates": ["kind"], "calendar": ["day_of_week"]}
    path = tmp_path_factory.mktemp("whole") / "f.zip"
    quick(levels=(50,)).fit(shops.set_index(["unique_id", "ds"]), **columns).save(path)
    with zipfile.ZipFile(path) as file:
        return path, json.loads(file.read("header.json"))


VALUES = [
    ..., None, True, -1, 0, 1, 2.5, 10**12, float("nan"), "", "abc", "1D", [], [1], ["a"], [[]], {},
    {"a": 1},
]  # fmt: skip


@settings(max_examples=100)
@given(place=st.integers(0, 10**6), value=st.sampled_from(VALUES))
@example(("shape", "kind"), "abc")
@example(("shape", "names"), ["a"])
@example(("levels", 0), "abc")
@example(("calendar", "freq"), "-1D")
@example(("covariates", "calendar", 0), "abc")
@example(("covariates", "categories", "kind", 0), [])
@example(("season_length",), 0)
@example(("logs", 0, "loss"), "abc")
@example(("params", "model"), [])
@example(("columns", "time"), [1])
@example(("ids_dtype", "ordered"), "abc")
@example(("params", "patience"), "abc")
def test_whatever_stands_in_the_header_is_refused_or_harmless(whole, place, value):
    path, header = whole
    ways = list(places(header))
    way = ways[place % len(ways)] if isinstance(place, int) else place
    target = path.with_name("changed.zip")
    changed = json.dumps(put(header, way, value)).encode()
    rewrite(path, target, {"header.json": changed})
    try:
        loaded = Forecaster.load(target)
    except FileFormatError:
        return
    assert len(loaded.predict()) == 8


def test_ids_that_are_categories_keep_their_order(shops, tmp_path):
    kind = pd.CategoricalDtype(["b", "a", "c"], ordered=True)
    fitted = quick().fit(shops.astype({"unique_id": kind}))
    fitted.save(tmp_path / "f.zip")
    answer = Forecaster.load(tmp_path / "f.zip").predict()
    assert answer.unique_id.dtype == kind
    pd.testing.assert_frame_equal(answer, fitted.predict(), rtol=1e-6)


def test_a_later_version_is_refused_with_the_way_out(saved, tmp_path):
    with zipfile.ZipFile(saved[1]) as file:
        header = json.loads(file.read("header.json"))
    header["version"] = 99
    rewrite(saved[1], tmp_path / "later.zip", {"header.json": json.dumps(header).encode()})
    with pytest.raises(FileFormatError, match=r"later version.*pip install -U seqkeras"):
        Forecaster.load(tmp_path / "later.zip")


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("values", ["<f8", [10**15]]),
        ("values", ["|O", [2]]),
        ("values", ["<f8", [-1, -1]]),
        ("center", ["<f4", [4]]),
        ("indptr", ["<f8", [3]]),
    ],
)
def test_a_header_that_lies_about_arrays_is_refused(saved, tmp_path, name, entry):
    with zipfile.ZipFile(saved[1]) as file:
        header = json.loads(file.read("header.json"))
    header["arrays"][name] = entry
    rewrite(saved[1], tmp_path / "lying.zip", {"header.json": json.dumps(header).encode()})
    with pytest.raises(FileFormatError, match="is not a forecaster, or is damaged"):
        Forecaster.load(tmp_path / "lying.zip")


def test_a_file_that_unpacks_to_too_much_is_not_unpacked(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("seqkeras.forecasting.fitted._saving.MAX_BYTES", 1000)
    with pytest.raises(FileFormatError, match=r"would unpack to \d+ bytes; at most 1000 are read"):
        Forecaster.load(saved[1])


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
    assert loaded.intervals == "split"
    assert (loaded.intervals_.factor == 1).all()
    assert loaded.panel_.values.lengths.tolist() == [6, 6]
