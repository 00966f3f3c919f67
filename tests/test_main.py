"""The command line, as a user calls it."""

import io
import json
import os
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from helpers.examples import long_run_only
from seqkeras import many_to_one, runtime
from seqkeras.__main__ import main
from seqkeras.forecasting import load_air_passengers

# The demo compiles, in a process of its own.
pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def forecast(*arguments):
    return main(["forecast", *map(str, arguments), "--epochs", "1"])


#: Options that leave out scores and intervals, which take time, where a test needs neither.
PLAIN = ["--no-score", "--validation", 0, "--levels"]


def test_the_demo_leaves_a_picture_of_a_forecast_far_better_than_the_last_year(here):
    command = [sys.executable, "-m", "seqkeras", "demo"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    assert "1960-12-01" in done.stdout
    ours, last_year = (
        float(re.search(rf"^{name} +(?:[\d.]+ +){{3}}([\d.]+)", done.stdout, re.MULTILINE)[1])
        for name in ("seqkeras", "seasonal naive")  # MASE is the fourth column
    )
    assert ours <= 0.6 * last_year
    assert all(re.match("(fit|all rows): epoch", line) for line in done.stderr.splitlines())
    assert (here / "forecast.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_of_one_series_is_forecast(here, capsys, suffix):
    df = load_air_passengers().rename(columns={"ds": "month", "y": "passengers"})
    getattr(df, "to_" + suffix[1:])(f"air{suffix}", index=False)
    options = ["--time-col", "month", "--target-col", "passengers", "--horizon", 6]
    if suffix == ".parquet":
        options.append("--no-score")
    assert forecast(f"air{suffix}", *options) == 0
    read = pd.read_csv if suffix == ".csv" else pd.read_parquet
    written = read(f"air_forecast{suffix}")
    assert pd.to_datetime(written.month).tolist() == list(
        pd.date_range("1961-01-01", periods=6, freq="MS")
    )
    assert {"yhat", "yhat-lo-95", "yhat-hi-95"} <= set(written)
    assert (here / "air_forecast.png").exists()
    out = capsys.readouterr().out
    assert out.index("1961-06-01") < out.index("Picture: ")
    if suffix == ".csv":
        assert out.index("Picture: ") < out.index("seasonal naive")
    else:
        assert "seasonal naive" not in out


def test_a_file_of_many_series_is_forecast(here):
    df = load_air_passengers()
    both = pd.concat([df.assign(line=1), df.assign(line=2, y=df.y * 2)])
    both.to_csv("lines.csv", index=False)
    assert forecast("lines.csv", "--id-col", "line", "--horizon", 3, *PLAIN) == 0
    assert pd.read_csv("lines_forecast.csv").line.tolist() == [1, 1, 1, 2, 2, 2]


def test_standard_input_is_forecast_and_backtested_as_json(here, capsys, monkeypatch):
    content = load_air_passengers().to_csv(index=False).encode()
    options = ["--horizon", "6", "--epochs", "1", "--json", "--lookback", "12"]

    def call(command, *more):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        status = main([command, "-", *options, *more])
        captured = capsys.readouterr()
        return status, captured

    status, captured = call("forecast", "--no-score", "--save", "air.forecaster")
    result = json.loads(captured.out)
    assert status == 0
    assert result["forecast"][0]["ds"].startswith("1961-01")
    assert result["output"] == "stdin_forecast.csv"
    status, captured = call("forecast", "--load", "air.forecaster", "--force")
    assert json.loads(captured.out)["forecast"] == result["forecast"]
    status, captured = call("backtest", "--windows", "2")
    result = json.loads(captured.out)
    assert [row["method"] for row in result["scores"]][:2] == ["seqkeras", "seasonal naive"]
    assert len(pd.read_csv("stdin_backtest.csv")) == 12
    status, captured = call("forecast", "--target-col", "x", "--force")
    assert (status, captured.out) == (1, "")
    assert "must be a column of standard input, which has" in captured.err
    assert not list(Path(tempfile.gettempdir()).glob("seqkeras-*/stdin.csv"))


def test_future_covariates_are_read_from_a_file_of_their_own(here, capsys):
    df = load_air_passengers()
    df.assign(price=range(len(df))).to_csv("air.csv", index=False)
    future = pd.DataFrame({"ds": pd.date_range("1961-01-01", periods=3, freq="MS"), "price": 150})
    future.to_csv("prices.csv", index=False)
    options = ["air.csv", "--horizon", 3, "--future", "price", *PLAIN]
    assert forecast(*options) == 1
    assert "--future-file must be a file, because of --future" in capsys.readouterr().err
    assert forecast(*options, "--future-file", "prices.csv") == 0
    assert len(pd.read_csv("air_forecast.csv")) == 3


def test_files_that_are_there_are_not_overwritten_unless_forced(here, capsys):
    load_air_passengers().to_csv("air.csv", index=False)
    (here / "air_forecast.csv").write_text("mine")
    assert forecast("air.csv", "--horizon", 3) == 1
    assert "air_forecast.csv exists already. Use --force" in capsys.readouterr().err
    assert (here / "air_forecast.csv").read_text() == "mine"
    assert forecast("air.csv", "--horizon", 3, "--force", *PLAIN) == 0
    assert (here / "air_forecast.csv").read_text() != "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.csv", "--horizon", 3], "missing.csv"),
        (["air.csv", "--horizon", 3, "--time-col", "d"], "--time-col must be a column of air.csv"),
        (["air.csv", "--horizon", 0], "--horizon must be an integer >= 1"),
        (["air.csv", "--horizon", 3, "--lookback", 0], "--lookback must be an integer >= 1"),
        (["air.csv", "--horizon", 3, "--seed", -1], "--seed must be an integer >= 0"),
        (["air.csv", "--horizon", 3, "--validation", 1], "--validation must be a number in [0, 1)"),
        (["air.csv", "--horizon", 3, "--levels", 0.8], "--levels must be different numbers"),
        (["air.csv", "--horizon", 3, "--validation", 0], "Use --levels without values"),
        (["air.csv", "--horizon", 3, "--output", "no/such.csv"], "The folder no does not exist"),
        (["air.csv", "--horizon", 3, "--freq", "D"], "has 1949-01-02"),
        (["air.csv", "--horizon", 3, "--freq", "1"], "--freq must be a pandas frequency"),
        (["empty.csv", "--horizon", 3], "empty.csv must be readable as csv"),
        (["air.csv", "--horizon", 3, "--plot", "air.bmp"], ".png or .svg or .pdf or .jpg"),
        (["air.csv", "--horizon", 3, "--output", "air.xls"], ".csv or .parquet"),
        (["air.csv", "--horizon", 3, "--output", "air.csv", "--force"], "different files"),
        (["air.csv", "--horizon", 3, "--output", "link.csv", "--force"], "different files"),
        (["air.csv", "--horizon", 3, "--output", "taken.csv", "--force"], "cannot be written"),
        (["pipe.csv", "--horizon", 3], "FILE must be a regular file"),
        (["taken.csv", "--horizon", 3], "FILE must be a regular file"),
    ],
)
def test_a_mistake_is_answered_in_one_line(here, capsys, arguments, words):
    load_air_passengers().to_csv("air.csv", index=False)
    (here / "empty.csv").touch()
    (here / "taken.csv").mkdir()
    (here / "link.csv").hardlink_to("air.csv")
    os.mkfifo("pipe.csv")
    assert forecast(*arguments) == 1
    message = capsys.readouterr().err
    assert "=()" not in message
    assert "Training(" not in message
    assert message.startswith("seqkeras: ")
    assert words in message
    assert message.count("\n") == 1


