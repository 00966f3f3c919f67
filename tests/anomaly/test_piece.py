"""Tests of what all pieces promise: clones, plain states, new fits, errors before a fit."""

import json

import numpy as np
import pytest
from sklearn.base import clone

from seqkeras._archive import read_archive, write_archive
from seqkeras.anomaly import (
    L1,
    L2,
    MAD,
    AmplitudeFusion,
    Conformal,
    ExponentialSmoothing,
    FBeta,
    GaussianNLL,
    KSigma,
    Mahalanobis,
    MovingAverage,
    Overlap,
    PeaksOverThreshold,
    Quantile,
    piece_from_state,
)
from seqkeras.errors import ArgumentError, NotFittedError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(600, 2))
SCORES = RNG.exponential(size=600)
LABELS = SCORES > 3

# Each piece with parameters other than the defaults, how it is fitted, and what it computes.
PIECES = {
    "L1": (L1(scaled=False), lambda p: p.fit(ROWS), lambda p: p.score(ROWS)),
    "L2": (L2(scaled=False), lambda p: p.fit(ROWS), lambda p: p.score(ROWS)),
    "Mahalanobis": (Mahalanobis(0.3), lambda p: p.fit(ROWS), lambda p: p.score(ROWS)),
    "GaussianNLL": (GaussianNLL(0.3), lambda p: p.fit(ROWS), lambda p: p.score(ROWS)),
    "AmplitudeFusion": (
        AmplitudeFusion(0.3, window=9, causal=True),
        lambda p: p.fit(ROWS, SCORES),
        lambda p: p.fuse(ROWS, SCORES),
    ),
    "Quantile": (Quantile(0.2), lambda p: p.fit(SCORES), lambda p: p.predict(SCORES)),
    "KSigma": (KSigma(2.0), lambda p: p.fit(SCORES), lambda p: p.predict(SCORES)),
    "MAD": (MAD(2.0), lambda p: p.fit(SCORES), lambda p: p.predict(SCORES)),
    "PeaksOverThreshold": (
        PeaksOverThreshold(0.01, level=0.9),
        lambda p: p.fit(SCORES),
        lambda p: p.predict(SCORES),
    ),
    "Conformal": (Conformal(0.1, adapt=1.0), lambda p: p.fit(SCORES), lambda p: p.predict(SCORES)),
    "FBeta": (FBeta(2.0), lambda p: p.fit(SCORES, LABELS), lambda p: p.predict(SCORES)),
    "ExponentialSmoothing": (
        ExponentialSmoothing(3.0),
        lambda p: p,
        lambda p: p.smooth(SCORES),
    ),
    "MovingAverage": (MovingAverage(9), lambda p: p, lambda p: p.smooth(SCORES)),
    "Overlap": (Overlap("max"), lambda p: p, lambda p: p.combine(ROWS, np.arange(600), 601)),
}
each_piece = pytest.mark.parametrize("name", PIECES)


@each_piece
def test_a_clone_has_the_same_parameters_and_no_fitted_values(name):
    piece, fit, _ = PIECES[name]
    copy = clone(fit(clone(piece)))
    assert copy.get_params() == piece.get_params()
    assert set(vars(copy)) == set(piece.get_params())
    assert repr(copy) == repr(piece)


@each_piece
def test_a_piece_comes_back_from_a_file_and_computes_the_same(name, tmp_path):
    piece, fit, compute = PIECES[name]
    piece = fit(clone(piece))
    state = piece.to_state()
    arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
    header = {key: value for key, value in state.items() if key not in arrays}
    path = tmp_path / "piece.bin"
    write_archive(path, header, arrays, kind="test", version=1)
    archive = read_archive(path, kind="test", version=1)
    loaded = piece_from_state({**archive.header, **archive.arrays})
    assert type(loaded) is type(piece)
    assert loaded.get_params() == piece.get_params()
    np.testing.assert_array_equal(compute(loaded), compute(piece))


@each_piece
def test_a_piece_fitted_again_equals_one_fitted_once(name):
    piece, fit, compute = PIECES[name]
    twice = fit(fit(clone(piece)))
    np.testing.assert_array_equal(compute(twice), compute(fit(clone(piece))))


@pytest.mark.parametrize("name", [n for n, (p, _, _) in PIECES.items() if hasattr(p, "fit")])
def test_a_piece_that_is_not_fitted_says_so(name):
    piece, _, compute = PIECES[name]
    with pytest.raises(NotFittedError, match="Call fit first"):
        compute(clone(piece))


def test_an_unfitted_piece_keeps_its_parameters_in_a_state():
    state = KSigma(k=2.5).to_state()
    assert json.loads(json.dumps(state)) == {"kind": "KSigma", "k": 2.5}
    assert piece_from_state(state).k == 2.5


def test_parameters_of_numpy_become_plain_ones_in_a_state():
    state = Conformal(np.float64(0.1), adapt=np.int64(2)).fit(SCORES).to_state()
    assert type(state["false_alarm_rate"]) is float
    assert type(state["adapt"]) is int


def test_wrong_names_are_refused():
    with pytest.raises(ArgumentError, match="parameter must be one of k"):
        KSigma().set_params(sigma=2)
    with pytest.raises(ArgumentError, match="Did you mean 'KSigma'"):
        piece_from_state({"kind": "Ksigma"})
    with pytest.raises(ArgumentError, match="fitted values of KSigma"):
        piece_from_state({"kind": "KSigma", "k": 2.0, "fit": np.zeros(1)})
    assert KSigma().set_params(k=2).k == 2
