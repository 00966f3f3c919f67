"""The command `serve`."""

import argparse
from pathlib import Path

#: Options with an argument: its kind, and the help. The fields of `ServiceSettings` have the same
#: names, and their defaults; options that are omitted are None, so that the environment counts.
OPTIONS = {
    "store": (str, "memory (the default), sqlite:///FILE or redis://HOST:PORT/0"),
    "durability": (str, "disk (the default) survives a power loss, process a killed process"),
    "host": (str, "address to listen on (default: 127.0.0.1); others need --tokens"),
    "port": (int, "port to listen on (default: 8000); 0 takes a free one, which is printed"),
    "workers": (int, "number of processes (default: 1); several need a Redis store"),
    "tokens": (str, "file with a line CLIENT TOKEN for each client; admin may replace the program"),
    "ttl": (float, "seconds after its last request when a session ends (default: never)"),
    "memory-sessions": (int, "most sessions in memory (default: 100000)"),
    "history": (int, "newest inputs stored with each session, to warm up programs (default: 0)"),
    "client-sessions": (int, "most sessions of one client (default: no limit)"),
    "max-body": (int, "most bytes of a request (default: 1048576)"),
    "max-batch": (int, "most observations of a request (default: 4096)"),
    "max-waiting": (int, "most steps that wait to be stored (default: 10000)"),
    "max-connections": (int, "most connections (default: 20000)"),
    "timeout": (float, "seconds in which a request must have arrived (default: 10)"),
}


def add_serve_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.add_argument(
        "program",
        type=Path,
        nargs="?",
        metavar="PROGRAM",
        help="file of seqkeras export, or a saved Forecaster",
    )
    for name, (kind, text) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, help=text)
    parser.epilog = (
        "Each setting can also be an environment variable, such as SEQKERAS_SERVE_PROGRAM or "
        "SEQKERAS_SERVE_MEMORY_SESSIONS; options come first. SIGHUP loads the program again, "
        "SIGTERM finishes the requests that were accepted."
    )


def serve(options: argparse.Namespace) -> None:
    """Run the prediction service until it is stopped."""
    # Not at the top: the other commands do not need the packages of the service.
    from seqkeras.serve import ServiceSettings
    from seqkeras.serve import serve as run

    arguments = {name.replace("-", "_"): None for name in OPTIONS}
    arguments = {name: getattr(options, name) for name in arguments}
    program = None if options.program is None else str(options.program)
    run(ServiceSettings.from_environment(program=program, **arguments))
