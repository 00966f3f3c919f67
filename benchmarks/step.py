"""One step of an LSTM, state in and state out: ours and its peers, all in one run.

    python benchmarks/step.py              microseconds per step, and the limit
    python benchmarks/step.py --sessions   microseconds per session and step, with many sessions
    python benchmarks/step.py --cold       import, load and first step in a fresh process
    python benchmarks/step.py --long       difference from `predict` over 10,000 steps

Every engine has the same weights, 8 features and one thread, and carries its state from call to
call. It is first compared over 200 steps with Keras' `predict` of the whole sequence on TensorFlow.
Engines that cannot share a process run in separate processes, which take turns. Peers that are not
installed are listed. The limit is the matrix product by itself, which reads each weight once.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1")
os.environ |= THREADS  # must come before the import of NumPy

import numpy as np  # noqa: E402

FEATURES = 8
BACKENDS = ("tensorflow", "jax", "torch")


class Case(NamedTuple):
    """A case: the units of an LSTM, the sessions in one call, and whether Dense(1) follows."""

    units: int
    batch: int
    head: bool = False

    @property
    def title(self):
        return f"{self.units}{' + Dense' if self.head else ''}, batch {self.batch}"

    def file(self, ending):
        return f"{self.units}_{self.head:d}.{ending}"

    @property
    def checked(self):
        """Number of steps that are compared with Keras."""
        return 200 if self.batch <= 256 else 20

    def inputs(self):
        shape = (self.batch, self.checked, FEATURES)
        return np.random.default_rng(0).normal(size=shape).astype("float32")

    def weights(self):
        with np.load(self.file("npz")) as arrays:
            return dict(arrays)

    def zeros(self):
        return np.zeros((self.batch, self.units), "float32")


CASES = [
    *(Case(units, batch) for batch in (1, 256) for units in (64, 256)),
    *(Case(units, 1, head=True) for units in (64, 256)),
]
SESSIONS = [Case(64, batch) for batch in (1, 16, 256, 4096)]


# The engines. Each takes a case and returns a function of x (batch, features) that keeps the state.


def ours(case, nan="raise", in_place=False, implementation="auto"):
    from seqkeras import runtime

    program = runtime.load(case.file("program"), nan=nan, implementation=implementation)
    state = program.initial_state(case.batch)

    def step(x):
        nonlocal state
        y, state = program.step(x, state, out=state if in_place else None)
        return y

    return step


def ours_propagate(case):
    return ours(case, nan="propagate")


def ours_out(case):
    return ours(case, in_place=True)


def ours_numpy(case):
    return ours(case, implementation="numpy")


def ours_kernel(case):
    """Step with the native library, without a program around it."""
    from seqkeras import native

    if case.head:
        raise ImportError("it only has the recurrent layer")
    weights = case.weights()
    layer = native.Layer("lstm", weights["kernel"], weights["recurrent"], weights["bias"])
    run = native.Step(layer).run
    state = np.zeros((2, case.batch, case.units), "float32")

    def step(x):
        run(x, state[0], state[1], state[0], state[1])
        return state[0].copy()

    return step


def with_avx512(make):
    """Run an engine with AVX-512 in OpenBLAS, which does not use it by default on AMD."""

    def made(case):
        if "avx512f" not in Path("/proc/cpuinfo").read_text():
            raise ImportError("this processor has no AVX-512")
        return make(case)

    return made


def ours_scan(case):
    from seqkeras import runtime

    program = runtime.load(case.file("program"))
    state = program.initial_state(case.batch)
    return lambda xs: program.scan(xs, state)[0]


def joined(case):
    """Join kernel, recurrent kernel and bias in one matrix, with the gates i, f, o, candidate."""
    weights = case.weights()
    parts = np.concatenate([weights["kernel"], weights["recurrent"], weights["bias"][None]])
    i, f, candidate, o = np.split(parts, 4, axis=1)
    return np.concatenate([i / 2, f / 2, o / 2, candidate], axis=1)


def only_product(case):
    matrix = joined(case)
    row = np.ones((case.batch, len(matrix)), "float32")
    z = np.empty((case.batch, matrix.shape[1]), "float32")
    return lambda x: row.dot(matrix, z)


def numpy_by_hand(case):
    """Step with one product, one tanh for all gates, and no new arrays except the output."""
    matrix = joined(case)
    weights = case.weights()
    row = np.ones((case.batch, len(matrix)), "float32")
    row_x = row[:, :FEATURES]
    h = row[:, FEATURES:-1]
    h[...] = 0
    c = case.zeros()
    spare = case.zeros()
    z = np.empty((case.batch, 4 * case.units), "float32")
    i, f, o, candidate = np.split(z, 4, axis=1)
    gates = z[:, : 3 * case.units]
    half = np.float32(0.5)
    kernel = weights.get("head_kernel")
    bias = weights.get("head_bias")

    def step(x):
        row_x[...] = x
        row.dot(matrix, z)
        np.tanh(z, z)
        np.multiply(gates, half, gates)
        np.add(gates, half, gates)
        np.multiply(f, c, c)
        np.multiply(i, candidate, candidate)
        np.add(c, candidate, c)
        np.tanh(c, spare)
        np.multiply(o, spare, h)
        return h.copy() if kernel is None else h.dot(kernel) + bias

    return step


def onnx_session(path):
    import onnxruntime

    if not Path(path).exists():
        raise ImportError("onnx, which writes the graph")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def onnx_feed(session, case):
    """Return the names of inputs and outputs, the initial states, and the shape of x."""
    inputs = session.get_inputs()
    outputs = [output.name for output in session.get_outputs()]
    shapes = [
        [length if isinstance(length, int) else case.batch for length in value.shape]
        for value in inputs
    ]
    states = [np.zeros(shape, "float32") for shape in shapes[1:]]
    return [value.name for value in inputs], outputs, states, shapes[0]


def onnx_run(case, ending="onnx"):
    session = onnx_session(case.file(ending))
    (x_name, *names), outputs, states, shape = onnx_feed(session, case)

    def step(x):
        nonlocal states
        feed = dict(zip(names, states, strict=True))
        feed[x_name] = x.reshape(shape)
        y, *states = session.run(outputs, feed)
        return y

    return step


def onnx_ours(case):
    from seqkeras import export

    if not hasattr(export, "save_onnx"):
        raise ImportError("seqkeras.export.save_onnx does not exist")
    return onnx_run(case, "ours.onnx")


def onnx_program(case):
    from seqkeras import runtime

    if not hasattr(runtime, "load_onnx"):
        raise ImportError("seqkeras.runtime.load_onnx does not exist")
    program = runtime.load_onnx(case.file("ours.onnx"))
    state = program.initial_state(case.batch)

    def step(x):
        nonlocal state
        y, state = program.step(x, state)
        return y

    return step


def onnx_bound(case):
    """Step with two sets of buffers, which are bound once and used in turns."""
    import onnxruntime

    session = onnx_session(case.file("onnx"))
    (x_name, *names), (y_name, *new), states, shape = onnx_feed(session, case)
    x_value = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros(shape, "float32"))
    sets = [[onnxruntime.OrtValue.ortvalue_from_numpy(state) for state in states] for _ in range(2)]
    bindings = []
    for before, after in (sets, sets[::-1]):
        binding = session.io_binding()
        binding.bind_ortvalue_input(x_name, x_value)
        binding.bind_output(y_name)
        for name, value in zip(names, before, strict=True):
            binding.bind_ortvalue_input(name, value)
        for name, value in zip(new, after, strict=True):
            binding.bind_ortvalue_output(name, value)
        bindings.append(binding)
    turn = 0

    def step(x):
        nonlocal turn
        binding = bindings[turn]
        turn = 1 - turn
        x_value.update_inplace(x.reshape(shape))
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0].numpy()

    return step


def litert(case):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(f"{case.batch}_{case.file('tflite')}", num_threads=1)
    interpreter.allocate_tensors()
    signature = interpreter.get_signature_runner()
    inputs = {name: part["index"] for name, part in signature.get_input_details().items()}
    outputs = {name: part["index"] for name, part in signature.get_output_details().items()}
    x_in, h_in, c_in = (inputs[name] for name in ("x", "h", "c"))
    y_out, h_out, c_out = (outputs[name] for name in ("y", "new_h", "new_c"))
    h = c = case.zeros()
    write = interpreter.set_tensor
    read = interpreter.get_tensor

    def step(x):
        nonlocal h, c
        write(x_in, x)
        write(h_in, h)
        write(c_in, c)
        interpreter.invoke()
        h = read(h_out)
        c = read(c_out)
        return read(y_out)

    return step


def keras_model(case, stateful):
    """Build a model with the weights of the case; unless stateful, it returns all timesteps."""
    import keras

    shape = (case.batch, 1, FEATURES) if stateful else (None, None, FEATURES)
    options = {"stateful": True} if stateful else {"return_sequences": True}
    layers = [keras.Input(batch_shape=shape), keras.layers.LSTM(case.units, **options)]
    layers += [keras.layers.Dense(1)] if case.head else []
    model = keras.Sequential(layers)
    if Path(case.file("npz")).exists():
        model.set_weights(list(case.weights().values()))
    return model


def keras_predict(case):
    model = keras_model(case, stateful=True)
    return lambda x: model.predict(x[:, None], batch_size=case.batch, verbose=0)


def keras_predict_on_batch(case):
    model = keras_model(case, stateful=True)
    return lambda x: model.predict_on_batch(x[:, None])


def keras_call(case):
    import keras

    model = keras_model(case, stateful=True)
    return lambda x: keras.ops.convert_to_numpy(model(x[:, None], training=False))


def tf_function(case):
    import tensorflow as tf

    model = keras_model(case, stateful=True)
    function = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    return lambda x: function(tf.constant(x[:, None])).numpy()


def jax_jit(case):
    import jax

    weights = {name: jax.numpy.asarray(array) for name, array in case.weights().items()}
    matrix = jax.numpy.concatenate([weights["kernel"], weights["recurrent"]])

    @jax.jit
    def run(x, h, c):
        z = jax.numpy.concatenate([x, h], axis=1) @ matrix + weights["bias"]
        i, f, candidate, o = jax.numpy.split(z, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jax.numpy.tanh(candidate)
        h = jax.nn.sigmoid(o) * jax.numpy.tanh(c)
        return (h @ weights["head_kernel"] + weights["head_bias"] if case.head else h), h, c

    h = c = jax.numpy.asarray(case.zeros())

    def step(x):
        nonlocal h, c
        y, h, c = run(x, h, c)
        return np.asarray(y)

    return step


def torch_weights(case, module, ending):
    """Copy the weights into a module of PyTorch, whose names end in `ending`; return them."""
    import torch

    weights = {name: torch.from_numpy(array) for name, array in case.weights().items()}
    with torch.inference_mode():
        getattr(module, f"weight_ih{ending}").copy_(weights["kernel"].T)
        getattr(module, f"weight_hh{ending}").copy_(weights["recurrent"].T)
        getattr(module, f"bias_ih{ending}").copy_(weights["bias"])
        getattr(module, f"bias_hh{ending}").zero_()
    return weights


def torch_lstm(case):
    import torch

    lstm = torch.nn.LSTM(FEATURES, case.units, batch_first=True)
    weights = torch_weights(case, lstm, "_l0")
    state = (torch.zeros(1, case.batch, case.units), torch.zeros(1, case.batch, case.units))

    @torch.inference_mode()
    def step(x):
        nonlocal state
        y, state = lstm(torch.from_numpy(x)[:, None], state)
        y = y[:, 0]
        return (y @ weights["head_kernel"] + weights["head_bias"] if case.head else y).numpy()

    return step


def torch_cell(case):
    import torch

    cell = torch.nn.LSTMCell(FEATURES, case.units)
    weights = torch_weights(case, cell, "")
    state = (torch.zeros(case.batch, case.units), torch.zeros(case.batch, case.units))

    @torch.inference_mode()
    def step(x):
        nonlocal state
        state = cell(torch.from_numpy(x), state)
        y = state[0]
        return (y @ weights["head_kernel"] + weights["head_bias"] if case.head else y).numpy()

    return step


class Engine(NamedTuple):
    """A row of the table, and the process that runs it."""

    title: str
    process: str
    make: Callable[[Case], Callable[[Any], Any]]


OURS = "**`Program.step`**"
LIMIT = "limit: only the product, `numpy.dot`"
LIMIT_AVX512 = f"{LIMIT}, `OPENBLAS_CORETYPE=SkylakeX`"
ENGINES = [
    Engine(OURS, "light", ours),
    Engine('the same, `nan="propagate"`', "light", ours_propagate),
    Engine("the same, `out=state`", "light", ours_out),
    Engine("`Program.scan`, per step", "light", ours_scan),
    Engine("only the native library, `native.Step`", "light", ours_kernel),
    Engine(f"{OURS} on NumPy", "light", ours_numpy),
    Engine(f"{OURS} on NumPy, `OPENBLAS_CORETYPE=SkylakeX`", "avx512", with_avx512(ours_numpy)),
    Engine("NumPy, well written by hand", "light", numpy_by_hand),
    Engine("LiteRT", "light", litert),
    Engine("ONNX Runtime, `run`, LSTM operator", "light", onnx_run),
    Engine("ONNX Runtime, `run`, graph of `save_onnx`", "light", onnx_ours),
    Engine("`runtime.load_onnx`, `step`", "light", onnx_program),
    Engine("ONNX Runtime, bound buffers", "light", onnx_bound),
    Engine("PyTorch `LSTMCell`", "torch", torch_cell),
    Engine("PyTorch `LSTM`", "torch", torch_lstm),
    Engine("JAX `jit`", "jax", jax_jit),
    Engine("`tf.function`", "tensorflow", tf_function),
    Engine("`predict_on_batch`, TensorFlow", "tensorflow", keras_predict_on_batch),
    Engine("`predict_on_batch`, PyTorch", "torch", keras_predict_on_batch),
    Engine("`predict_on_batch`, JAX", "jax", keras_predict_on_batch),
    Engine("`model(x)`, TensorFlow", "tensorflow", keras_call),
    Engine("`model.predict`, TensorFlow", "tensorflow", keras_predict),
    Engine(LIMIT, "light", only_product),
    Engine(LIMIT_AVX512, "avx512", with_avx512(only_product)),
]
SLOW = (keras_call, keras_predict)


# The worker processes.


def prepare(cases):
    """Write weights, files of each engine, and Keras' outputs, to the working folder."""
    import keras
    import tensorflow as tf

    from seqkeras import export

    for case in sorted(set(cases)):
        keras.utils.set_random_seed(case.units)
        model = keras_model(case, stateful=False)
        if not Path(case.file("npz")).exists():
            write_files(case, model, export)
        expected = model.predict(case.inputs(), batch_size=case.batch, verbose=0)
        np.save(f"{case.batch}_{case.file('npy')}", expected)
        write_litert(case, tf)


