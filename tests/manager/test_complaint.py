"""What a failed trial is said to complain of."""

from __future__ import annotations

import subprocess
import sys

import pytest

from autoprune.manager.complaint import complaint

MEMORY = (
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.15 GiB "
    "of which 12.94 MiB is free. Including non-PyTorch memory, this process has 79.13 GiB memory in use. If reserved "
    "but unallocated memory is large try setting PYTORCH_CUDA_ALLOC_CONF=expandable_segments:True to avoid "
    "fragmentation. See documentation for Memory Management (see also its environment variables)"
)
MANY = "\n".join(f"line {number}" for number in range(100))


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("raise ValueError('bad')", "ValueError: bad"),
        ("raise ValueError('a\\nb')", "ValueError: a b"),
        ("raise ValueError('expected one of\\n    x y\\n    ^\\n')", "ValueError: expected one of x y"),
        ("raise ValueError", "ValueError"),
        ("raise ValueError('a \\x1b[1;31mred\\x1b[0m\\x1b[K word')", "ValueError: a red word"),
        ("class Odd(Exception): ...\nraise Odd('é: ö')", "Odd: é: ö"),
        ("import json\njson.loads('')", "json.decoder.JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("try:\n  1 / 0\nexcept ZeroDivisionError:\n  raise KeyError('a\\nb')", "KeyError: 'a\\nb'"),
        ("try:\n  1 / 0\nexcept ZeroDivisionError as e:\n  raise OSError('c\\nd') from e", "OSError: c d"),
        ("x = (", "SyntaxError: '(' was never closed"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("e = ValueError('a')\ne.add_note('a hint')\nraise e", "ValueError: a a hint"),
        ("raise ExceptionGroup('several', [ValueError('one'), TypeError('two\\nthree')])", "TypeError: two three"),
        ("def f(n):\n  return f(n + 1)\nf(0)", "RecursionError: maximum recursion depth exceeded"),
        ("import sys\nsys.exit('no data in /data')", "no data in /data"),
        ("import os\nos.system('cat /none/such')", "cat: /none/such: No such file or directory"),
        ("raise SystemExit(1)", ""),
    ],
)  # fmt: skip
def test_what_python_writes(script: str, expected: str) -> None:
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stderr
    assert complaint(f"epoch 1\nloss 0.3\n{said}") == (expected or "loss 0.3")


def trace(error: str) -> str:
    return f'Traceback (most recent call last):\n  File "trial.py", line 3, in <module>\n    f(x)\n    ~^^^\n{error}\n'


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", ""),
        ("\n---\n", ""),
        ("sh: 1: nonsense: not found\n", "sh: 1: nonsense: not found"),
        ("Error: no such host\n | at line 3\n", "at line 3"),
        (" 10%|█   | 1/10\r 20%|██  | 2/10\r" + trace("ValueError: a\nb"), "ValueError: a b"),
        (trace("ValueError: a") + "make: *** [train] Error 1\n", "ValueError: a make: *** [train] Error 1"),
        ("cut off: x\n    f(x)\n    ~^^^\nValueError: a\n", "ValueError: a"),
        (trace("100 % done\nand over"), "and over"),
        ("Traceback (most recent call last):\n", "Traceback (most recent call last):"),
    ],
)
def test_what_else_is_written(said: str, expected: str) -> None:
    assert complaint(said) == expected


@pytest.mark.parametrize(
    ("said", "begins", "ends"),
    [
        (trace(MEMORY), "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.", "variables)"),
        (trace(f"ValueError: {MANY}"), "ValueError: line 0 line 1 ", "line 98 line 99"),
        (trace("ValueError: " + "x" * 1_000_000), "ValueError: xxx", "xxx"),
        (trace("ValueError: a") + "trying again\n" * 100 + "gave up\n", "ValueError: a trying again", "gave up"),
        ("x" * 1_000_000, "xxx", "xxx"),
    ],
    ids=["CUDA", "100 lines", "1 MB", "more output", "1 MB without an exception"],
)
def test_what_is_long_is_shortened(said: str, begins: str, ends: str) -> None:
    short = complaint(said)
    assert short.startswith(begins)
    assert short.endswith(ends)
    assert len(short) == 300
