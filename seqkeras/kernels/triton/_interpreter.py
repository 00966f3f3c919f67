"""Whether Triton's interpreter is on."""

import os


def interpreted() -> bool:
    """Return whether Triton interprets the programs, slowly, on the CPU: for tests."""
    return os.environ.get("TRITON_INTERPRET") == "1"
