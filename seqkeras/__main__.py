"""The command line: `seqkeras forecast FILE`, `detect FILE`, `export MODEL TARGET`, and others."""

import os
import sys
from collections.abc import Sequence

from seqkeras._cli._parser import parser
from seqkeras._cli._terminal import complain, only_own_warnings, open_streams
from seqkeras.errors import SeqkerasError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return the exit status: 0, or 1 after an error message."""
    open_streams()
    options = parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        with only_own_warnings():
            options.run(options)
    except (SeqkerasError, OSError) as error:
        complain(str(error))
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