def write_files(case, model, export):
    names = ("kernel", "recurrent", "bias", "head_kernel", "head_bias")
    np.savez(case.file("npz"), **dict(zip(names, model.get_weights(), strict=False)))
    export.save_program(model, case.file("program"))
    model.save(case.file("keras"))
    try:
        write_onnx(case)
        if hasattr(export, "save_onnx"):
            export.save_onnx(model, case.file("ours.onnx"))
    except ImportError as error:
        print(f"no ONNX file: {error}", file=sys.stderr)


def write_onnx(case):
    """Write the leanest graph: the LSTM operator with its states, and a Gemm."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    weights = case.weights()
    order = [0, 3, 1, 2]  # i, f, candidate, o -> i, o, f, candidate

    def by_gate(matrix):
        parts = np.split(matrix, 4, axis=-1)
        return np.concatenate([parts[at] for at in order], axis=-1)

    bias = np.concatenate([by_gate(weights["bias"]), np.zeros_like(weights["bias"])])
    arrays = {"W": by_gate(weights["kernel"]).T, "R": by_gate(weights["recurrent"]).T, "B": bias}
    arrays = {name: np.ascontiguousarray(array)[None] for name, array in arrays.items()}
    lstm = helper.make_node(
        "LSTM", ["x", "W", "R", "B", "", "h", "c"], ["", "new_h", "new_c"], hidden_size=case.units
    )
    nodes = [lstm]
    output = ("y", ["batch", 1])
    if case.head:
        arrays |= {name: weights[name] for name in ("head_kernel", "head_bias")}
        arrays["first"] = np.zeros(1, np.int64)
        nodes.append(helper.make_node("Squeeze", ["new_h", "first"], ["flat"]))
        nodes.append(helper.make_node("Gemm", ["flat", "head_kernel", "head_bias"], ["y"]))
    else:
        nodes.append(helper.make_node("Identity", ["new_h"], ["y"]))
        output = ("y", [1, "batch", case.units])
    state = [1, "batch", case.units]
    inputs = [("x", [1, "batch", FEATURES]), ("h", state), ("c", state)]
    outputs = [output, ("new_h", state), ("new_c", state)]
    graph = helper.make_graph(
        nodes,
        "step",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, case.file("onnx"))


def write_litert(case, tf):
    weights = {name: tf.constant(array) for name, array in case.weights().items()}
    state = tf.TensorSpec((case.batch, case.units))

    class Step(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec((case.batch, FEATURES), name="x"),
                tf.TensorSpec(state.shape, name="h"),
                tf.TensorSpec(state.shape, name="c"),
            ]
        )
        def run(self, x, h, c):
            matrix = tf.concat([weights["kernel"], weights["recurrent"]], axis=0)
            z = tf.concat([x, h], axis=1) @ matrix + weights["bias"]
            i, f, candidate, o = tf.split(z, 4, axis=1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(candidate)
            h = tf.sigmoid(o) * tf.tanh(c)
            y = h @ weights["head_kernel"] + weights["head_bias"] if case.head else h
            return {"y": y, "new_h": h, "new_c": c}

    step = Step()
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [step.run.get_concrete_function()], step
    )
    Path(f"{case.batch}_{case.file('tflite')}").write_bytes(converter.convert())


def difference(case, engine):
    """Compute the largest absolute difference from Keras over the compared steps."""
    xs = case.inputs()
    step = engine.make(case)
    if engine.make is ours_scan:
        outputs = step(xs)
    else:
        each = (step(np.ascontiguousarray(xs[:, t])) for t in range(case.checked))
        outputs = np.stack([np.array(y).reshape(case.batch, -1) for y in each], axis=1)
    return float(np.abs(outputs - np.load(f"{case.batch}_{case.file('npy')}")).max())


def microseconds(case, engine, step, seconds):
    """Measure the median microseconds of a step, in runs of some milliseconds."""
    xs = case.inputs()
    x = np.ascontiguousarray(xs[:, 0])
    steps = 1
    if engine.make is ours_scan:
        x = xs
        steps = case.checked
    begun = time.perf_counter()
    calls = 0
    while not calls or time.perf_counter() - begun < seconds / 5:  # warms up
        step(x)
        calls += 1
    calls = max(1, round(0.005 * calls / (time.perf_counter() - begun)))
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(calls):
            step(x)
        times.append((time.perf_counter() - start) / calls / steps * 1e6)
    return statistics.median(times)


def one_thread(process):
    """Set one thread in frameworks that ignore the environment variables."""
    try:
        if process == "tensorflow":
            import tensorflow as tf

            tf.config.threading.set_intra_op_parallelism_threads(1)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        if process == "torch":
            import torch

            torch.set_num_threads(1)
    except ImportError:
        pass  # each of its engines reports it


def work(process, answers):
    """Answer the requests on the standard input, one per line."""
    one_thread(process)
    made = {}
    for line in sys.stdin:
        number, case, seconds = json.loads(line)
        case = Case(*case)
        engine = ENGINES[number]
        try:
            if seconds is None:
                answer = None if engine.title in (LIMIT, LIMIT_AVX512) else difference(case, engine)
            else:
                if (number, case) not in made:
                    made[number, case] = engine.make(case)
                answer = microseconds(case, engine, made[number, case], seconds)
        except ImportError as error:
            answer = f"missing: {error}"
        print(json.dumps(answer), file=answers, flush=True)


# The main process: it asks the workers in turns, and prints.


def environment(process):
    backend = process if process in BACKENDS else "tensorflow"
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    settings = {"KERAS_BACKEND": backend, "XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "3"}
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    if process == "avx512":
        settings["OPENBLAS_CORETYPE"] = "SkylakeX"
    ours = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**ours, **THREADS, **settings, "PYTHONPATH": path}


def itself(*arguments, backend="tensorflow", folder=None):
    """Run a function of this script in a new process, and return what it printed."""
    command = [sys.executable, __file__, "--run", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(backend), capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{arguments[0]} failed on {backend}:\n{done.stderr[-3000:]}")
    return done.stdout


class Worker:
    """A process that measures its engines on request."""

    def __init__(self, process, folder):
        self.errors = Path(folder, f"{process}.errors")
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--run", "work", process],
            cwd=folder,
            env=environment(process),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors.open("w"),
            text=True,
        )

    def ask(self, *question):
        print(json.dumps(question), file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a process ended:\n{self.errors.read_text()[-3000:]}")
        return json.loads(answer)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def measure(cases, engines, options):
    """Return differences, microseconds by engine and case, and reasons for missing engines."""
    differences = {}
    times = {}
    missing = {}
    with tempfile.TemporaryDirectory() as folder:
        itself("prepare", json.dumps(cases), folder=folder)
        processes = {engine.process for engine in engines}
        workers = {process: Worker(process, folder) for process in processes}
        for engine in engines:
            ask = workers[engine.process].ask
            answers = [ask(ENGINES.index(engine), case, None) for case in cases]
            reason = next((answer for answer in answers if isinstance(answer, str)), None)
            if reason is not None:
                missing[engine.title] = reason
                continue
            numbers = [answer for answer in answers if answer is not None]
            differences[engine.title] = max(numbers, default=None)
        available = [engine for engine in engines if engine.title in differences]
        for _ in range(options.rounds):  # in turns, so a busy moment affects all alike
            for case in cases:
                for engine in available:
                    ask = workers[engine.process].ask
                    duration = ask(ENGINES.index(engine), case, options.seconds)
                    times.setdefault((engine.title, case), []).append(duration)
        for worker in workers.values():
            worker.end()
    return differences, times, missing


def number_text(value):
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio_text(numerators, denominators):
    """Format the median, smallest and largest ratio of the rounds."""
    each = [a / b for a, b in zip(numerators, denominators, strict=True)]
    middle, least, most = (number_text(f(each)) for f in (statistics.median, min, max))
    return f"{middle} ({least} .. {most})"


def table(head, rows):
    print(f"\n| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")


def print_times(cases, engines, measured, divisor=lambda case: 1):
    differences, times, missing = measured
    head = ["", *(case.title for case in cases), "difference from Keras"]
    rows = []
    for title in (engine.title for engine in engines if engine.title in differences):
        each = [statistics.median(times[title, case]) / divisor(case) for case in cases]
        largest = differences[title]
        difference_text = "" if largest is None else f"{largest:.1e}"
        rows.append([title, *map(number_text, each), difference_text])
    rows += [[title, reason, *[""] * len(cases)] for title, reason in missing.items()]
    table(head, rows)


def print_ratios(cases, engines, measured):
    differences, times, _ = measured
    print(f"\nTime relative to {OURS}: median of the rounds, smallest and largest")
    rows = [
        [title, *(ratio_text(times[title, case], times[OURS, case]) for case in cases)]
        for title in (engine.title for engine in engines)
        if title in differences and title != OURS
    ]
    table(["", *(case.title for case in cases)], rows)


def print_limit(cases, measured):
    rows = []
    for case in cases:
        limit = measured[1][LIMIT, case]
        bytes_ = 4 * (FEATURES + case.units + 1) * 4 * case.units
        flops = 2 * bytes_ / 4 * case.batch / statistics.median(limit) / 1e3
        rate = f"{bytes_ / statistics.median(limit) / 1e3:.0f}" if case.batch == 1 else ""
        away = ratio_text(measured[1][OURS, case], limit)
        rows.append([case.title, f"{bytes_:,}", rate, f"{flops:.0f}", away])
    head = ["", "bytes of weights", "read, GB/s", "GFLOP/s", "ours, relative to the product"]
    table(head, rows)


def steps(options):
    measured = measure(CASES, ENGINES, options)
    print(f"Microseconds per step, {FEATURES} features, one thread, {options.rounds} rounds")
    print_times(CASES, ENGINES, measured)
    print_ratios(CASES, ENGINES, measured)
    print_limit([case for case in CASES if not case.head], measured)


def sessions(options):
    engines = [engine for engine in ENGINES if engine.make not in SLOW]
    measured = measure(SESSIONS, engines, options)
    print("Microseconds per session and step, sessions in one call, only an LSTM")
    print_times(SESSIONS, engines, measured, divisor=lambda case: case.batch)
    print_ratios(SESSIONS, engines, measured)
    print_limit(SESSIONS, measured)


# Code for fresh processes, which do nothing else. The program has 64 units.

COLD = {
    "bare Python": "",
    "bare NumPy, imported": "import numpy",
    "NumPy, a step by hand": """
