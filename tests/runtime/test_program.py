"""Tests of programs, the functions of one timestep that services call."""

import copy
import os
import pickle
import re
import shutil
import struct
import threading

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import seqkeras
from helpers.arrays import assert_arrays_close, assert_arrays_equal, random_array
from helpers.examples import examples
from seqkeras import runtime
from seqkeras._archive import read_archive, write_archive
from seqkeras.errors import ArgumentError, DataError, FileFormatError
from seqkeras.export import save_program
from seqkeras.runtime._program import KIND, VERSION

ROWS = 4
STEPS = 7


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Save a program of two layers and a head, `(batch, 3)` to `(batch, 2)`."""
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("program") / "sensor.program"
    save_program(seqkeras.many_to_one(3, outputs=2, units=(6, 5), cell=["lstm", "gru"]), path)
    return path


@pytest.fixture(scope="module")
def program(path):
    return runtime.load(path)


@pytest.fixture(scope="module")
def windowed(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "window.program"
    save_program(seqkeras.many_to_one(3, units=4), path, window=3)
    return runtime.load(path)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "tokens.program"
    layers = keras.layers
    model = keras.Sequential([keras.Input((None,)), layers.Embedding(5, 3), layers.GRU(4)])
    save_program(model, path)
    return runtime.load(path)


def warm(program, rows=ROWS):
    """Return a state that is not zero."""
    return program.scan(random_array(rows, 3, 3), program.initial_state(rows))[1]


def unaligned(array):
    """Return the same numbers one byte away from where a float32 can be."""
    memory = np.zeros(array.nbytes + 1, np.uint8)
    moved = memory[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    assert not moved.flags.aligned
    return moved


class TestStep:
    def test_repr_shows_inputs_outputs_and_state(self, program, windowed):
        text = "many_to_one: sequence (batch, 3) -> head (batch, 2); state of 17 numbers a row"
        assert repr(program) == f"Program({text})"
        assert repr(windowed).endswith(", window of 3)")
        assert [array.name for array in program.states] == [
            "recurrent_1/h",
            "recurrent_1/c",
            "recurrent_2/h",
        ]

    def test_arguments_are_not_changed(self, program):
        x = random_array(ROWS, 3)
        state = warm(program)
        x_before, state_before = copy.deepcopy((x, state))
        program.step(x, state)
        np.testing.assert_array_equal(x, x_before)
        assert_arrays_equal(state, state_before)

    def test_results_do_not_share_memory(self, program):
        x = random_array(ROWS, 3)
        state = warm(program)
        y, new = program.step(x, state)
        y_before, new_before = copy.deepcopy((y, new))
        program.step(random_array(ROWS, 3, seed=9), new, out=state)
        np.testing.assert_array_equal(y, y_before)
        assert_arrays_equal(new, new_before)

    @pytest.mark.parametrize("kind", ["program", "windowed"])
    def test_out_is_written_into_and_can_be_the_state_itself(self, kind, request):
        program = request.getfixturevalue(kind)
        x = random_array(ROWS, 3)
        state = warm(program)
        expected, after = program.step(x, state)
        y, written = program.step(x, state, out=state)
        np.testing.assert_array_equal(y, expected)
        assert all(a is b for a, b in zip(written, state, strict=True))
        assert_arrays_equal(state, after)

    @pytest.mark.parametrize("place", ["x", "state", "out"])
    @pytest.mark.parametrize("implementation", ["numpy", "auto"])
    def test_arrays_lie_anywhere_in_memory(self, path, implementation, place):
        program = runtime.load(path, implementation=implementation)
        x = random_array(ROWS, 3)
        state = warm(program)
        expected, after = program.step(x, state)
        arguments = {"x": x, "state": state, "out": tuple(np.zeros_like(array) for array in state)}
        if place == "x":
            arguments["x"] = unaligned(x)
        else:
            arguments[place] = tuple(map(unaligned, arguments[place]))
        actual, new = program.step(**arguments)
        np.testing.assert_array_equal(actual, expected)
        assert_arrays_equal(new, after)

    @examples(7)
    @given(rows=st.lists(st.integers(0, ROWS - 1), min_size=1, max_size=6))
    def test_a_row_has_the_same_output_alone_and_among_others(self, program, rows):
        x = random_array(ROWS, 3)
        state = warm(program)
        y, new = program.step(x, state)
        selected, after = program.step(x[rows], tuple(array[rows] for array in state))
        np.testing.assert_allclose(selected, y[rows], atol=1e-6)
        assert_arrays_close(after, [array[rows] for array in new], atol=1e-6)

    def test_many_batch_sizes_leave_few_buffers(self, program):
        for rows in range(1, 40):
            program.step(random_array(rows, 3), program.initial_state(rows))
        assert len(program._graph._buffers) <= 8

    def test_threads_do_not_disturb_each_other(self, program):
        xs = [random_array(2, 300, 3, seed=seed) for seed in range(8)]
        expected = [program.scan(x, program.initial_state(2))[0] for x in xs]
        actual = [None] * len(xs)

        def run(number):
            state = program.initial_state(2)
            ys = []
            for t in range(300):
                y, state = program.step(xs[number][:, t], state)
                ys.append(y)
            actual[number] = np.stack(ys, axis=1)

        threads = [threading.Thread(target=run, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert_arrays_equal(actual, expected)

    def test_a_program_loaded_twice_is_the_same(self, program, path):
        again = runtime.load(path)
        assert again.fingerprint == program.fingerprint
        assert_arrays_equal(warm(again), warm(program))


class TestScan:
    def test_it_is_the_same_as_steps(self, program):
        x = random_array(ROWS, STEPS, 3)
        state = program.initial_state(ROWS)
        ys, last = program.scan(x, state)
        for t in range(STEPS):
            y, state = program.step(x[:, t], state)
            np.testing.assert_array_equal(ys[:, t], y)
        assert_arrays_equal(last, state)

    def test_no_timesteps_change_nothing(self, program):
        state = warm(program)
        ys, last = program.scan(random_array(ROWS, 0, 3), state)
        assert ys.shape == (ROWS, 0, 2)
        assert_arrays_equal(last, state)


class TestBadInput:
    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (
                random_array(ROWS, 2),
                r"sequence must be of shape \(batch, 3\). Got: shape \(4, 2\)",
            ),
            (random_array(3), r"of shape \(batch, 3\). Got: shape \(3,\)"),
            (random_array(ROWS, 1, 3), r"of shape \(batch, 3\)"),
            (random_array(0, 3), r"of shape \(batch, 3\). Got: shape \(0, 3\)"),
            (1.0, r"of shape \(batch, 3\). Got: shape \(\)"),
            ([[1, 2, "x"]], r"sequence must be numbers, as float32. Got: an array of <U"),
            ([[1, 2, None]], r"numbers, as float32. Got: an array of object"),
            ([[1, 2, 3j]], r"numbers, as float32. Got: an array of complex128"),
            ([[1.0, 2], [3]], r"sequence must be an array of float32"),
            ([[1e300, 0, 0]], r"numbers that float32 can hold. Got: sequence=.*1e\+300"),
            (
                {"other": random_array(ROWS, 3)},
                r"x must be a dict of \['sequence'\]. Got: x=\['other'\]",
            ),
        ],
    )
    def test_a_wrong_input_is_named(self, program, x, message):
        with pytest.raises(ArgumentError, match=message):
            program.step(x, program.initial_state(ROWS))

    @pytest.mark.parametrize(
        "x",
        [
            random_array(ROWS, 3).astype("float64"),
            random_array(ROWS, 3).astype(">f4"),
            np.asfortranarray(random_array(ROWS, 3)),
            random_array(ROWS, 6)[:, ::2],
            np.ones((ROWS, 3), bool),
            np.ones((ROWS, 3), "uint8"),
            random_array(ROWS, 3).tolist(),
            {"sequence": random_array(ROWS, 3)},
        ],
    )
    def test_other_dtypes_and_layouts_are_converted(self, program, x):
        y, _ = program.step(x, warm(program))
        plain = np.array(x["sequence"] if isinstance(x, dict) else x, "float32", order="C")
        np.testing.assert_array_equal(y, program.step(plain, warm(program))[0])

    def test_nan_is_refused_with_its_place(self, program):
        x = random_array(ROWS, 3)
        state = warm(program)
        x[2, 1] = np.nan
        before = copy.deepcopy(state)
        with pytest.raises(DataError, match=r"Got: 1 NaN, the first at \(2, 1\)"):
            program.step(x, state, out=state)
        assert_arrays_equal(state, before)

    def test_nan_propagates_only_in_its_row_if_requested(self, path):
        program = runtime.load(path, nan="propagate")
        x = random_array(ROWS, 3)
        state = warm(program)
        expected, _ = program.step(x, state)
        x[2, 1] = np.nan
        y, _ = program.step(x, state)
        assert np.isnan(y[2]).all()
        np.testing.assert_array_equal(np.delete(y, 2, 0), np.delete(expected, 2, 0))

    def test_infinity_is_not_nan(self, program):
        x = random_array(ROWS, 3)
        x[0, 0] = np.inf
        x[1, 0] = 3e38
        assert np.isfinite(program.step(x, warm(program))[0]).all()

    @pytest.mark.parametrize(
        ("change", "got"),
        [
            (lambda state: list(state), "a list of"),
            (lambda state: state[:-1], r"a tuple of \[\"\(4, 6\) float32\", \"\(4, 6\)"),
            (lambda state: tuple(array[:2] for array in state), r"\(2, 6\) float32"),
            (lambda state: tuple(array.astype("float64") for array in state), "float64"),
            (lambda state: tuple(array.tolist() for array in state), "list"),
            (lambda state: state[0], "a ndarray of"),
            (lambda state: None, "a NoneType of"),
            (lambda state: state[::-1], r"\(4, 5\) float32"),
        ],
    )
    @pytest.mark.parametrize("argument", ["state", "out"])
    def test_a_wrong_state_is_refused_with_the_right_one(self, program, change, got, argument):
        state = warm(program)
        arguments = {"state": state, argument: change(state)}
        if argument == "out" and arguments["out"] is None:
            return  # the default
        expected = rf"{argument} must be a tuple of \['recurrent_1/h \(4, 6\) float32'"
        with pytest.raises(ArgumentError, match=expected) as caught:
            program.step(random_array(ROWS, 3), **arguments)
        assert re.search(got.replace('\\"', "'"), str(caught.value))
        assert "initial_state(4)" in str(caught.value)

    def test_nothing_is_written_if_an_array_is_read_only(self, program):
        x = random_array(ROWS, 3)
        state = warm(program)
        before = copy.deepcopy(state)
        state[-1].flags.writeable = False
        with pytest.raises(ArgumentError, match="out must be arrays to write into"):
            program.step(x, state, out=state)
        assert_arrays_equal(state, before)

    def test_a_masked_array_is_refused(self, program):
        x = np.ma.masked_array(random_array(ROWS, 3), mask=np.eye(ROWS, 3))
        with pytest.raises(ArgumentError, match="an array without a mask"):
            program.step(x, warm(program))

    def test_ids_outside_the_table_are_refused(self, tokens):
        state = tokens.initial_state(2)
        for wrong in ([5, 0], [-1, 0]):
            with pytest.raises(DataError, match=rf"must hold ids of 0 to 4. Got: {wrong[0]}"):
                tokens.step(wrong, state)
        with pytest.raises(ArgumentError, match=r"numbers that int32 can hold. Got: .*1\.5"):
            tokens.step([1.5, 0.0], state)
        with pytest.raises(ArgumentError, match=r"numbers that int32 can hold"):
            tokens.step(np.array([2**40, 0]), state)
        np.testing.assert_array_equal(
            tokens.step([1.0, 2.0], state)[0], tokens.step([1, 2], state)[0]
        )

    @pytest.mark.parametrize("rows", [0, -1, 1.5, True, "2", None])
    def test_a_batch_size_is_a_positive_integer(self, program, rows):
        with pytest.raises(ArgumentError, match="batch_size must be an integer >= 1"):
            program.initial_state(rows)

    def test_a_policy_for_nan_is_one_of_two(self, path):
        with pytest.raises(ArgumentError, match="nan must be one of 'raise', 'propagate'"):
            runtime.load(path, nan="ignore")

    def test_timesteps_of_inputs_must_agree(self, tmp_path):
        layers = keras.layers
        a = keras.Input((None, 1), name="a")
        b = keras.Input((None, 1), name="b")
        save_program(keras.Model([a, b], layers.GRU(2)(layers.Add()([a, b]))), tmp_path / "p")
        program = runtime.load(tmp_path / "p")
        state = program.initial_state(2)
        with pytest.raises(
            ArgumentError, match=r"xs must be arrays with the same number of timesteps"
        ):
            program.scan([random_array(2, 3, 1), random_array(2, 4, 1)], state)
        with pytest.raises(
            ArgumentError, match=r"inputs with the same number of rows. Got: x=\[1, 2\]"
        ):
            program.step([random_array(2, 1), random_array(1, 1)], state)
        with pytest.raises(ArgumentError, match=r"a list or a dict of \['a', 'b'\]"):
            program.step(random_array(2, 1), state)


class TestPacking:
    @pytest.mark.parametrize("kind", ["program", "windowed"])
    @pytest.mark.parametrize("rows", [1, 5])
    def test_a_packed_state_continues(self, kind, rows, request):
        program = request.getfixturevalue(kind)
        state = warm(program, rows)
        data = program.pack_state(state)
        assert len(data) == program.state_bytes(rows)
        again = program.unpack_state(data)
        assert_arrays_equal(again, state)
        x = random_array(rows, 3)
        np.testing.assert_array_equal(
            program.step(x, again, out=again)[0], program.step(x, state)[0]
        )

    def test_every_changed_or_missing_byte_is_noticed(self, program):
        data = program.pack_state(warm(program))
        for length in range(len(data)):
            with pytest.raises(FileFormatError):
                program.unpack_state(data[:length])
        for place in range(len(data)):
            changed = bytearray(data)
            changed[place] ^= 1 << place % 8
            with pytest.raises(FileFormatError):
                program.unpack_state(bytes(changed))
        with pytest.raises(FileFormatError, match="damaged"):
            program.unpack_state(data + b"\0")
        with pytest.raises(ArgumentError, match="data must be the bytes of pack_state"):
            program.unpack_state(None)

    @given(st.binary(max_size=400))
    def test_noise_is_refused(self, program, noise):
        head = program.pack_state(program.initial_state())[:32]
        for data in (noise, head + noise, head[:24] + noise):
            with pytest.raises(FileFormatError):
                program.unpack_state(data)

    def test_absurd_rows_take_no_memory(self, program):
        data = bytearray(program.pack_state(warm(program)))
        struct.pack_into("<I", data, 24, 2**32 - 1)
        with pytest.raises(FileFormatError, match="4294967295 rows need"):
            program.unpack_state(bytes(data))

    def test_a_state_of_another_program_is_refused(self, program, windowed):
        with pytest.raises(FileFormatError, match="belongs to another program"):
            program.unpack_state(windowed.pack_state(windowed.initial_state()))

    def test_a_later_version_is_refused_with_the_way_out(self, program):
        data = bytearray(program.pack_state(warm(program)))
        struct.pack_into("<I", data, 4, VERSION + 1)
        with pytest.raises(FileFormatError, match=r"another version.*pip install -U seqkeras"):
            program.unpack_state(bytes(data))

    def test_a_state_without_rows_is_not_packed(self, program):
        with pytest.raises(ArgumentError, match=r"1 to 2\*\*32 - 1 rows. Got: 0 rows"):
            program.pack_state(tuple(array[:0] for array in warm(program)))

    def test_only_states_can_be_packed(self, program):
        for wrong in ((), None, "state", (1, 2), program.initial_state()[:1]):
            with pytest.raises(ArgumentError, match="state must be a tuple of"):
                program.pack_state(wrong)

    def test_pickled_arrays_are_states_as_well(self, program):
        state = pickle.loads(pickle.dumps(warm(program)))
        assert_arrays_equal(program.unpack_state(program.pack_state(state)), state)


class TestCopies:
    """A program never changes, so a copy is the program."""

    @pytest.mark.parametrize(
        "copied", [copy.copy, copy.deepcopy, lambda program: copy.deepcopy({"a": program})["a"]]
    )
    def test_a_copy_of_a_program_is_the_program(self, program, copied):
        assert copied(program) is program

    @pytest.mark.parametrize("implementation", ["numpy", "auto"])
    @pytest.mark.parametrize("mapped", [False, True])
    def test_a_pickled_program_gives_the_same(self, path, implementation, mapped):
        options = {"implementation": implementation, "mapped": mapped, "nan": "propagate"}
        program = runtime.load(path, **options)
        again = pickle.loads(pickle.dumps(program))
        assert again.fingerprint == program.fingerprint
        assert again.choices == program.choices
        state = warm(program)
        assert_arrays_equal(warm(again), state)
        x = np.full((ROWS, 3), np.nan)
        assert np.isnan(again.step(x, again.unpack_state(program.pack_state(state)))[0]).all()


class TestLoad:
    @pytest.mark.parametrize("change", ["truncated", "changed"])
    def test_a_mapped_file_that_is_changed_in_place_is_an_error(self, path, tmp_path, change):
        shutil.copyfile(path, tmp_path / "p")
        program = runtime.load(tmp_path / "p", mapped=True)
        state = program.initial_state()
        with open(tmp_path / "p", "r+b") as file:
            if change == "truncated":
                file.truncate(100)
            else:
                file.seek(-4, 2)
                file.write(b"\1\2\3\4")
        for call in (program.step, lambda x, state: program.scan(x[:, np.newaxis], state)):
            with pytest.raises(FileFormatError, match=r"changed in place .* moving a new one"):
                call(np.ones((1, 3)), state)

    def test_a_mapped_file_can_be_replaced(self, path, program, tmp_path):
        shutil.copyfile(path, tmp_path / "p")
        old = runtime.load(tmp_path / "p", mapped=True)
        (tmp_path / "p").unlink()
        save_program(seqkeras.many_to_one(3, units=4), tmp_path / "p")
        new = runtime.load(tmp_path / "p", mapped=True)
        (tmp_path / "p").unlink()
        assert_arrays_equal(warm(old), warm(program))
        assert new.fingerprint != old.fingerprint
        assert np.isfinite(new.step(random_array(ROWS, 3), new.initial_state(ROWS))[0]).all()

    @pytest.mark.parametrize("mapped", [False, True])
    def test_a_mapped_program_is_the_same(self, path, program, mapped):
        again = runtime.load(path, mapped=mapped)
        assert_arrays_equal(warm(again), warm(program))

    def test_a_missing_file_is_a_missing_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            runtime.load(tmp_path / "none")

    @pytest.mark.parametrize("read", [runtime.load, runtime.load_onnx])
    def test_a_pipe_is_refused_instead_of_waited_for(self, tmp_path, read):
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", os.devnull):
            with pytest.raises(FileFormatError, match=r"must be a regular file\. Got: a device"):
                read(path)

    def test_a_file_of_another_kind_is_named(self, tmp_path):
        write_archive(tmp_path / "other", {}, {}, kind="seqkeras.State", version=1)
        with pytest.raises(FileFormatError, match=r"not a seqkeras\.Program file"):
            runtime.load(tmp_path / "other")

    def rewritten(self, path, target, change):
        """Write the file with a changed header, and a checksum that matches."""
        archive = read_archive(path, kind=KIND, version=VERSION)
        change(archive.header, archive.arrays)
        write_archive(target, archive.header, archive.arrays, kind=KIND, version=VERSION)
        return target

    @pytest.mark.parametrize(
        "change",
        [
            lambda header, arrays: header.pop("graph"),
            lambda header, arrays: header.update(dtype="object"),
            lambda header, arrays: header.update(window=-3),
            lambda header, arrays: header.update(window=2**60),
            lambda header, arrays: header.update(inputs=[]),
            lambda header, arrays: header["inputs"][0].update(shape=[2**40]),
            lambda header, arrays: header["inputs"][0].update(shape=["3"]),
            lambda header, arrays: header["inputs"][0].update(dtype="O"),
            lambda header, arrays: header["outputs"].append(header["outputs"][0]),
            lambda header, arrays: header["graph"].update(outputs=["none"]),
            lambda header, arrays: header["graph"]["nodes"].reverse(),
            lambda header, arrays: header.update(outputs_as={"x": 1}),
            lambda header, arrays: header["graph"]["nodes"][0].update(
                op="negative", inputs=["sequence"] * 2
            ),
            lambda header, arrays: header["graph"]["nodes"][0].update(op="add"),
            lambda header, arrays: header["graph"]["nodes"][0]["options"].update(activation="glu"),
            lambda header, arrays: header["graph"]["nodes"][2]["options"].update(
                activation="threshold"
            ),
            lambda header, arrays: header["graph"]["nodes"][2]["options"].update(
                activation="relu", activation_options={"a": "b"}
            ),
            lambda header, arrays: header["inputs"][0].update(shape=[1] * 66),
            lambda header, arrays: header["graph"]["nodes"].extend(
                {
                    "name": f"n{i}",
                    "op": "repeat",
                    "inputs": ["sequence"],
                    "output": f"n{i}",
                    "weights": {},
                    "options": {"times": 2**20},
                }
                for i in range(9)
            ),
            lambda header, arrays: header["graph"]["nodes"][0].update(op="os.system"),
            lambda header, arrays: header["graph"]["nodes"][0].update(inputs=[]),
            lambda header, arrays: header["graph"]["nodes"][0].update(weights={}),
            lambda header, arrays: header["graph"]["nodes"][0]["options"].update(units=2**40),
            lambda header, arrays: header["graph"]["nodes"][0]["options"].update(cell="rm -rf"),
            lambda header, arrays: header["graph"]["nodes"][0]["options"].update(activation="eval"),
            lambda header, arrays: header["graph"]["nodes"][-1].update(output="sequence"),
            lambda header, arrays: arrays.update({"recurrent_1/kernel": np.zeros((3, 5), "f4")}),
            lambda header, arrays: arrays.clear(),
        ],
    )
    def test_an_invalid_header_is_refused(self, path, tmp_path, change):
        target = self.rewritten(path, tmp_path / "wrong", change)
        with pytest.raises(FileFormatError):
            runtime.load(target)
