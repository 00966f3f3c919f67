"""The log of a service: one JSON object a line, without payloads and tokens."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

#: Fields of a log record that become fields of the line, if they are set with `extra=`.
FIELDS = ("address", "program", "fingerprint", "store")


class JsonLines(logging.Formatter):
    """Formats each log record as a JSON object on one line.

    Of an exception, its class and places in the code are logged but not its message, which could
    quote what a client sent.

    Example:
        >>> record = logging.makeLogRecord({"msg": 'a "quoted" word', "levelname": "INFO"})
        >>> json.loads(JsonLines().format(record))["message"]
        'a "quoted" word'
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, Any] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            line["error"] = kind.__name__
            line["places"] = [
                f"{frame.filename}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(trace)
            ]
        return json.dumps(line, default=str)


def start_logging() -> None:
    """Write all logs of this process to standard error, as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # uvicorn's notices name the process and each WebSocket; ours name the program and its store.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
