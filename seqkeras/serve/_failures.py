"""Errors as replies."""

from typing import Any

from seqkeras.serve._refusal import RefusedError, failed


def failure(error: Exception) -> tuple[int, dict[str, Any]]:
    """Return status and body of the reply to a request that raised an error."""
    refusal = failed(error)
    return refusal.status, refusal.body()


def failure_headers(error: Exception | None) -> list[tuple[bytes, bytes]]:
    """Return the headers that belong to an error."""
    headers = []
    if isinstance(error, RefusedError):
        if error.retry_after is not None:
            headers.append((b"retry-after", b"%d" % max(1, round(error.retry_after))))
        if error.status == 405:
            headers.append((b"allow", error.details["allow"].encode()))
        if error.status == 401:
            headers.append((b"www-authenticate", b"Bearer"))
        if error.status in (408, 413):
            headers.append((b"connection", b"close"))
    return headers
