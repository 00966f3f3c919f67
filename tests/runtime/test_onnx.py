"""Programs that ONNX Runtime runs: the protocol, and files that are not what they should be."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seqkeras import runtime
from seqkeras.errors import ArgumentError, DataError, FileFormatError, MissingDependencyError

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same model as a program and as both forms of an ONNX file."""
    from seqkeras import many_to_one
    from seqkeras.export import save_onnx, save_program

    folder, model = tmp_path_factory.mktemp("onnx"), many_to_one(3, units=(5, 4), cell="gru")
    save_program(model, folder / "program")
    save_onnx(model, folder / "step", form="step")
    save_onnx(model, folder / "sequence", form="sequence")
    save_onnx(model, folder / "window", window=3)
    return folder


@pytest.fixture(params=["step", "sequence", "window"])
def program(files, request):
    return runtime.load_onnx(files / request.param)


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


class TestProtocol:
    """What a program does, whoever computes it."""

    def test_states_and_ports_are_those_of_the_numpy_program(self, files, program):
        if program.window is None:
            other = runtime.load(files / "program")
            assert program.states == other.states
            assert program.inputs == other.inputs
            assert program.outputs == other.outputs

    def test_a_step_leaves_its_state_as_it_was(self, program):
        state = program.initial_state(2)
        _, new = program.step(numbers(2, 3), state)
        assert not any(array.any() for array in state)
        assert any(array.any() for array in new)

    def test_out_takes_the_new_state(self, program):
        state, x = program.initial_state(2), numbers(2, 3)
        _, expected = program.step(x, state)
        _, new = program.step(x, state, out=state)
        assert new is state
        for one, other in zip(state, expected, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_scan_gives_what_as_many_steps_give(self, program):
        x, state, ys = numbers(2, 6, 3), program.initial_state(2), []
        for t in range(6):
            y, state = program.step(x[:, t], state)
            ys.append(y)
        whole, last = program.scan(x, program.initial_state(2))
        np.testing.assert_allclose(np.stack(ys, axis=1), whole, atol=1e-6)
        for one, other in zip(state, last, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)

    def test_no_timesteps_change_nothing(self, program):
        state = program.initial_state(2)
        ys, after = program.scan(np.empty((2, 0, 3)), state)
        assert ys.shape[:2] == (2, 0)
        for one, other in zip(state, after, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_arrays_of_other_layouts_and_dtypes_are_converted(self, program):
        x = numbers(4, 6)[::2, ::2]
        state = program.initial_state(2)
        expected, _ = program.step(np.ascontiguousarray(x), state)
        for one in (x, np.asfortranarray(x), x.astype("float64")):
            np.testing.assert_array_equal(program.step(one, state)[0], expected)

    def test_a_packed_state_goes_on(self, program):
        _, state = program.scan(numbers(2, 4, 3), program.initial_state(2))
        data = program.pack_state(state)
        assert len(data) == program.state_bytes(2)
        for one, other in zip(program.unpack_state(data), state, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_a_packed_state_of_another_file_is_refused(self, files):
        one, other = (runtime.load_onnx(files / name) for name in ("step", "sequence"))
        with pytest.raises(FileFormatError, match="belongs to another program"):
            other.unpack_state(one.pack_state(one.initial_state()))

    def test_nan_is_refused_or_goes_through(self, files, program):
        x, state = np.full((1, 3), np.nan), program.initial_state()
        with pytest.raises(DataError, match="holds 3 NaN"):
            program.step(x, state)
        open_ = runtime.load_onnx(files / "step", nan="propagate")
        assert np.isnan(open_.step(x, open_.initial_state())[0]).all()

    def test_shapes_that_do_not_fit_are_refused(self, program):
        with pytest.raises(ArgumentError, match=r"of shape \(batch, 3\)"):
            program.step(numbers(1, 4), program.initial_state())
        with pytest.raises(ArgumentError, match="state must be a tuple of"):
            program.step(numbers(1, 3), program.initial_state(2))

    def test_threads_share_one_program(self, program):
        x, expected = numbers(8, 2, 5, 3), {}
        for i in range(8):
            expected[i] = program.scan(x[i], program.initial_state(2))[0]
        got = {}

        def work(i):
            got[i] = program.scan(x[i], program.initial_state(2))[0]

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i in range(8):
            np.testing.assert_array_equal(got[i], expected[i])

    def test_it_says_what_it_is(self, files):
        program = runtime.load_onnx(files / "window", threads=2)
        assert repr(program) == (
            "OnnxProgram(many_to_one: sequence (batch, 3) -> head (batch, 1); "
            "state of 10 numbers a row, window of 3)"
        )
        assert program.form == "step"
        assert len(program.fingerprint) == 64


class TestFiles:
    """Files that are not what they should be."""

    @settings(max_examples=40)
    @given(data=st.data())
    def test_a_damaged_file_is_refused(self, data, files, tmp_path_factory):
        whole = (files / "step").read_bytes()
        path = tmp_path_factory.getbasetemp() / "damaged.onnx"
        at = data.draw(st.integers(0, len(whole) - 1))
        flipped = bytes([whole[at] ^ data.draw(st.integers(1, 255))])
        cut = data.draw(st.booleans())
        path.write_bytes(whole[:at] if cut else whole[:at] + flipped + whole[at + 1 :])
        with pytest.raises(FileFormatError):
            runtime.load_onnx(path)

    @settings(max_examples=40)
    @given(data=st.binary(max_size=200))
    def test_any_bytes_are_refused(self, data, tmp_path_factory):
        path = tmp_path_factory.getbasetemp() / "any.onnx"
        path.write_bytes(data)
        with pytest.raises(FileFormatError):
            runtime.load_onnx(path)

    def test_a_file_of_others_is_refused(self, tmp_path):
        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        shown = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
        node = onnx.helper.make_node("Abs", ["x"], ["y"])
        graph = onnx.helper.make_graph([node], "foreign", [value], [shown])
        onnx.save(onnx.helper.make_model(graph), tmp_path / "foreign.onnx")
        with pytest.raises(FileFormatError, match=r"no ONNX file of export\.save_onnx"):
            runtime.load_onnx(tmp_path / "foreign.onnx")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda model: model.opset_import.add(domain="com.example", version=1),
                "operators of the domain 'com.example'",
            ),
            (lambda model: model.functions.add(name="mine"), "of its own functions"),
            (
                lambda model: entry(model, "format", "seqkeras.OnnxProgram 99"),
                "later version of seqkeras",
            ),
            (lambda model: entry(model, "header", "{}"), "holds no program that makes sense"),
            (
                lambda model: entry(
                    model, "header", header(model).replace('"shape": [5]', '"shape": [6]')
                ),
                "its graph has",
            ),
            (lambda model: model.graph.node.pop(), "ONNX Runtime cannot run"),
        ],
    )
    def test_a_file_that_was_changed_and_signed_anew(self, change, message, files, tmp_path):
        from seqkeras.runtime._onnx_file import checksum_of

        model = onnx.load(files / "step")
        change(model)
        entry(model, "sha256", checksum_of(model.SerializeToString()))
        onnx.save(model, tmp_path / "changed.onnx")
        with pytest.raises(FileFormatError, match=message):
            runtime.load_onnx(tmp_path / "changed.onnx")

    def test_a_program_file_is_no_onnx_file(self, files):
        with pytest.raises(FileFormatError, match="ONNX file"):
            runtime.load_onnx(files / "program")

    def test_arguments_that_cannot_work(self, files):
        with pytest.raises(ArgumentError, match="threads must be an integer >= 1"):
            runtime.load_onnx(files / "step", threads=0)
        with pytest.raises(ArgumentError, match="nan must be one of"):
            runtime.load_onnx(files / "step", nan="drop")


def entry(model, key, value):
    """Writes one of our metadata anew."""
    (one,) = [one for one in model.metadata_props if one.key == f"seqkeras.{key}"]
    one.value = value


def header(model):
    (one,) = [one.value for one in model.metadata_props if one.key == "seqkeras.header"]
    return one


def test_a_missing_onnxruntime_is_answered_with_the_install_command(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "seqkeras\[onnx\]"'):
        runtime.load_onnx(files / "step")


def test_loading_and_stepping_takes_neither_onnx_nor_keras(files):
    script = (
        "import sys; from seqkeras import runtime; assert 'onnxruntime' not in sys.modules\n"
        f"program = runtime.load_onnx({str(files / 'step')!r})\n"
        "program.step([[1.0, 2, 3]], program.initial_state())\n"
        "assert not {'onnx', 'keras'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
