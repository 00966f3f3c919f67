"""Translation of the library's messages: options of the command line for Python arguments."""

import re

from seqkeras._files import shortened

#: The option for each Python argument that messages name.
OPTIONS = {
    "id": "--id-col",
    "time": "--time-col",
    "target": "--target-col",
    "freq": "--freq",
    "fill": "--fill",
    "horizon": "--horizon",
    "lookback": "--lookback",
    "levels": "--levels",
    "epochs": "--epochs",
    "validation": "--validation",
    "seed": "--seed",
    "network": "--model",
    "architecture": "--model",
    "past": "--past",
    "future": "--future",
    "static": "--static",
    "calendar": "--calendar",
    "missing": "--missing",
    "season_length": "--season-length",
    "units": "--units",
    "cell": "--cell",
    "normalization": "--normalization",
    "likelihood": "--likelihood",
    "method": "--interval-method",
    "patience": "--patience",
    "batch_size": "--batch-size",
    "learning_rate": "--learning-rate",
    "teacher_forcing": "--teacher-forcing",
    "windows": "--windows",
    "step": "--step",
    "gap": "--gap",
    "refit": "--refit",
    "n_jobs": "--jobs",
    "engine": "--engine",
    "folder": "--folder",
    "window": "--window",
    "features": "--features",
    "scored": "--columns",
    "contamination": "--contamination",
    "false_alarm_rate": "--false-alarm-rate",
    "program": "PROGRAM",
    "store": "--store",
    "durability": "--durability",
    "host": "--host",
    "port": "--port",
    "workers": "--workers",
    "tokens": "--tokens",
    "ttl": "--ttl",
    "memory_sessions": "--memory-sessions",
    "history": "--history",
    "client_sessions": "--client-sessions",
    "max_body": "--max-body",
    "max_batch": "--max-batch",
    "max_waiting": "--max-waiting",
    "max_connections": "--max-connections",
    "timeout": "--timeout",
}

_NAMES = "|".join(OPTIONS)

#: Patterns of Python in messages, and their replacements, applied in this order.
PHRASES = (
    (r"Columns\(short_series='skip'\)", "--short-series skip"),
    (r"training=Training\(validation=0\) with intervals=\(\)", "--validation 0 --levels"),
    (r"Training\(validation=\.\.\.\)", "--validation"),
    (r"intervals=\(\)", "--levels without values"),
    (r"Sort the frame: df = .*", "Use --sort."),
    (r", for example with df\.resample,", ""),
    (r"Sort the rows by time, and", "Use --sort, and"),
    (r"Fill them, for example with df\.asfreq.* evenly spaced\.", "Use --ignore-gaps."),
    (r"Columns\(fill='mask'\)", "--fill mask"),
    (r"such as freq='D' or freq=pd\.DateOffset\(months=1\)", "such as --freq D"),
    (
        r"name the column of series ids: Columns\(id=\.\.\.\)",
        "name the column of series ids with --id-col, or the time zone, in which an hour may be "
        "repeated, with --tz",
    ),
    (rf"Columns\(((?:(?:{_NAMES})=\.\.\.(?:, )?)+)\)", lambda match: _columns(match)),
    (rf"(?<!-)\b({_NAMES})=(?=,)", lambda match: OPTIONS[match[1]]),
    (rf"(?<!-)\b({_NAMES})=", lambda match: f"{OPTIONS[match[1]]}="),
    (r"^future must (?=have|be given)", "--future-file must "),
    (rf"^({_NAMES}) must\b", lambda match: f"{OPTIONS[match[1]]} must"),
    (rf"\bsmaller ({_NAMES})(?=[,.])", lambda match: f"smaller {OPTIONS[match[1]]}"),
    (rf"\bsmaller ({_NAMES}) or ({_NAMES})\b", lambda match: _smaller(match)),
    (r"\bdf\b(?! ?[.=\[])", "the table"),
    (r"\b[Pp]ass (?=--)", lambda match: "Use " if match[0][0] == "P" else "use "),
)

#: Signs of Python code in a sentence that no phrase above translates.
PYTHON = re.compile(r"\bdf\b|\bpd\.|\w\(|=\(\)|\.astype|\[\.\.\.\]")

#: Largest number of characters of a message; values in it may be of any length.
LONGEST = 1000


def in_options(message: str) -> str:
    """Translate a message for the command line, on one line and of limited length.

    Advice that still has Python code in it is omitted.
    """
    message = " ".join(message.splitlines())
    for pattern, words in PHRASES:
        message = re.sub(pattern, words, message)
    first, *advice = re.split(r"(?<=[.?]) (?=[A-Z])", message)
    sentences = [first, *(text for text in advice if _is_plain(text))]
    return printable(shortened(" ".join(sentences), LONGEST))


def printable(text: str) -> str:
    """Escape the control characters of a text, except line breaks."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode()
        for char in text
    )


def _columns(match: "re.Match[str]") -> str:
    return ", ".join(OPTIONS[name] for name in re.findall(r"(\w+)=", match[1]))


def _smaller(match: "re.Match[str]") -> str:
    return f"smaller {OPTIONS[match[1]]} or {OPTIONS[match[2]]}"


def _is_plain(sentence: str) -> bool:
    return sentence.startswith("Got: ") or not PYTHON.search(sentence)
