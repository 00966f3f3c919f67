"""The commands and their help."""

import pytest

from seqkeras._cli._parser import COMMANDS, parser


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example_that_can_be_copied(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        parser().parse_args([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    example = lines[lines.index("example:") + 1].split()
    assert example[:2] == ["seqkeras", command]
    assert parser().parse_args(example[1:]).command == command
