"""`autoprune cost`: real processes where processes matter, and the child's own code where messages do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import save, save_file

from autoprune import probe
from autoprune.cli._figures import show_cost
from autoprune.compression.command.serving import _answer
from autoprune.compression.torch import L1NormPruner, save_compact, speedup
from autoprune.errors import AutopruneError

from .conftest import Autoprune
from .model_files import DATA, MODEL, STUCK

STEM, NORM, CONV1, CONV2, HEAD = 27 * 16 + 16, 2 * 16, 144 * 32 + 32, 288 * 16 + 16, 16 * 10 + 10
PARAMETERS = STEM + NORM + CONV1 + CONV2 + HEAD
MACS = 64 * (27 * 16 + 144 * 32 + 288 * 16) + 160
INPUT = ("--input", "1,3,8,8")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's folder; what is imported from it is forgotten afterwards."""
    (tmp_path / "net.py").write_text(MODEL)
    (tmp_path / "numbers_of.py").write_text(DATA)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def child(**subject: Any) -> dict[str, Any]:
    """What the child process answers."""
    given = {"model": {"file": "net.py", "name": "build"}, "inputs": [{"shape": [1, 3, 8, 8], "dtype": "float32"}]}
    return _answer("autoprune.compression.command.costing", {"subject": {**given, **subject}, "batch_sizes": [1]})


def build() -> Any:
    names: dict[str, Any] = {"__name__": "elsewhere"}
    exec(MODEL, names)
    return names["build"]()


