"""Sessions in one local SQLite file."""

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Sequence
from threading import Thread
from typing import Any

from seqkeras._checks import bad_argument, check_one_of
from seqkeras.serve._record import Record, pack, unpack
from seqkeras.serve._store import DURABILITIES, Damaged, StoreUnavailableError

#: Version of the tables, in the header of the file.
VERSION = 1

#: Marks the file as one of ours ("SKSV"), next to the version.
APPLICATION = 0x534B5356

_TABLES = """
CREATE TABLE programs (number INTEGER PRIMARY KEY, fingerprint TEXT NOT NULL UNIQUE);
CREATE TABLE sessions (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, program INTEGER NOT NULL,
    count INTEGER NOT NULL, seen INTEGER NOT NULL, data BLOB NOT NULL
);
"""

_UPSERT = """
INSERT INTO sessions (key, program, count, seen, data) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET program = excluded.program, count = excluded.count,
    seen = excluded.seen, data = excluded.data
"""

_COPY = "PRAGMA wal_checkpoint(PASSIVE)"

#: Rows that one call of `expire` reads.
SWEEP = 2_000

#: Sessions that are stored before the write-ahead log is copied into the file: up to 16 MB.
CHECKPOINT_ROWS = 4_000

#: Copies of that size that the log may be behind before a commit waits for the copy.
MOST_BEHIND = 16