import numpy as np
with np.load("64_1.npz") as arrays:
    w = dict(arrays)
z = np.zeros((1, 8), "float32") @ w["kernel"] + w["bias"]
i, f, candidate, o = np.split(z, 4, axis=1)
h = np.tanh(np.tanh(candidate) / (1 + np.exp(-i))) / (1 + np.exp(-o))
h @ w["head_kernel"] + w["head_bias"]
""",
    "**`runtime.load`, `step`**": """
import numpy as np
from seqkeras import runtime
program = runtime.load("64_1.program")
program.step(np.zeros((1, 8), "float32"), program.initial_state())
""",
    "LiteRT": """
import numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter("1_64_1.tflite", num_threads=1)
interpreter.allocate_tensors()
for part in interpreter.get_input_details():
    interpreter.set_tensor(part["index"], np.zeros(part["shape"], "float32"))
interpreter.invoke()
interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
""",
    "ONNX Runtime": """
import numpy as np, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession("64_1.onnx", options, providers=["CPUExecutionProvider"])
zeros = np.zeros((1, 1, 64), "float32")
session.run(None, {"x": np.zeros((1, 1, 8), "float32"), "h": zeros, "c": zeros})
""",
    "JAX": """
import jax, numpy as np
with np.load("64_1.npz") as arrays:
    w = dict(arrays)