def test_a_row_that_the_file_of_the_future_lacks_is_found_before_training(here, capsys):
    days = pd.date_range("2024-01-01", periods=40)
    sales = pd.DataFrame({"ds": days, "y": np.arange(40) % 7, "price": np.arange(40) % 5})
    sales.iloc[:37].to_csv("sales.csv", index=False)
    sales.iloc[37:].to_csv("prices.csv", index=False)
    options = ["--future", "price", "--future-file", "prices.csv", "--horizon", 4]
    assert forecast("sales.csv", *options) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1  # no progress of a training
    assert "--future-file must have a row for each" in said[0]


def test_a_refused_backtest_says_so_in_one_line_in_spite_of_tensorflow(here):
    load_air_passengers().to_csv("air.csv", index=False)
    environment = {key: value for key, value in os.environ.items() if key != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-m", "seqkeras", "backtest", "air.csv", "--horizon", "100"]
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "horizon 100" in done.stderr


def test_what_cannot_be_written_is_told_before_the_training(here, capsys, monkeypatch):
    load_air_passengers().to_csv("air.csv", index=False)
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, mode: False)
        assert forecast("air.csv", "--horizon", 3) == 1
    assert "air_forecast.csv cannot be written" in capsys.readouterr().err
    for module, extra in {"matplotlib": "plot", "pyarrow": "parquet"}.items():
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            assert forecast("air.csv", "--horizon", 3, "--output", "air.parquet") == 1
        assert f'pip install "seqkeras[{extra}]"' in capsys.readouterr().err
    assert [path.name for path in here.iterdir()] == ["air.csv"]