class SqliteStore:
    """A file of SQLite in write-ahead mode; a commit is a transaction of many sessions.

    One process owns the file, and others are refused. Every session has a checksum of its own,
    because SQLite finds torn writes but not flipped bits.

    Args:
        path: path of the file, created if it does not exist.
        durability: `"process"` or `"disk"`: whether a commit waits until the disk has it.
        timeout: seconds to wait while another program has locked the file, default 2.

    Raises:
        ArgumentError: the file is another database, or of a later version.
        StoreUnavailableError: the file cannot be opened, or another service uses it.
    """

    name = "sqlite"
    shared = False

    def __init__(self, path: str, *, durability: str = "disk", timeout: float = 2.0) -> None:
        check_one_of("durability", durability, DURABILITIES)
        self._path = path
        self._lock = _own(path)
        self._position = 0
        self._rows_in_log = 0
        self._copying: Thread | None = None
        try:
            self._database = sqlite3.connect(
                path, timeout=timeout, isolation_level=None, check_same_thread=False
            )
            self._prepare("FULL" if durability == "disk" else "NORMAL")
        except sqlite3.Error as error:
            self._lock.close()
            raise StoreUnavailableError(f"{path}: {error}") from error
        except BaseException:
            self._lock.close()
            raise
        rows = self._database.execute("SELECT number, fingerprint FROM programs")
        self._fingerprints: dict[int, str] = dict(rows)
        self._programs = {value: number for number, value in self._fingerprints.items()}

    def _prepare(self, synchronous: str) -> None:
        run = self._database.execute
        application = run("PRAGMA application_id").fetchone()[0]
        version = run("PRAGMA user_version").fetchone()[0]
        empty = not run("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not empty and (application, version) != (APPLICATION, VERSION):
            expected = f"a file of sessions, version {VERSION}, or a new one"
            raise bad_argument("store", self._path, expected)
        run("PRAGMA journal_mode = WAL")
        run(f"PRAGMA synchronous = {synchronous}")
        run("PRAGMA wal_autocheckpoint = 0")  # see _copy_log
        run("PRAGMA cache_size = -32768")  # 32 MiB
        if empty:
            self._database.executescript(
                f"BEGIN; {_TABLES} PRAGMA application_id = {APPLICATION}; "
                f"PRAGMA user_version = {VERSION}; COMMIT;"
            )

    def load(self, keys: Sequence[str]) -> list[Record | Damaged | None]:
        query = "SELECT program, count, seen, data FROM sessions WHERE key = ?"
        records: list[Record | Damaged | None] = []
        with self._errors():
            for key in keys:
                row = self._database.execute(query, (key,)).fetchone()
                records.append(None if row is None else self._record(key, *row))
        return records

    def _record(self, key: str, program: int, count: int, seen: float, data: Any) -> Any:
        fingerprint = self._fingerprints.get(program, "unknown")
        record = Record(key, fingerprint, count, seen, b"")
        intact = unpack(record, data) if isinstance(data, bytes) else None
        return intact or Damaged(key)

    def commit(self, records: Sequence[Record]) -> set[str]:
        with self._errors():
            rows = [
                (r.key, self._program(r.fingerprint), r.steps, int(r.seen), pack(r))
                for r in records
            ]
            with self._transaction() as run:
                run.executemany(_UPSERT, rows)
            self._rows_in_log += len(rows)
            if self._rows_in_log >= CHECKPOINT_ROWS:
                self._copy_log()
        return set()

    def _copy_log(self) -> None:
        """Copy the write-ahead log into the file, most of it in a thread of its own.

        SQLite would do so within a commit, which then takes as long as writing megabytes. Copying
        only stops commits for the last part of the log, what came in during the copy in the thread.
        """
        copying = self._copying
        far_behind = self._rows_in_log >= MOST_BEHIND * CHECKPOINT_ROWS
        if copying is None:
            self._copying = Thread(target=_copy_log, args=(self._path,), daemon=True)
            self._copying.start()
        elif far_behind or not copying.is_alive():
            copying.join()
            self._database.execute(_COPY).fetchone()
            self._rows_in_log = 0
            self._copying = None

    def delete(self, keys: Sequence[str]) -> int:
        with self._errors(), self._transaction() as run:
            deleted = run.executemany(
                "DELETE FROM sessions WHERE key = ?", [(key,) for key in keys]
            )
            return max(deleted.rowcount, 0)

    def expire(self, before: float) -> int:
        """Remove the expired sessions among the next rows; repeated calls reach all of them."""
        rows = "SELECT number FROM sessions WHERE number > ? ORDER BY number LIMIT ?"
        query = f"SELECT max(number), count(*) FROM ({rows})"
        with self._errors():
            start = self._position
            last, size = self._database.execute(query, (start, SWEEP)).fetchone()
            # Begin again at the end of the table, which new sessions move on all the time.
            self._position = last if size == SWEEP else 0
            if not size:
                return 0
            condition = "number > ? AND number <= ? AND seen < ?"
            values = (start, last, int(before))
            count = f"SELECT count(*) FROM sessions WHERE {condition}"
            if not self._database.execute(count, values).fetchone()[0]:
                return 0
            with self._transaction() as run:
                return run.execute(f"DELETE FROM sessions WHERE {condition}", values).rowcount

    def count(self, prefix: str = "") -> int:
        with self._errors():
            return self._database.execute(
                "SELECT count(*) FROM sessions WHERE key >= ? AND key < ?", _between(prefix)
            ).fetchone()[0]

    def keys(self, prefix: str, limit: int) -> Iterable[str]:
        query = (
            "SELECT key FROM sessions WHERE key >= ? AND key < ? ORDER BY seen DESC LIMIT ?"
            if self.count(prefix) <= 10 * SWEEP
            else "SELECT key FROM sessions WHERE key >= ? AND key < ? LIMIT ?"
        )
        with self._errors():
            rows = self._database.execute(query, (*_between(prefix), limit))
            return [key for (key,) in rows]

    def check(self) -> None:
        """Write one page, which fails if the disk is full or the file is locked."""
        with self._errors(), self._transaction() as run:
            run.execute(f"PRAGMA user_version = {VERSION}")

    def close(self) -> None:
        if self._copying is not None:
            self._copying.join()
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._database.close()
        self._lock.close()

    def _program(self, fingerprint: str) -> int:
        """Return the number of a program, which is stored at once when it is new."""
        number = self._programs.get(fingerprint)
        if number is None:
            number = max(self._fingerprints, default=0) + 1
            self._database.execute(
                "INSERT OR IGNORE INTO programs VALUES (?, ?)", (number, fingerprint)
            )
            self._programs[fingerprint] = number
            self._fingerprints[number] = fingerprint
        return number

    @contextlib.contextmanager
    def _transaction(self) -> Any:
        cursor = self._database.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            yield cursor
            cursor.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                cursor.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _errors(self) -> Any:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreUnavailableError(f"{self._path}: {error}") from error


def _copy_log(path: str) -> None:
    """Copy what the write-ahead log holds now, while commits go on."""
    # What is not copied here, because of an error, is copied by the store, which raises the error.
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(_COPY).fetchone()


def _between(prefix: str) -> tuple[str, str]:
    """Return the first key with a prefix, and the first one after all of these."""
    return prefix, prefix + "\U0010ffff"


def _own(path: str) -> Any:
    """Lock a file next to the database, until it is closed or the process ends."""
    try:
        lock = open(f"{path}.lock", "ab")  # noqa: SIM115
    except OSError as error:
        raise StoreUnavailableError(f"{path}: {error.strerror}") from error
    if os.name == "posix":
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            reason = "another service uses this file; several services need a Redis store"
            raise StoreUnavailableError(f"{path}: {reason}") from None
    return lock
