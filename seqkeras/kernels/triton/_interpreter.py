"""Whether Triton's interpreter is on."""

import os


def interpreted() -> bool:
    """Return whether Triton runs programs in its slow interpreter, for tests on a CPU."""
    return os.environ.get("TRITON_INTERPRET") == "1"