def test_ids_are_the_text_of_the_file_and_stamps_may_count(here):
    df = pd.DataFrame({"ds": np.arange(60), "y": np.sin(np.arange(60))})
    lines = pd.concat([df.assign(unique_id="007"), df.assign(unique_id="NA")])
    lines.to_csv("lines.csv", index=False)
    options = ["--horizon", 2, "--lookback", 5, "--freq", "1", *PLAIN]
    assert forecast("lines.csv", *options) == 0
    written = pd.read_csv("lines_forecast.csv", dtype=str, keep_default_na=False)
    assert written.unique_id.tolist() == ["007", "007", "NA", "NA"]
    assert written.ds.tolist() == ["60", "61"] * 2


def test_a_series_too_short_to_be_scored_is_forecast(here, capsys):
    df = load_air_passengers()[:21]
    df.to_csv("air.csv", index=False)
    assert forecast("air.csv", "--horizon", 3, "--lookback", 8) == 0
    said = capsys.readouterr()
    assert "seqkeras: not scored: The longest series must have 20 rows" in said.err
    assert "Picture: " in said.out
    assert len(pd.read_csv("air_forecast.csv")) == 3


def test_an_interruption_of_the_scoring_leaves_the_forecast(here, capsys, monkeypatch):
    def interrupted(*arguments, **columns):
        raise KeyboardInterrupt

    monkeypatch.setattr("seqkeras.forecasting.evaluate_holdout", interrupted)
    load_air_passengers().to_csv("air.csv", index=False)
    assert forecast("air.csv", "--horizon", 3, "--validation", 0, "--levels") == 130
    said = capsys.readouterr()
    assert "only files named above are complete" in said.err
    assert "Forecast: air_forecast.csv\nPicture: air_forecast.png" in said.out
    assert len(pd.read_csv("air_forecast.csv")) == 3


