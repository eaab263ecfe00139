"""The advisor process: reads messages from standard input, a line each, and answers on standard output.

Run as `python -m autoprune.manager.advisor_child`. What tuners print goes to standard error. It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import IO

from autoprune.errors import AutopruneError
from autoprune.lifeline import die_with_parent
from autoprune.manager.advisor import Advisor, Message


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    advisor: Advisor | None = None
    for line in sys.stdin:
        message = json.loads(line)
        try:
            if message["do"] == "start":
                advisor = Advisor(message)
                answer: Message | None = {"id": message["id"]}
            elif advisor is not None:
                answer = advisor.handle(message)
        except Exception as error:
            answer = {"id": message.get("id"), "error": _explain(error), "usage": isinstance(error, AutopruneError)}
        if answer is not None:
            _send(answers, answer)


def _send(answers: IO[str], answer: Message) -> None:
    try:
        line = json.dumps(answer, allow_nan=False)
    except (TypeError, ValueError) as error:
        line = json.dumps({"id": answer["id"], "error": f"the tuner's answer is not JSON: {error}", "usage": False})
    answers.write(line + "\n")
    answers.flush()


def _explain(error: Exception) -> str:
    """One line for an error raised on purpose; for others where it came from, too. The whole goes to stderr."""
    if isinstance(error, AutopruneError):
        return str(error)
    traceback.print_exc()
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} (in {frame.name}, {frame.filename}:{frame.lineno})"


if __name__ == "__main__":
    main()
