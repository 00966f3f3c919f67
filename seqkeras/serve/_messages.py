"""Bodies as JSON or MessagePack: those of requests are decoded and checked at once."""

from typing import Annotated, Any, TypeVar

import msgspec

from seqkeras.serve._refusal import RefusedError

#: The numbers of one observation, in order or by name; None where a value is missing.
Observation = list[float | None] | dict[str, float | list[float | None] | None]

#: Largest number of a step that is the same in every JSON reader.
MOST_NUMBER = 2**53 - 1

#: Number of an observation within its session.
Number = Annotated[int, msgspec.Meta(ge=0, le=MOST_NUMBER)]

JSON = "application/json"
MSGPACK = "application/msgpack"


#: Longest rollout of one request.
MOST_STEPS = 10_000


class StepBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a step: one observation, and its number within the session."""

    x: Observation
    step: Number | None = None


class StepsBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of several steps of one session; `step` is the number of the first."""

    x: list[Observation]
    step: Number | None = None


class ManyBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a step of many sessions; in MessagePack, `x` may be little-endian float32 bytes."""

    sessions: list[str]
    x: list[Observation] | bytes
    step: list[Number | None] | None = None


class RolloutBody(msgspec.Struct, forbid_unknown_fields=True):
    """Body of a rollout: its length, and later inputs that are not outputs."""

    steps: int
    future: list[list[float]] | dict[str, list[float]] | None = None


class StateBody(msgspec.Struct):
    """Body that imports a session, as `GET` exports it; other fields are ignored."""

    state: bytes
    step: Number
    fingerprint: str | None = None


Body = TypeVar("Body")

_JSON_DECODERS: dict[Any, Any] = {}
_MSGPACK_DECODERS: dict[Any, Any] = {}
for kind in (StepBody, StepsBody, ManyBody, RolloutBody, StateBody):
    _JSON_DECODERS[kind] = msgspec.json.Decoder(kind).decode
    _MSGPACK_DECODERS[kind] = msgspec.msgpack.Decoder(kind).decode

_encode_json = msgspec.json.Encoder().encode
_encode_msgpack = msgspec.msgpack.Encoder().encode


def decode(kind: type[Body], data: bytes, *, packed: bool = False) -> Body:
    """Return a body of a kind.

    Raises:
        RefusedError: the bytes are not JSON or MessagePack, or have other fields or types.
    """
    decoder = (_MSGPACK_DECODERS if packed else _JSON_DECODERS)[kind]
    try:
        return decoder(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        body = _with_whole_numbers(kind, data, packed) if "got `float`" in str(error) else None
        if body is not None:
            return body
        # msgspec names the place and the types, and never quotes the data.
        status = 422 if isinstance(error, msgspec.ValidationError) else 400
        raise RefusedError(status, "wrong_body", f"The body cannot be read: {error}.") from error


def encode(reply: Any, *, packed: bool) -> bytes:
    """Return a reply as JSON or MessagePack."""
    return _encode_msgpack(reply) if packed else _encode_json(reply)


def _with_whole_numbers(kind: type[Body], data: bytes, packed: bool) -> Body | None:
    """Return a body with numbers of steps such as 3.0, which JSON does not tell from 3."""
    try:
        fields = (msgspec.msgpack if packed else msgspec.json).decode(data, type=dict[str, Any])
        whole = {name: _whole(fields[name]) for name in ("step", "steps") if name in fields}
        return msgspec.convert(fields | whole, kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _whole(value: Any) -> Any:
    if isinstance(value, list):
        return [_whole(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
