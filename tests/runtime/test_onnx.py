"""Programs run by ONNX Runtime: the protocol, and files that are refused."""

import copy
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.arrays import assert_arrays_close, assert_arrays_equal, random_array
from helpers.examples import examples
from seqkeras import runtime
from seqkeras.errors import ArgumentError, DataError, FileFormatError, MissingDependencyError
from seqkeras.runtime._onnx_file import with_checksum

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The same model as a program and as both forms of an ONNX file."""
    from seqkeras import many_to_one
    from seqkeras.export import save_onnx, save_program

    folder = tmp_path_factory.mktemp("onnx")
    model = many_to_one(3, units=(5, 4), cell="gru")
    save_program(model, folder / "program")
    save_onnx(model, folder / "step", form="step")
    save_onnx(model, folder / "sequence", form="sequence")
    save_onnx(model, folder / "window", window=3)
    return folder


@pytest.fixture(params=["step", "sequence", "window"])
def program(files, request):
    return runtime.load_onnx(files / request.param)


class TestProtocol:
    """What every program does, whatever computes it."""

    def test_states_and_ports_are_those_of_the_numpy_program(self, files, program):
        if program.window is None:
            other = runtime.load(files / "program")
            assert program.states == other.states
            assert program.inputs == other.inputs
            assert program.outputs == other.outputs

    def test_a_step_does_not_change_its_state(self, program):
        state = program.initial_state(2)
        _, new = program.step(random_array(2, 3), state)
        assert not any(array.any() for array in state)
        assert any(array.any() for array in new)

    def test_out_takes_the_new_state(self, program):
        state = program.initial_state(2)
        x = random_array(2, 3)
        _, expected = program.step(x, state)
        _, new = program.step(x, state, out=state)
        assert new is state
        assert_arrays_equal(state, expected)

    def test_scan_returns_what_single_steps_return(self, program):
        x = random_array(2, 6, 3)
        state = program.initial_state(2)
        ys = []
        for t in range(6):
            y, state = program.step(x[:, t], state)
            ys.append(y)
        whole, last = program.scan(x, program.initial_state(2))
        np.testing.assert_allclose(np.stack(ys, axis=1), whole, atol=1e-6)
        assert_arrays_close(last, state, atol=1e-6)

    def test_no_timesteps_change_nothing(self, program):
        state = program.initial_state(2)
        ys, after = program.scan(np.empty((2, 0, 3)), state)
        assert ys.shape[:2] == (2, 0)
        assert_arrays_equal(after, state)

    def test_arrays_of_other_layouts_and_dtypes_are_converted(self, program):
        x = random_array(4, 6)[::2, ::2]
        state = program.initial_state(2)
        expected, _ = program.step(np.ascontiguousarray(x), state)
        for array in (x, np.asfortranarray(x), x.astype("float64")):
            np.testing.assert_array_equal(program.step(array, state)[0], expected)

    def test_a_packed_state_is_unpacked(self, program):
        _, state = program.scan(random_array(2, 4, 3), program.initial_state(2))
        data = program.pack_state(state)
        assert len(data) == program.state_bytes(2)
        assert_arrays_equal(program.unpack_state(data), state)

    def test_a_packed_state_of_another_file_is_refused(self, files):
        step = runtime.load_onnx(files / "step")
        sequence = runtime.load_onnx(files / "sequence")
        with pytest.raises(FileFormatError, match="belongs to another program"):
            sequence.unpack_state(step.pack_state(step.initial_state()))

    def test_nan_is_refused_or_propagated(self, files, program):
        x = np.full((1, 3), np.nan)
        state = program.initial_state()
        with pytest.raises(DataError, match="Got: 3 NaN"):
            program.step(x, state)
        propagating = runtime.load_onnx(files / "step", nan="propagate")
        assert np.isnan(propagating.step(x, propagating.initial_state())[0]).all()

    def test_shapes_that_do_not_fit_are_refused(self, program):
        with pytest.raises(ArgumentError, match=r"of shape \(batch, 3\)"):
            program.step(random_array(1, 4), program.initial_state())
        with pytest.raises(ArgumentError, match="state must be a tuple of"):
            program.step(random_array(1, 3), program.initial_state(2))

    def test_a_copy_is_the_program_itself_and_a_pickle_is_refused(self, program):
        assert copy.copy(program) is program
        assert copy.deepcopy(program) is program
        with pytest.raises(ArgumentError, match=r"can be pickled.* with runtime\.load_onnx"):
            pickle.dumps(program)

    def test_threads_share_one_program(self, program):
        x = random_array(8, 2, 5, 3)
        expected = [program.scan(x[i], program.initial_state(2))[0] for i in range(8)]
        actual = {}

        def work(i):
            actual[i] = program.scan(x[i], program.initial_state(2))[0]

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i in range(8):
            np.testing.assert_array_equal(actual[i], expected[i])

    def test_its_repr_describes_it(self, files):
        program = runtime.load_onnx(files / "window", threads=2)
        assert repr(program) == (
            "OnnxProgram(many_to_one: sequence (batch, 3) -> head (batch, 1); "
            "state of 10 numbers a row, window of 3)"
        )
        assert program.form == "step"
        assert len(program.fingerprint) == 64


class TestFiles:
    """Files that are not what they should be."""

    @examples(14)
    @given(data=st.data())
    def test_a_damaged_file_is_refused(self, data, files, tmp_path_factory):
        whole = (files / "step").read_bytes()
        path = tmp_path_factory.getbasetemp() / "damaged.onnx"
        place = data.draw(st.integers(0, len(whole) - 1))
        flipped = bytes([whole[place] ^ data.draw(st.integers(1, 255))])
        is_cut = data.draw(st.booleans())
        path.write_bytes(whole[:place] if is_cut else whole[:place] + flipped + whole[place + 1 :])
        with pytest.raises(FileFormatError):
            runtime.load_onnx(path)

    @examples(14)
    @given(data=st.binary(max_size=200))
    def test_any_bytes_are_refused(self, data, tmp_path_factory):
        path = tmp_path_factory.getbasetemp() / "any.onnx"
        path.write_bytes(data)
        with pytest.raises(FileFormatError):
            runtime.load_onnx(path)

    def test_damage_is_found_before_onnx_runtime_reads_anything(self, files, tmp_path, monkeypatch):
        import onnxruntime

        data = bytearray((files / "step").read_bytes())
        data[len(data) // 2] ^= 1
        (tmp_path / "damaged.onnx").write_bytes(data)
        monkeypatch.setattr(onnxruntime, "InferenceSession", None)
        with pytest.raises(FileFormatError, match="is damaged"):
            runtime.load_onnx(tmp_path / "damaged.onnx")

    def test_a_file_of_another_tool_is_refused(self, tmp_path):
        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        output = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
        node = onnx.helper.make_node("Abs", ["x"], ["y"])
        graph = onnx.helper.make_graph([node], "foreign", [value], [output])
        path = tmp_path / "foreign.onnx"
        model = onnx.helper.make_model(graph, ir_version=8)
        onnx.save(model, path)
        message = r"not a complete ONNX file that export\.save_onnx wrote"
        with pytest.raises(FileFormatError, match=message):
            runtime.load_onnx(path)
        path.write_bytes(with_checksum(model.SerializeToString()))
        with pytest.raises(FileFormatError, match="not a valid program"):
            runtime.load_onnx(path)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda model: foreign_node(model), "ONNX Runtime cannot run"),
            (
                lambda model: set_metadata(model, "format", "seqkeras.OnnxProgram 99"),
                "later version of seqkeras",
            ),
            (lambda model: set_metadata(model, "header", "{}"), "is not a valid program"),
            (lambda model: set_metadata(model, "header", "[]"), "is not a JSON object"),
            (lambda model: set_metadata(model, "header", "{"), "is not a valid program"),
            (
                lambda model: set_metadata(
                    model, "header", header(model).replace('"shape": [5]', '"shape": [6]')
                ),
                "its graph has",
            ),
            (lambda model: model.graph.node.pop(), "ONNX Runtime cannot run"),
        ],
    )
    def test_a_changed_file_with_a_new_checksum(self, change, message, files, tmp_path):
        model = onnx.load(files / "step")
        del model.metadata_props[-1]
        change(model)
        path = tmp_path / "changed.onnx"
        path.write_bytes(with_checksum(model.SerializeToString()))
        with pytest.raises(FileFormatError, match=message):
            runtime.load_onnx(path)

    def test_the_checksum_is_an_entry_of_the_metadata(self, files):
        model = onnx.load(files / "step")
        assert model.metadata_props[-1].key == "seqkeras.sha256"
        assert model.metadata_props[-1].value == runtime.load_onnx(files / "step").fingerprint

    def test_a_program_file_is_not_an_onnx_file(self, files):
        with pytest.raises(FileFormatError, match="ONNX file"):
            runtime.load_onnx(files / "program")

    def test_arguments_that_cannot_work(self, files):
        with pytest.raises(ArgumentError, match="threads must be an integer >= 1"):
            runtime.load_onnx(files / "step", threads=0)
        with pytest.raises(ArgumentError, match="nan must be one of"):
            runtime.load_onnx(files / "step", nan="drop")


def foreign_node(model):
    """Put an operator of another domain in place of the last one."""
    model.opset_import.add(domain="com.example", version=1)
    model.graph.node[-1].domain = "com.example"


def set_metadata(model, key, value):
    (entry,) = [entry for entry in model.metadata_props if entry.key == f"seqkeras.{key}"]
    entry.value = value


def header(model):
    (text,) = [entry.value for entry in model.metadata_props if entry.key == "seqkeras.header"]
    return text


def test_a_missing_onnxruntime_names_the_install_command(files, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "seqkeras\[onnx\]"'):
        runtime.load_onnx(files / "step")


def test_loading_and_stepping_needs_neither_onnx_nor_keras(files):
    script = (
        "import sys; from seqkeras import runtime; assert 'onnxruntime' not in sys.modules\n"
        f"program = runtime.load_onnx({str(files / 'step')!r})\n"
        "program.step([[1.0, 2, 3]], program.initial_state())\n"
        "assert not {'onnx', 'keras'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
