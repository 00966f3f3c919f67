"""The command line: `seqkeras forecast FILE`, `detect FILE`, `export MODEL TARGET`, and others."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from pathlib import Path

from seqkeras._cli._config import arguments_of, write_config
from seqkeras._cli._parser import parser
from seqkeras._cli._standard_input import StandardInput
from seqkeras._cli._terminal import complain, message_of, only_own_warnings, open_streams
from seqkeras.errors import SeqkerasError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: 0, or 1 after an error message."""
    open_streams()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    options = parser().parse_args(arguments)
    standard_input = StandardInput()
    try:
        with only_own_warnings(), standard_input:
            from_file = arguments_of(options)
            if from_file:
                options = parser().parse_args([arguments[0], *from_file, *arguments[1:]])
            if options.write_config is not None:
                write_config(options)
            if getattr(options, "file", None) == Path("-"):
                options.file = standard_input.file()
            with redirect_stdout(sys.stderr) if options.json else nullcontext():
                result = options.run(options)
            if options.json:
                print(json.dumps({"command": options.command, **(result or {})}))
    except (SeqkerasError, OSError) as error:
        complain(standard_input.named(message_of(error)))
        return 1
    except MemoryError:
        complain("There is not enough memory.")
        return 1
    except KeyboardInterrupt:
        complain("interrupted; only files named above are complete.")
        return 130
    except Exception as error:
        if sys.flags.dev_mode:
            raise
        fix = "To see where, run it as python -X dev -m seqkeras."
        complain(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]} {fix}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
