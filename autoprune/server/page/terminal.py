"""What trials write, as a terminal would show it, but in plain text that keeps to its place."""

from __future__ import annotations

import re

_STYLES = re.compile(r"\x1b\[[0-9;:]*[mK]")
"""Colours, and the erasing of the rest of a line."""
_TURNING = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
"""Characters that change the direction in which the others are read."""
_VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n"},
    0x7F: "\u2421",
    **{code: f"<{code:02X}>" for code in range(0x80, 0xA0)},
    **{ord(each): f"<U+{ord(each):04X}>" for each in _TURNING},
}


def shown(text: str) -> str:
    """Each line as it was last written: a carriage return begins it anew. Other controls are made visible."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return _STYLES.sub("", "\n".join(lines)).translate(_VISIBLE)


def last_line(data: bytes) -> tuple[int, int]:
    """Where the last line begins, and where it was last begun anew."""
    line = data.rfind(b"\n") + 1
    return line, max(line, data.rstrip(b"\r").rfind(b"\r", line) + 1)
