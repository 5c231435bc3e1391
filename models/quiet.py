"""Keeping back what TensorFlow's C++ code writes to standard error, which no setting of its own turns off."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(*, show: bool = True) -> Iterator[None]:
    """Write nothing to standard error while the block runs; if it fails, ``show`` what was kept back."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept, os.fdopen(os.dup(2), "wb") as before:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            if show:
                kept.seek(0)
                before.write(kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(before.fileno(), 2)
