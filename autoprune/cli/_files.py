"""Files that commands write where they are told to."""

from __future__ import annotations

import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoprune.errors import UsageError


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Where to write what is to take the place of `file` once it is whole: beside it. What is no plain file, such as a
    pipe, is written at once. Raises UsageError where there is no writing."""
    target = file.resolve()
    try:
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            yield target
            return
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:40]}-") as drafts:
            draft = Path(drafts, target.name)
            yield draft
            draft.replace(target)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from None