@jax.jit
def step(x, h, c):
    z = x @ w["kernel"] + h @ w["recurrent"] + w["bias"]
    i, f, candidate, o = jax.numpy.split(z, 4, axis=1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jax.numpy.tanh(candidate)
    h = jax.nn.sigmoid(o) * jax.numpy.tanh(c)
    return h @ w["head_kernel"] + w["head_bias"], h, c
zeros = np.zeros((1, 64), "float32")
np.asarray(step(np.zeros((1, 8), "float32"), zeros, zeros)[0])
""",
    "PyTorch": """
import numpy as np, torch
with np.load("64_1.npz") as arrays:
    w = {name: torch.from_numpy(array) for name, array in arrays.items()}
cell = torch.nn.LSTMCell(8, 64)
with torch.inference_mode():
    cell.weight_ih.copy_(w["kernel"].T)
    cell.weight_hh.copy_(w["recurrent"].T)
    h, c = cell(torch.zeros(1, 8))
    (h @ w["head_kernel"] + w["head_bias"]).numpy()
""",
    "Keras on TensorFlow": """
import keras, numpy as np
model = keras.saving.load_model("64_1.keras", compile=False)
model.predict_on_batch(np.zeros((1, 1, 8), "float32"))
""",
}
STATUS = "\nprint(open('/proc/self/status').read())"


def cold(options):
    measured = {name: [] for name in COLD}
    missing = {}
    with tempfile.TemporaryDirectory() as folder:
        itself("prepare", json.dumps([Case(64, 1, head=True)]), folder=folder)
        for number in range(options.cold_rounds + 1):
            for name in [name for name in COLD if name not in missing]:
                try:
                    result = fresh(COLD[name], folder)
                except ImportError as error:
                    missing[name] = str(error)
                    continue
                if number:  # the first round compiles modules and warms the page cache
                    measured[name].append(result)
    rows = []
    for name, results in measured.items():
        if name in missing:
            rows.append([name, f"missing: {missing[name]}", "", ""])
            continue
        seconds, now, peak = zip(*results, strict=True)
        spread = f"{statistics.median(seconds):.3f} ({min(seconds):.3f} .. {max(seconds):.3f})"
        memory = [f"{statistics.median(megabytes):.1f}" for megabytes in (now, peak)]
        rows.append([name, spread, *memory])
    print(f"A fresh process from start to end; medians of {options.cold_rounds} in turns")
    table(["", "seconds", "MB resident", "MB at the peak"], rows)


def fresh(code, folder):
    """Measure the seconds and megabytes of a process; ImportError if it cannot import a package."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code + STATUS],
        cwd=folder,
        env=environment("tensorflow"),
        capture_output=True,
        text=True,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise ImportError(done.stderr.strip().splitlines()[-1])
    return seconds, megabytes(done.stdout, "VmRSS"), megabytes(done.stdout, "VmHWM")


def megabytes(status, field):
    line = next(line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024


# 10,000 steps.


def long_models(keras):
    """Return models with every kind of layer that a program supports, each as input and layers."""
    layers = keras.layers
    sequences = {"return_sequences": True}
    numbers = keras.Input((None, FEATURES))
    ids = keras.Input((None,), dtype="int32")
    stacked = [layers.LSTMCell(32), layers.GRUCell(24), layers.SimpleRNNCell(16)]
    return {
        "LSTM": (numbers, [layers.LSTM(64, **sequences)]),
        "GRU": (numbers, [layers.GRU(64, **sequences)]),
        "GRU, reset before": (numbers, [layers.GRU(64, reset_after=False, **sequences)]),
        "SimpleRNN": (numbers, [layers.SimpleRNN(64, **sequences)]),
        "LSTM on GRU on LSTM": (
            numbers,
            [kind(32, **sequences) for kind in (layers.LSTM, layers.GRU, layers.LSTM)],
        ),
        "RNN(StackedRNNCells)": (
            numbers,
            [layers.RNN(layers.StackedRNNCells(stacked), **sequences)],
        ),
        "Masking, LSTM": (numbers, [layers.Masking(), layers.LSTM(32, **sequences)]),
        "BatchNormalization, LSTM, LayerNormalization": (
            numbers,
            [
                layers.BatchNormalization(),
                layers.LSTM(32, **sequences),
                layers.LayerNormalization(),
            ],
        ),
        "Embedding, GRU": (ids, [layers.Embedding(50, 8), layers.GRU(32, **sequences)]),
    }


def long_inputs(inputs, timesteps):
    random = np.random.default_rng(0)
    if len(inputs.shape) == 2:
        return random.integers(0, 50, (2, timesteps)).astype("int32")
    xs = random.normal(size=(2, timesteps, FEATURES)).astype("float32")
    xs[:, ::7] = 0  # masked by Masking
    return xs


def moved(model):
    """Move all weights from their initial values, so biases and statistics are not 0 and 1."""
    random = np.random.default_rng(1)
    for variable in model.weights:
        value = np.asarray(variable)
        value = value + random.normal(0, 0.02, value.shape)
        variable.assign(np.abs(value) if "variance" in variable.path else value)


def long_differences(timesteps):
    """Print the difference of each model, on the backend of this process."""
    import keras

    from seqkeras import export, runtime

    differences = {}
    for name, (inputs, layers) in long_models(keras).items():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([inputs, *layers, keras.layers.Dense(3)])
        moved(model)
        xs = long_inputs(inputs, int(timesteps))
        expected = model.predict(xs, verbose=0)
        export.save_program(model, "long.program")
        program = runtime.load("long.program")
        state = program.initial_state(2)
        largest = 0.0
        for t in range(xs.shape[1]):
            y, state = program.step(xs[:, t], state)
            largest = max(largest, float(np.abs(y - expected[:, t]).max()))
        differences[name] = largest
    print(json.dumps(differences))


def long(options):
    differences = {}
    missing = {}
    with tempfile.TemporaryDirectory() as folder:
        for backend in BACKENDS:
            try:
                output = itself(
                    "long_differences", str(options.timesteps), backend=backend, folder=folder
                )
                differences[backend] = json.loads(output.splitlines()[-1])
            except RuntimeError as error:
                missing[backend] = str(error).strip().splitlines()[-1]
    print(f"Largest absolute difference from `predict` over {options.timesteps:,} steps, float32")
    names = next(iter(differences.values()))
    rows = [[name, *(f"{each[name]:.1e}" for each in differences.values())] for name in names]
    table(["", *differences], rows)
    for backend, reason in missing.items():
        print(f"missing, {backend}: {reason}")


def run(name, *arguments):
    """Run a function of this script, in a process that was started for it."""
    answers = os.fdopen(os.dup(1), "w")
    if name == "work":
        os.dup2(2, 1)  # what libraries print must not count as an answer
        work(*arguments, answers)
    elif name == "prepare":
        prepare([Case(*case) for case in json.loads(arguments[0])])
    else:
        long_differences(*arguments)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold-rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="of each measurement")
    parser.add_argument("--timesteps", type=int, default=10_000, help="of --long")
    for name in ("sessions", "cold", "long"):
        parser.add_argument(f"--{name}", action="store_const", const=globals()[name], dest="what")
    parser.add_argument("--run", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        run(*options.run)
    else:
        (options.what or steps)(options)


if __name__ == "__main__":
    main()
