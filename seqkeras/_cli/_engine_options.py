"""Options of the commands whose work has parts that an engine computes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

#: The values of the library, repeated here because it is slow to import; a test compares them.
ENGINES = ("joblib", "ray", "dask", "spark")


def add_engine_options(add: Callable[..., Any], parts: str) -> None:
    """Add the options to a parser or a group.

    Args:
        add: its `add_argument`.
        parts: what the parts are, such as "fits".
    """
    add("--engine", choices=ENGINES, help=f"run the {parts} in processes of it (default: here)")
    add(
        "--folder",
        type=Path,
        help=f"store the results of the {parts}; the same command then does what is missing",
    )
