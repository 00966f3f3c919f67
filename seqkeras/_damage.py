"""What reading a damaged file can raise: one list for every kind of file that is an archive."""

import zipfile
import zlib

#: From zip to NumPy and Keras; each is answered with a `FileFormatError`.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, LookupError, AttributeError, TypeError,
    ValueError, MemoryError,
)  # fmt: skip
