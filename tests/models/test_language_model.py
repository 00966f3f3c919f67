"""Language models: one set of numbers in every form."""

import keras
import numpy as np
import pytest

from seqkeras import kernels, native, runtime, states
from seqkeras.errors import ArgumentError
from seqkeras.export import save_onnx, save_program
from seqkeras.models import language_model
from seqkeras.stepwise import rollout
from seqkeras.text import TokenBatches, TokenCrossEntropy
from seqkeras.training import fit_stateful

BUILT = pytest.mark.skipif(native.why_not() is not None, reason=str(native.why_not()))
SIZE, ROWS, STEPS = 9, 2, 6
IDS = np.random.default_rng(0).integers(1, SIZE, (ROWS, STEPS)).astype("int32")
MODELS = {
    "lstm": {"units": (5, 4), "dropout": 0.3},
    "tied gru": {"units": 5, "cell": "gru", "tied": True, "embedding": 3, "mask_zero": True},
    "projected": {"units": 4, "layer_options": {"unit_forget_bias": False}, "input_projection": 3},
}


@pytest.fixture(scope="module", params=MODELS.values(), ids=list(MODELS))
def model(request):
    model = language_model(SIZE, **request.param)
    random = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(random.normal(0, 0.7, weight.shape))
    return model


def logits(model, ids=IDS):
    return keras.ops.convert_to_numpy(model(ids))


def test_logits_of_a_timestep_depend_on_the_tokens_up_to_it(model):
    whole = logits(model)
    assert whole.shape == (ROWS, STEPS, SIZE)
    np.testing.assert_allclose(logits(model, IDS[:, :3]), whole[:, :3], atol=1e-6)


def test_a_stateful_copy_continues_from_batch_to_batch(model):
    stateful = states.as_stateful(model, ROWS)
    parts = [logits(stateful, IDS[:, :2]), logits(stateful, IDS[:, 2:])]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), logits(model), atol=1e-6)


def greedy(logits, seed):
    # Not id 0, which is padding for some of the models.
    return keras.ops.cast(keras.ops.argmax(logits[:, 1:], axis=-1) + 1, "int32")


def test_a_rollout_is_the_loop_over_the_growing_text(model):
    text = IDS
    for _ in range(4):
        following = logits(model, text)[:, -1, 1:].argmax(axis=-1) + 1
        text = np.concatenate([text, following[:, np.newaxis].astype("int32")], axis=1)
    np.testing.assert_array_equal(rollout(model, IDS, 4, sample=greedy), text[:, STEPS:])


@pytest.mark.parametrize("form", ["program", "onnx"])
def test_a_program_gives_the_same_step_by_step(model, form, tmp_path):
    if form == "onnx":
        pytest.importorskip("onnxruntime", reason="needs the extra onnx")
        save_onnx(model, tmp_path / "model.onnx")
        program = runtime.load_onnx(tmp_path / "model.onnx")
    else:
        save_program(model, tmp_path / "model.program")
        program = runtime.load(tmp_path / "model.program")
    expected = logits(model)
    state = program.initial_state(ROWS)
    for step in range(STEPS):
        y, state = program.step(IDS[:, step], state)
        np.testing.assert_allclose(y, expected[:, step], atol=1e-5)


def test_it_is_saved_and_loaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(logits(loaded), logits(model), atol=1e-6)


@pytest.mark.backends
def test_it_learns_in_fit_stateful_and_carries_its_state():
    # The token after a 1 depends on the token before it: 2 1 3, 4 1 5.
    text = np.random.default_rng(0).permutation(np.tile([[2, 1, 3], [4, 1, 5]], (60, 1)))
    model = language_model(6, units=8, stateful=True, batch_size=2, reset_input=True)
    model.compile(keras.optimizers.Adam(0.05), TokenCrossEntropy())
    batches = TokenBatches(text.ravel(), batch_size=2, timesteps=4, partition="sequential")
    history = fit_stateful(model, batches, 8, progress=False).history
    assert history["loss"][-1] < 0.4 < history["loss"][0]


@pytest.mark.parametrize("locked", [False, True])
def test_dropout_is_on_all_inputs_and_on_the_last_outputs_once_for_each_timestep_or_locked(locked):
    model = language_model(SIZE, units=(8, 8), dropout=0.5, locked_dropout=locked)
    drops = [layer for layer in model.layers if layer.name.startswith("dropout")]
    assert len(drops) == 3
    same = np.full((1, 40), 3, "int32")
    probe = keras.Model(model.input, drops[0].output)
    dropped = keras.ops.convert_to_numpy(probe(same, training=True))[0] == 0
    assert 0 < dropped.mean() < 1
    assert (dropped == dropped[0]).all() == locked
    assert not language_model(SIZE, units=8).get_layer("head").losses


@BUILT
def test_weight_drop_runs_on_the_fused_kernel():
    model = language_model(SIZE, units=4, weight_drop=0.5)
    layer = model.get_layer("recurrent_1")
    assert layer.weight_drop == 0.5
    spec = kernels.Spec.of(layer, training=True)
    assert kernels.choose("auto", spec, kernels.here()).name == "fused"
    first, second = (keras.ops.convert_to_numpy(model(IDS, training=True)) for _ in range(2))
    assert (first != second).any()


def test_tied_weights_are_those_of_the_embedding():
    tied = language_model(SIZE, units=5, tied=True)
    assert [weight.shape for weight in tied.weights[:2]] == [(SIZE, 5), (SIZE,)]
    assert tied.count_params() == language_model(SIZE, units=5).count_params() - 5 * SIZE
    between = language_model(SIZE, units=5, embedding=3, tied=True)
    assert between.get_layer("to_vectors").kernel.shape == (5, 3)


def test_one_initializer_starts_all_kernels():
    start = keras.initializers.RandomUniform(-0.1, 0.1)
    options = {"unit_forget_bias": False}
    model = language_model(SIZE, units=(5, 5), initializer=start, layer_options=options)
    kernels_of = [w for w in model.trainable_weights if "bias" not in w.path]
    assert len(kernels_of) == 6
    for weight in kernels_of:
        values = keras.ops.convert_to_numpy(weight)
        assert 0.07 < np.abs(values).max() <= 0.1
    lower, upper = (
        keras.ops.convert_to_numpy(model.get_layer(name).cell.kernel)
        for name in ("recurrent_1", "recurrent_2")
    )
    assert (lower != upper).all()
    assert all(not np.any(w) for w in model.trainable_weights if "bias" in w.path)


@pytest.mark.backends
def test_flags_clear_the_state_and_may_be_omitted():
    model = language_model(SIZE, units=4, stateful=True, batch_size=ROWS, reset_input=True)
    clear = np.ones((ROWS, 1), bool)
    first = logits(model, {"sequence": IDS, "reset": clear})
    continued = logits(model, {"sequence": IDS, "reset": None})
    again = logits(model, {"sequence": IDS, "reset": clear})
    np.testing.assert_allclose(again, first, atol=1e-6)
    assert np.abs(continued - first).max() > 1e-5


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (1, {}, "vocabulary_size must be an integer >= 2. Got: vocabulary_size=1."),
        (9, {"bidirectional": True}, "bidirectional must be False for language_model"),
        (9, {"tied": 1}, "tied must be"),
        (9, {"weight_drop": 1.0}, "weight_drop must be a number in"),
        (9, {"embedding": 0}, "embedding must be an integer >= 1"),
        (9, {"unit": 3}, "Unknown keyword 'unit'. Did you mean 'units'?"),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused(size, options, message):
    with pytest.raises(ArgumentError) as error:
        language_model(size, **options)
    assert message in str(error.value)
