"""What reading a damaged file can raise: one list for every kind of file."""

#: From JSON to NumPy and Keras; each is answered with a `FileFormatError`.
DAMAGE = (
    EOFError, RuntimeError, LookupError, AttributeError, TypeError, ValueError, ArithmeticError,
    MemoryError,
)  # fmt: skip


def zip_damage() -> tuple[type[Exception], ...]:
    """The same for zip files; zipfile is slow to import, and a program does without."""
    import zipfile
    import zlib

    return (zipfile.BadZipFile, zlib.error, *DAMAGE)