def test_figures_are_those_counted_by_hand_and_torch_is_imported_in_the_child_alone() -> None:
    code = (
        "import sys\nfrom autoprune.cli.main import cli\n"
        f"try: cli(['cost', 'net.py:build', *{INPUT}, '--batch-size', '1', '--batch-size', '3', '--json'])\n"
        "finally: print({'torch', 'numpy', 'autoprune.compression'} & set(sys.modules), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stderr.splitlines()[-1] == "set()"
    cost = json.loads(result.stdout)
    assert cost["model"] == "net.py:build"
    assert (cost["parameters"], cost["macs"]) == (PARAMETERS, MACS)
    assert cost["nonzeros"] == int(sum(parameter.count_nonzero() for parameter in build().parameters()))
    assert cost["dense_bytes"] == pytest.approx(len(save(build().state_dict())), abs=64)
    assert [each["batch_size"] for each in cost["latency"]] == [1, 3]
    assert all(0 < each["median_ms"] <= each["p95_ms"] for each in cost["latency"])
    assert {layer["name"]: layer["parameters"] for layer in cost["layers"]} == {
        "stem": STEM, "norm0": NORM, "conv1": CONV1, "conv2": CONV2, "head": HEAD,
    }  # fmt: skip
    assert "printed by the user" in result.stderr


def test_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    answer = child(data={"file": "numbers_of.py", "name": "batches"}, inputs=[])["result"]
    capsys.readouterr()
    show_cost(answer, layers=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["parameters", f"{PARAMETERS:,}"]
    assert next(line for line in lines if line.startswith("MACs")).split()[1] == f"{MACS:,}", "of one row"
    assert any(line.startswith("latency, batch 1 ") and " ms (95 % below " in line for line in lines)
    assert next(line for line in lines if line.startswith("conv1")).split()[:3] == ["conv1", "Conv2d", f"{CONV1:,}"]
    assert "\x1b" not in "".join(lines)


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pt"])
def test_weights_are_loaded(name: str) -> None:
    state = build().state_dict()
    state["conv1.weight"].zero_()
    save_file(state, name) if name.endswith(".safetensors") else torch.save(state, name)
    before, after = child()["result"], child(weights=name)["result"]
    assert before["nonzeros"] - after["nonzeros"] == state["conv1.weight"].numel()


def test_several_inputs_and_integers(here: Path) -> None:
    (here / "two.py").write_text(
        "from torch import nn\n"
        "class Two(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.words, self.last = nn.Embedding(2, 4), nn.Linear(4, 3)\n"
        "    def forward(self, numbers, image):\n"
        "        return self.last(self.words(numbers).mean(1) + image)\n"
    )
    inputs = [{"shape": [2, 7], "dtype": "int64"}, {"shape": [2, 4], "dtype": "float32"}]
    answer = child(model={"file": "two.py", "name": "Two"}, inputs=inputs)
    assert answer["result"]["parameters"] == 8 + 15


WRONG_WEIGHTS: list[tuple[str, Callable[[dict[str, Any]], object], str]] = [
    ("a missing weight", lambda state: state.pop("head.bias"), "lacks 'head.bias' of the model"),
    ("another's weight", lambda state: state.update({"heads.bias": torch.ones(1)}), "did you mean head.bias?"),
    (
        "another shape",
        lambda state: state.update({"head.bias": torch.ones(3)}),
        "(3,) for head.bias; expected (10",
    ),
    ("a checkpoint", lambda state: state.update({"epoch": {"number": 3}}), "expected a state dict, tensors by name"),
]


@pytest.mark.parametrize(("change", "message"), [case[1:] for case in WRONG_WEIGHTS], ids=[c[0] for c in WRONG_WEIGHTS])
def test_weights_that_do_not_fit(change: Callable[[dict[str, Any]], object], message: str) -> None:
    state = build().state_dict()
    change(state)
    torch.save(state, "weights.pt")
    answer = child(weights="weights.pt")
    assert answer["exit_code"] == 2
    assert message in answer["error"]
    assert "weights.pt" in answer["error"]
    assert "compact" not in answer["error"]


def small() -> Path:
    """The file of a model whose conv1 has lost a half."""
    model, example = build(), torch.randn(1, 3, 8, 8)
    L1NormPruner(model, [{"sparsity": 0.5, "op_names": ["conv1"]}]).compress()
    return save_compact(speedup(model, None, example), "small.safetensors")


def test_weights_of_a_smaller_model_are_told_from_weights_that_do_not_fit() -> None:
    answer = child(weights=str(small()))
    assert "small.safetensors: given the shape (16," in answer["error"]
    assert answer["error"].endswith(" (it is of a smaller model: give it as --compact)")
    assert answer["exit_code"] == 2
    state = build().state_dict()
    save_file({**state, "head.bias": torch.ones(3)}, "whole.safetensors")
    assert child(weights="whole.safetensors")["error"].endswith("(3,) for head.bias; expected (10,)")


OTHER = """
from torch import nn

class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.{name} = nn.Conv2d(3, {width}, 3)
    def forward(self, image):
        return self.{name}(image)
"""


@pytest.mark.parametrize(("name", "width"), [("c1", 4), ("conv1", 7)])
def test_a_compact_file_of_another_model(name: str, width: int, here: Path) -> None:
    (here / "other.py").write_text(OTHER.format(name=name, width=width))
    answer = child(model={"file": "other.py", "name": "Other"}, compact=str(small()))
    assert "--compact: given 'small.safetensors', which is of another model than other.py:Other (" in answer["error"]
    assert "valid: ," not in answer["error"]
    assert answer["exit_code"] == 2


def test_a_compact_file_that_is_none(here: Path) -> None:
    save_file(build().state_dict(), "whole.safetensors")
    assert "has no plan of what was cut" in child(compact="whole.safetensors")["error"]
    (here / "text.safetensors").write_text("no weights")
    answer = child(compact="text.safetensors")
    assert "--compact: given 'text.safetensors', which cannot be read" in answer["error"]
    assert answer["exit_code"] == 2


@pytest.mark.parametrize("name", ["text.pt", "text.safetensors"])
@pytest.mark.parametrize("text", ["no weights", "junk\n", ""])
def test_weights_that_are_none(name: str, text: str, here: Path) -> None:
    (here / name).write_text(text)
    answer = child(weights=name)
    assert answer["exit_code"] == 2
    assert f"{name}: given a file that cannot be read as weights" in answer["error"]
    assert "\n" not in answer["error"]


NOT_A_MODEL = [
    ("biuld", "net.py: has no function 'biuld'; expected one that it has (did you mean build?)", 2),
    ("three", "net.py:three: returns 3; expected a torch.nn.Module", 2),
    ("model", "net.py:model: given a Net, which is a model already; expected a function or class that builds it", 2),
    ("model", "(did you mean Net?)", 2),
    ("needs", "net.py:needs: missing a required argument: 'width'", 2),
    ("leaves", "net.py:leaves ended the program (exit code 3)", 1),
    ("broken", "net.py:broken failed (ValueError: no such weights)", 1),
]


@pytest.mark.parametrize(("name", "message", "code"), NOT_A_MODEL, ids=[case[0] for case in NOT_A_MODEL])
def test_functions_that_build_no_model(name: str, message: str, code: int) -> None:
    answer = child(model={"file": "net.py", "name": name})
    assert message in answer["error"]
    assert answer["exit_code"] == code


@pytest.mark.parametrize(
    ("name", "message"),
    [("none", "numbers_of.py:none: returns no batch"), ("baches", "did you mean batches?")],
)
def test_data_that_is_none(name: str, message: str) -> None:
    answer = child(data={"file": "numbers_of.py", "name": name}, inputs=[])
    assert message in answer["error"]
    assert answer["exit_code"] == 2


def test_an_input_that_does_not_fit_is_the_users_to_see(capsys: pytest.CaptureFixture[str]) -> None:
    answer = child(inputs=[{"shape": [1, 4, 8, 8], "dtype": "float32"}])
    assert answer["exit_code"] == 1
    assert "running net.py:build on an input of shape (1, 4, 8, 8) failed (RuntimeError: " in answer["error"]
    trace = capsys.readouterr().err.partition("Traceback")[2]
    assert "in forward" in trace.split("File")[1]
    assert "autoprune" not in trace.replace(str(Path.cwd()), "")


@pytest.mark.slow
def test_files_that_are_called_like_a_library_hide_nothing(here: Path, autoprune: Autoprune) -> None:
    (here / "numbers.py").write_text(MODEL)
    (here / "torch.py").write_text("raise ImportError('not this one')")
    result = autoprune("cost", "numbers.py:three", *INPUT)
    assert "error: numbers.py:three: returns 3; expected a torch.nn.Module" in result.stderr


def test_files_of_one_name_are_two_modules(here: Path) -> None:
    (here / "data").mkdir()
    (here / "data" / "net.py").write_text(DATA)
    answer = child(data={"file": "data/net.py", "name": "batches"}, inputs=[])
    assert answer["result"]["parameters"] == PARAMETERS


MISTAKES = [
    (("nett.py:build", *INPUT), "MODEL: given the file 'nett.py'; expected one that is there (did you mean net.py?)"),
    (("net.py", *INPUT), "MODEL: given 'net.py'; expected FILE.py:FUNCTION, such as net.py:build"),
    (("net:build", *INPUT), "given the file 'net'; expected one that ends in .py"),
    (("net.py:build",), "given neither --data nor --input"),
    (("net.py:build", *INPUT, "--data", "numbers_of.py:batches"), "given both --data and --input"),
    (("net.py:build", "--data", "numbers.py:batches"), "did you mean numbers_of.py?"),
    (("net.py:build", "--input", "1,3,x"), "--input: given '1,3,x'; expected SHAPE[:DTYPE]"),
    (("net.py:build", "--input", "1,3:flaot32"), "did you mean float32?"),
    (("net.py:build", *INPUT, "--weights", "w.pt"), "--weights: given 'w.pt'; expected a file that is there"),
    (("net.py:build", *INPUT, "--compact", "c.safetensors"), "--compact: given 'c.safetensors'"),
    (("net.py:build", *INPUT, "--compact", "net.py", "--weights", "net.py"), "given both --weights and --compact"),
]


@pytest.mark.parametrize(("arguments", "message"), MISTAKES, ids=[case[1][:30] for case in MISTAKES])
def test_mistakes_that_need_no_torch(arguments: tuple[str, ...], message: str, autoprune: Autoprune) -> None:
    result = autoprune("cost", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert result.stdout == ""


def test_the_users_traceback_is_shown_and_ours_is_not(autoprune: Autoprune) -> None:
    result = autoprune("cost", "net.py:broken", *INPUT)
    assert result.returncode == 1
    first, *rest = result.stderr.partition("Traceback")[2].splitlines()[1:]
    assert first.endswith("in broken")
    assert rest[-1] == "error: net.py:broken failed (ValueError: no such weights)"
    assert result.stdout == ""


@pytest.mark.slow
def test_a_child_that_is_killed_is_named(here: Path, autoprune: Autoprune) -> None:
    (here / "killed.py").write_text("import os, signal\ndef build():\n    os.kill(os.getpid(), signal.SIGKILL)\n")
    result = autoprune("cost", "killed.py:build", *INPUT)
    assert result.returncode == 1
    assert "ended by signal 9 (SIGKILL) before it had an answer" in result.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", r"ended by signal 9 \(SIGKILL\) before"),
        ("sys.exit(1)", "ended by exit code 1 before"),
    ],
)
def test_an_answer_that_is_cut_off_is_none(code: str, said: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = 'sys.stdout.write(\'{"result": {"parame\')'
    (here / "half.py").write_text(f"import os, signal, sys\n{begun}\nsys.stdout.flush()\n{code}\n")
    monkeypatch.setenv("PYTHONPATH", str(here))
    with pytest.raises(AutopruneError, match=said):
        probe.ask("half", "cost", {})


@pytest.fixture
def stuck(here: Path, environment: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """A command whose child hangs in the user's code, which has started a process of its own."""
    (here / "stuck.py").write_text(STUCK)
    command = [sys.executable, "-m", "autoprune", "cost", "stuck.py:build", *INPUT]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (here / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    family = psutil.Process(process.pid).children(recursive=True)
    yield process, family
    for each in (process, *family):
        if each.poll() is None if isinstance(each, subprocess.Popen) else each.is_running():
            each.kill()
    process.communicate()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_nothing_is_left_however_it_ends(
    stuck: tuple[subprocess.Popen[str], list[psutil.Process]], number: signal.Signals, code: int
) -> None:
    process, family = stuck
    assert len(family) == 2
    os.kill(process.pid, number)
    assert process.wait(30) == code
    assert psutil.wait_procs(family, timeout=20)[1] == []
    assert process.stderr is not None
    said = process.stderr.read()
    assert ("interrupted" in said) == (number == signal.SIGINT)
    assert "Traceback" not in said
