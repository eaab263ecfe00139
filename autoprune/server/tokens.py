"""Where a server's token comes from: a file, the environment, or chance. Never the command line, which `ps` shows."""

from __future__ import annotations

import os
import re
import secrets
import stat
from pathlib import Path

from autoprune.errors import UsageError

VARIABLE = "AUTOPRUNE_TOKEN"
_GOOD = re.compile(r"[A-Za-z0-9._~+/=-]{32,512}\Z")


def choose_token(file: Path | None = None) -> str:
    """The token in `file`, which is made if it is not there; else that in AUTOPRUNE_TOKEN; else a new one."""
    if file is not None:
        return _checked(_from_file(file), str(file))
    variable = os.environ.get(VARIABLE)
    return _checked(variable, VARIABLE) if variable else secrets.token_urlsafe(32)


def _from_file(file: Path) -> str:
    token = secrets.token_urlsafe(32)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(file)
    except OSError as error:
        raise UsageError(f"cannot make the token file {file}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as new:
        new.write(f"{token}\n")
    return token


def _read(file: Path) -> str:
    try:
        with file.open(encoding="ascii", errors="replace") as existing:
            mode = os.fstat(existing.fileno()).st_mode
            text = existing.read(1024).strip()
    except OSError as error:
        raise UsageError(f"cannot read the token file {file}: {error.strerror}") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UsageError(f"others may read the token file {file}; close it to them with: chmod 600 {file}")
    return text


def _checked(token: str, where: str) -> str:
    if not _GOOD.match(token):
        raise UsageError(
            f"given a token of {len(token)} characters in {where}; "
            "expected 32 to 512 of letters, digits and . _ ~ + / = -"
        )
    return token
