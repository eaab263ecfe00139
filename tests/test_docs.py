"""Every code block of the README and of docs/ runs.

The blocks of one page run in their order, in one folder. A comment before a block says what it is:

    <!-- file: trial.py -->    written to that file
    <!-- part of: trial.py --> must stand in that file as it is

Without one, `sh` runs with bash, `python` as a script, `yaml` with a trial command or a task must be a valid
experiment, other `yaml` and `json` must parse. `text` is output, and is not run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

from autoprune.config import load
from autoprune.document import Table, parse

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SLOW = {
    "README.md",
    "bring-your-own-model.md",
    "compress.md",
    "first-search.md",
    "pruners.md",
    "quantizers.md",
    "rest.md",
    "smaller-models.md",
}
_BLOCK = re.compile(
    r"(?:<!-- (?P<role>file|part of): (?P<name>\S+) -->\n+)?^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^ *```$",
    re.DOTALL | re.MULTILINE,
)


STAND_INS = {
    "search_space.json": (ROOT / "experiments" / "digits" / "search_space.json").read_text(),
    "task.py": "",
    "trial.py": "",
    "my_tuner.py": "class MyTuner:\n    def generate_parameters(self, parameter_id): ...\n",
}
"""Files that pages name as the reader's own."""


@dataclass(frozen=True)
class Block:
    page: Path
    line: int
    language: str
    text: str
    role: str | None
    name: str | None

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            page,
            text[: match.start("text")].count("\n"),
            match["language"],
            dedent(match["text"]),
            match["role"],
            match["name"],
        )
        for match in _BLOCK.finditer(text)
    ]


TOOLS = Path(sys.executable).parent
PRELUDE = f'make() {{ command make -o install VENV="{TOOLS.parent}" "$@"; }}\n'
"""`make` in a page uses this environment, which is installed already."""


def environment() -> dict[str, str]:
    """This interpreter's tools first, one thread for each script, and no experiment of ours around."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AUTOPRUNE_", "MAKE"))}
    return {**kept, "OMP_NUM_THREADS": "1", "PATH": f"{TOOLS}:{os.environ['PATH']}"}


def run(block: Block, folder: Path, *command: str) -> None:
    result = subprocess.run(
        command, cwd=folder, env=environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=280
    )
    assert result.returncode == 0, f"{block.where}:\n{block.text}\n{result.stdout}\n{result.stderr}"


def run_block(block: Block, folder: Path) -> None:
    if block.role == "part of":
        whole = (ROOT / str(block.name)).read_text()
        assert block.text.strip() in whole, f"{block.where} is not a part of {block.name}"
    elif block.role == "file":
        path = folder / str(block.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
    elif block.language == "sh":
        run(block, folder, "bash", "-euo", "pipefail", "-c", PRELUDE + block.text)
    elif block.language == "python":
        run(block, folder, sys.executable, "-W", "error", "-c", block.text)
    elif block.language in ("yaml", "json"):
        check_data(block, folder)
    else:
        assert block.language == "text", f"{block.where}: a block needs a language this test knows"


def check_data(block: Block, folder: Path) -> None:
    node, problems = parse(block.text, block.where, json=block.language == "json")
    assert problems == []
    if isinstance(node, Table) and any(node.get(name) is not None for name in ("trialCommand", "task")):
        (folder / "block.yml").write_text(block.text)
        load(folder / "block.yml")


def repository(folder: Path) -> None:
    """The repository's files, as a clone would have them."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page.name in SLOW else [], id=page.stem) for page in PAGES]
)
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    repository(tmp_path)
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(text)
    for block in blocks(page):
        run_block(block, tmp_path)


def test_no_block_escapes() -> None:
    for page in PAGES:
        indented = re.findall(r"\n\n( {4}\S.*)", _BLOCK.sub("", page.read_text()))
        assert indented == [], f"{page.name}: put it into a fence, so that it runs"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", _BLOCK.sub("", page.read_text())):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}"