def test_a_file_is_checked_before_keras_is_imported(here):
    (here / "air.csv").write_text("ds,y\n2024-01-01,1\n2024-01-02,?\n")
    code = (
        "import sys; from seqkeras.__main__ import main\n"
        "assert main(['forecast', 'air.csv', '--horizon', '3']) == 1\n"
        "assert not {'keras', 'tensorflow', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Got: '?' in row 2." in done.stderr


def test_a_short_series_is_forecast_with_the_options_of_the_message(here, capsys):
    rows = [f"{1950 + year},{year % 5}.5" for year in range(16)]
    (here / "years.csv").write_text("\n".join(["ds,y", *rows, ""]))
    assert forecast("years.csv", "--horizon", 7, "--no-score") == 1
    said = capsys.readouterr().err
    assert "or --validation 0 --levels." in said
    assert "levels=" not in said
    options = ["--horizon", 7, *PLAIN]
    assert forecast("years.csv", *options) == 0
    assert pd.read_csv("years_forecast.csv").columns.tolist() == ["ds", "yhat"]


def test_a_short_series_among_others_is_forecast_or_omitted(here, capsys):
    df = pd.DataFrame({"ds": np.arange(60), "y": np.sin(np.arange(60))})
    lines = pd.concat([df.assign(unique_id="a"), df.head(2).assign(unique_id="\x1b[31mb")])
    lines.to_csv("lines.csv", index=False)
    options = ["--horizon", 2, "--lookback", 5, *PLAIN]
    assert forecast("lines.csv", *options) == 0
    said = capsys.readouterr().err
    assert said.startswith("seqkeras: 1 of 2 series have fewer than 7 rows")
    assert "\x1b" not in said
    assert forecast("lines.csv", *options, "--short-series", "skip", "--force") == 0
    said = capsys.readouterr().err
    assert said.startswith("seqkeras: 1 of 2 series are too short and were skipped.")
    assert said.count("\n") == 1


def test_an_escape_code_in_an_id_does_not_reach_the_terminal(here, capsys):
    df = pd.DataFrame({"ds": np.arange(40), "y": np.sin(np.arange(40))})
    df.assign(unique_id="\x1b[31mred").to_csv("a.csv", index=False)
    assert forecast("a.csv", "--horizon", 2, "--lookback", 5, *PLAIN) == 0
    said = capsys.readouterr().out
    assert "\\x1b[31mred" in said
    assert "\x1b" not in said
    assert pd.read_csv("a_forecast.csv").unique_id[0] == "\x1b[31mred"


def test_a_table_that_cannot_be_completed_stays_as_it_was(here, monkeypatch):
    load_air_passengers().to_csv("air.csv", index=False)
    (here / "air_forecast.csv").write_text("mine")

    def full(df, path, **options):
        Path(path).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert forecast("air.csv", "--horizon", 3, "--force", *PLAIN) == 1
    assert (here / "air_forecast.csv").read_text() == "mine"
    assert {path.name for path in here.iterdir()} == {"air.csv", "air_forecast.csv"}


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("out of\nmemory"), KeyError("a")])
def test_no_error_is_a_traceback(here, capsys, monkeypatch, error):
    def fails(*arguments, **options):
        raise error

    monkeypatch.setattr("seqkeras._cli._forecast.read_series", fails)
    assert main(["forecast", "air.csv", "--horizon", "3"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("seqkeras: ")
    assert said.count("\n") == 1


def test_a_message_has_no_length_that_a_file_can_choose(here, capsys):
    (here / "air.csv").write_text(f"ds,y\n{chr(0) * 100_000}\x1b[31m,1\n")
    assert forecast("air.csv", "--horizon", 3) == 1
    said = capsys.readouterr().err
    assert len(said) < 2000
    assert said[:-1].isprintable()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model with layers of seqkeras in a file."""
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    many_to_one(2, units=4, stateful=True, batch_size=1).save(path)
    return path


def test_a_model_is_exported_as_a_program(here, saved, capsys):
    options = ["--window", "5", "--features", "flow", "pressure", "--float16"]
    assert main(["export", str(saved), "pump.program", *options]) == 0
    program = runtime.load("pump.program")
    assert capsys.readouterr().out == f"pump.program: {program}\n"
    assert program.window == 5
    assert program.inputs[0].features == ("flow", "pressure")
    assert main(["export", str(saved), "pump.program"]) == 1
    assert "pump.program exists already. Use --force" in capsys.readouterr().err
    assert main(["export", str(saved), "pump.program", "--force"]) == 0
    assert runtime.load("pump.program").window is None


def test_a_model_is_exported_as_onnx(here, saved, capsys):
    assert main(["export", str(saved), "pump.onnx", "--onnx", "step"]) == 0
    assert capsys.readouterr().out == f"pump.onnx: {runtime.load_onnx('pump.onnx')}\n"
    assert main(["export", str(saved), "more.onnx", "--onnx", "step", "--float16"]) == 1
    assert "--float16 must be omitted with --onnx" in capsys.readouterr().err
    assert not (here / "more.onnx").exists()


def test_a_model_is_not_replaced_by_its_program(here, saved, capsys):
    (here / "model.keras").write_bytes(saved.read_bytes())
    (here / "link.keras").hardlink_to("model.keras")
    for target in ("model.keras", "link.keras"):
        assert main(["export", "model.keras", target, "--force"]) == 1
        assert "MODEL, TARGET must be different files" in capsys.readouterr().err
    assert (here / "model.keras").read_bytes() == saved.read_bytes()


def test_a_picture_is_not_overwritten_by_the_demo_unless_forced(here, capsys):
    (here / "forecast.png").write_text("mine")
    assert main(["demo"]) == 1
    assert "Use --force" in capsys.readouterr().err
    assert (here / "forecast.png").read_text() == "mine"


def test_a_closed_error_output_does_not_stop_a_command():
    code = (
        "from seqkeras._cli._terminal import hold_back_notices, open_streams\n"
        "open_streams()\n"
        "with hold_back_notices(): print('done')"
    )
    call = [sys.executable, "-c", code]
    done = subprocess.run(call, stdout=subprocess.PIPE, check=True, preexec_fn=lambda: os.close(2))
    assert done.stdout == b"done\n"


def test_files_of_keras_2_are_opened(here, capsys):
    path = str(Path(__file__).parent / "conversion" / "data" / "sequential.h5")
    assert main(["explain", path]) == 0
    assert "both/forward_cu_dnngru_1   keras GRU" in capsys.readouterr().out
    assert main(["export", path, "old.program"]) == 1
    message = capsys.readouterr().err
    assert "'both': its backward direction" in message
    assert "or use --window, the number of timesteps" in message


def test_what_is_no_model_is_not_exported(here, capsys):
    (here / "model.keras").write_text("no model")
    assert main(["export", "model.keras", "out.program"]) == 1
    assert "'model.keras' is neither HDF5 nor a .keras file" in capsys.readouterr().err
    assert main(["export", "none.keras", "out.program"]) == 1
    assert "none.keras" in capsys.readouterr().err
    assert main(["export", "model.keras", "no/folder/out.program"]) == 1
    assert "folder" in capsys.readouterr().err
    assert not (here / "out.program").exists()


@long_run_only
def test_an_environment_without_pip_is_made_anew_and_has_layers(tmp_path):
    setup = runpy.run_path(str(Path(__file__).parents[1] / ".ci/venv.py"))
    venv, layer = tmp_path / "venv", tmp_path / "venv/layer"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    (venv / "lost").touch()
    setup["make"](venv)
    assert not (venv / "lost").exists()
    (venv / "kept").touch()
    setup["make"](venv)  # it stays, because it has pip
    assert (venv / "kept").exists()
    setup["make_layer"](layer, venv)
    where = "import pip, sys; print(sys.prefix, pip.__file__)"
    command = [str(setup["python"](layer)), "-c", where]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    prefix, pip = map(Path, done.stdout.split())
    assert prefix.samefile(layer)
    assert venv in pip.parents
    assert layer not in pip.parents


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("seqkeras 0.")


def test_a_model_is_explained(here, capsys):
    import keras

    import seqkeras

    inner = keras.Sequential(
        [
            keras.Input(batch_shape=(2, None, 3)),
            keras.layers.RNN(
                [keras.layers.LSTMCell(4), keras.layers.GRUCell(5)], stateful=True, name="cells"
            ),
        ],
        name="encoder",
    )
    x = keras.Input(batch_shape=(2, None, 3))
    y = keras.layers.RepeatVector(6)(inner(x))
    keras.Model(x, keras.layers.LSTM(7, name="decoder")(y), name="mine").save("mine.keras")
    assert main(["explain", "mine.keras"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split() == ["layer", "class", "units", "kernel", "stateful", "states"]
    assert said[1].startswith("encoder/cells")
    assert said[1].endswith("4, 5   scan    yes       0/h (2, 4), 0/c (2, 4), 1/h (2, 5)")
    assert said[2].split()[:5] == ["decoder", "keras", "LSTM", "7", "scan"]
    assert said[4] == "Why this kernel:"
    assert "7 to know:" in said
    assert "    The number of rows is fixed at 2: any other batch size is an error." in said
    assert max(map(len, said)) <= 88

    seqkeras.many_to_one(1, stateful=True, batch_size=1).save("ours.keras")
    seqkeras.many_to_one(1).save("plain.keras")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)], name="dense").save("dense.keras")
    assert [main(["explain", f"{name}.keras"]) for name in ("ours", "plain", "dense")] == [0, 0, 0]
    said = capsys.readouterr().out
    assert "seqkeras LSTM" in said
    assert "No trap was found." in said
    assert "dense has no recurrent layers." in said


def test_a_file_that_holds_code_is_not_run(here, capsys):
    import keras

    code = keras.layers.Lambda(lambda x: x + 1)
    keras.Sequential([keras.Input((3, 1)), code, keras.layers.LSTM(2)]).save("code.keras")
    assert main(["explain", "code.keras"]) == 1
    assert "'code.keras' cannot be loaded" in capsys.readouterr().err
