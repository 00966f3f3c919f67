"""Options in a file."""

import json
import shlex

import pytest

from seqkeras.__main__ import main
from seqkeras._cli._config import arguments_of, write_config
from seqkeras._cli._parser import parser
from seqkeras.errors import ArgumentError, FileFormatError


def parsed(arguments):
    return parser().parse_args(shlex.split(arguments))


CALLS = [
    "forecast a.csv --horizon 3 --levels --past price 'a b' --sort --freq D --sep ;",
    "backtest a.csv --horizon 3 --units 8 4 --learning-rate 0.01 --date-format '%d.%m.%Y'",
    'detect a.csv --columns "say \\"x\\"" b\\\\c --clean --false-alarm-rate 0.001',
    "export m.keras m.program --features größe",
    "serve p.program --port 0 --ttl 2.5",
]


@pytest.mark.parametrize("call", CALLS)
def test_a_written_file_of_options_gives_the_same_options(tmp_path, call):
    path = tmp_path / "options.toml"
    options = parsed(f"{call} --write-config {path}")
    write_config(options)
    command, positional = options.command, shlex.split(call)[1:2]
    if command == "export":
        positional = shlex.split(call)[1:3]
    read = parsed(f"{command} --config {path} {shlex.join(positional)}")
    again = parser().parse_args([command, *arguments_of(read), *positional])
    for name in ("config", "write_config"):
        delattr(again, name)
        delattr(options, name)
    assert vars(again) == vars(options)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("horizn = 3", "horizn.* Did you mean 'horizon'"),
        ("run = 3", "must be a file of options of forecast"),
        ("levels = [[80]]", "levels must be a word, a number"),
        ("past = ['--output']", "past must be a word, a number"),
        ("[training]\nepochs = 3", "training"),
    ],
)
def test_a_file_with_other_options_is_refused(tmp_path, content, words):
    path = tmp_path / "options.toml"
    path.write_text(content)
    with pytest.raises(ArgumentError, match=words):
        arguments_of(parsed(f"forecast a.csv --config {path}"))


def test_a_file_that_is_not_toml_is_refused(tmp_path):
    path = tmp_path / "options.toml"
    path.write_bytes(b"horizon = \xff")
    with pytest.raises(FileFormatError, match="cannot be read as TOML"):
        arguments_of(parsed(f"forecast a.csv --config {path}"))


def test_the_command_line_wins_over_the_file_which_is_not_overwritten(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "options.toml").write_text("levels = [80]\nhorizon = 2\nlookback = 0\n")
    assert main(["forecast", "a.csv", "--config", "options.toml"]) == 1
    assert "--lookback must be an integer >= 1" in capsys.readouterr().err
    assert main(["forecast", "a.csv", "--config", "options.toml", "--lookback", "5"]) == 1
    assert "a.csv" in capsys.readouterr().err  # read next, and missing
    assert main(["forecast", "a.csv", "--write-config", "options.toml"]) == 1
    assert "options.toml exists already. Use --force" in capsys.readouterr().err


def test_json_is_the_only_output(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "missing.keras", "--json"]) == 1
    assert capsys.readouterr().out == ""
    from seqkeras import many_to_one

    many_to_one(2, units=4).save("model.keras")
    assert main(["export", "model.keras", "model.program", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["command"], result["output"]) == ("export", "model.program")
