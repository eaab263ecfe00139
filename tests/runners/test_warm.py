"""A script that starts from a fork server is what a fresh interpreter would make of it, to the byte."""

from __future__ import annotations

import importlib.machinery
import sys
import time
from pathlib import Path

import pytest

from autoprune.records import Exit
from autoprune.runners._command import as_script
from autoprune.runners._libraries import Reading, modules_in, read
from autoprune.runners._warm import WarmProcess

from .warm_bench import Bench
from .warm_scripts import SCRIPTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has fork servers")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_does_the_same_warm_and_cold(name: str, code: Path, benches: tuple[Bench, Bench]) -> None:
    cold, warm = (bench.run(code, SCRIPTS[name]) for bench in benches)
    assert warm == cold


@pytest.mark.parametrize("script", ["trial.py", "./trial.py", "below/../trial.py", "-u link.py"])
def test_paths_are_what_an_interpreter_makes_of_them(script: str, code: Path, benches: tuple[Bench, Bench]) -> None:
    (code / "below").mkdir(exist_ok=True)
    link = code / "link.py"
    link.unlink(missing_ok=True)
    link.symlink_to(code / "trial.py")
    text = "import sys\nprint(sys.argv, __file__, sys.path[0], sys.stdout.write_through, sys.stdout.buffer)\n1 / 0\n"
    cold, warm = (bench.run(code, text, f"python {script}") for bench in benches)
    assert warm == cold


def test_unbuffered_output_is_there_at_once(code: Path, warm: Bench) -> None:
    (code / "trial.py").write_text("import time\nprint('early')\ntime.sleep(60)\n")
    spec = warm.start(code, "python -u trial.py")
    deadline = time.monotonic() + 30
    while (spec.folder / "stdout").read_text() != "early\n":
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("is_warm", [True, False])
def test_assignments_before_the_command_are_heeded(code: Path, tmp_path: Path, is_warm: bool) -> None:
    (code / "more").mkdir(exist_ok=True)
    (code / "more" / "elsewhere.py").write_text("import sklearn\nVALUE = 7\n")
    (code / "trial.py").write_text(
        "import os, sys\nthere = 'sklearn' in sys.modules\nimport elsewhere\n"
        "print(there, elsewhere.VALUE, os.environ['X'], os.environ['PYTHONPATH'], sys.argv)\n"
    )
    bench = Bench(tmp_path, warm=is_warm)
    spec = bench.start(code, "X='a b' PYTHONPATH=more python trial.py y=2")
    assert bench.finish() == {spec.number: Exit(0)}
    assert (spec.folder / "stdout").read_text() == f"{is_warm} 7 a b more ['trial.py', 'y=2']\n"
    bench.runner.close()


@pytest.mark.parametrize(
    "command",
    [
        "python trial.py | cat",
        "X=$HOME python trial.py",
        "python -O trial.py",
        "python -X dev trial.py",
        "python -c 'import autoprune'",
        "python -m trial",
        "python $SCRIPT",
        "python *.py",
        "python trial.py 'unfinished",
        "python absent.py",
        "/usr/bin/env python trial.py",
        "/bin/sh trial.py",
        "nothing trial.py",
    ],
)
def test_other_commands_go_to_a_shell(command: str, code: Path) -> None:
    (code / "trial.py").touch()
    assert as_script(command, code, {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}) is None


def test_another_interpreter_goes_to_a_shell(code: Path, tmp_path: Path) -> None:
    (code / "trial.py").touch()
    (tmp_path / "python").symlink_to(Path(sys.executable).resolve())
    assert as_script("python trial.py", code, {"PATH": str(tmp_path)}) is None
    assert as_script(f"{sys.executable} trial.py", code, {}) is not None


def test_libraries_are_read_from_the_script_and_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "trial.py").write_text("import autoprune, data, strange_library\nfrom net.blocks import Block\n")
    (tmp_path / "data.py").write_text("def load():\n    from sklearn.datasets import load_digits\nimport trial\n")
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "blocks.py").write_text("import torch.nn as nn, os\nfrom . import other\n")
    found = read(tmp_path / "trial.py").libraries
    assert {"autoprune.trial.api", "sklearn.datasets", "torch.nn", "torch._dynamo"} <= set(found)
    assert not {"strange_library", "os", "data", "net.blocks", "other"} & set(found)
    (tmp_path / "broken.py").write_text("this is not Python")
    assert read(tmp_path / "broken.py") == read(tmp_path / "absent.py") == Reading([], [])


def test_a_module_that_hides_a_library_is_found_as_ever(
    tmp_path: Path, warm: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "numpy.py").write_text("print('mine')\n")
    for _ in range(2):
        exit, stdout, _ = warm.run(code, "import numpy\n", spawned=True)
        assert (exit, stdout) == (Exit(0), "mine\n")
    assert caplog.messages == [
        "trials start without the fork server: numpy beside the script would hide what it has imported"
    ]


def test_a_variable_that_a_library_reads_when_it_is_imported(
    code: Path, warm: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    text = """
        import os
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "2"
        import torch
        print(torch.get_num_threads())
        """
    assert warm.run(code, text, spawned=True) == (Exit(0), "2\n", "")
    assert "the script names MKL_NUM_THREADS, OMP_NUM_THREADS, which is read earlier" in caplog.text


THREADS = "import torch\nprint(torch.get_num_threads())\n"


@pytest.mark.parametrize("variables", ["OMP_NUM_THREADS=2", "MKL_NUM_THREADS=2", "OMP_NUM_THREADS=2 MKL_NUM_THREADS=1"])
def test_torch_reads_the_same_variables(code: Path, tmp_path: Path, variables: str) -> None:
    found = []
    for warm in (True, False):
        bench = Bench(tmp_path / str(warm), warm=warm)
        bench.folder.mkdir()
        found.append(bench.run(code, THREADS, f"{variables} python trial.py"))
        bench.runner.close()
    assert found[0] == found[1]


def test_a_changed_share_of_the_cores_reaches_torch(code: Path, warm: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoprune.runners.local._cores", lambda: 4)
    assert warm.run(code, THREADS)[1] == "2\n"
    warm.runner.concurrency = 4
    assert warm.run(code, THREADS)[1] == "1\n"


def test_numpy_gets_its_threads(code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    bench = Bench(tmp_path, warm=True)
    text = "import numpy, threadpoolctl\nprint([pool['num_threads'] for pool in threadpoolctl.threadpool_info()])\n"
    assert bench.run(code, text) == (Exit(0), "[2]\n", "")
    bench.runner.close()


def test_a_folder_of_the_path_that_comes_later(code: Path, tmp_path: Path) -> None:
    bench = Bench(tmp_path, warm=True)
    assert bench.run(code, "print(1)\n", "PYTHONPATH=comes-later python trial.py")[1] == "1\n"
    (code / "comes-later").mkdir()
    (code / "comes-later" / "newcomer.py").touch()
    assert bench.run(code, "import newcomer\n", "PYTHONPATH=comes-later python trial.py") == (Exit(0), "", "")
    bench.runner.close()


def test_a_trial_can_be_killed_as_soon_as_it_has_started(
    code: Path, warm: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the child takes to become the trial."""
    from autoprune.runners import _warm

    slow = "import time; from autoprune.runners import _fork_child; become = _fork_child.become; "
    slow += "_fork_child.become = lambda *a: (time.sleep(1), become(*a)); "
    monkeypatch.setattr(_warm, "_START", slow + _warm._START)
    (code / "trial.py").write_text("import time\ntime.sleep(1000)\n")
    spec = warm.start(code)
    warm.runner.kill(spec.number)
    assert warm.finish() == {spec.number: Exit(None, 15)}


@pytest.mark.parametrize("step", ["memfd_create", "pipe2"])
def test_a_manager_out_of_descriptors_starts_without_a_server(
    code: Path, warm: Bench, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(24, "Too many open files")

    assert warm.run(code, "print(1)\n")[1] == "1\n"
    with monkeypatch.context() as patched:
        patched.setattr(f"autoprune.runners._warm.os.{step}", fail)
        (code / "trial.py").write_text("print(1)\n")
        (request,) = [warm.start(code)] if step == "memfd_create" else [None]
    if request is not None:
        assert warm.finish() == {request.number: Exit(0)}
    assert warm.run(code, "print(1)\n")[1] == "1\n"


def test_a_link_finds_what_lies_beside_its_target(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "numpy.py").write_text("print('mine')\n")
    (tmp_path / "real" / "trial.py").write_text("import numpy\n")
    (tmp_path / "trial.py").symlink_to("real/trial.py")
    bench = Bench(tmp_path, warm=True)
    spec = bench.start(tmp_path, "python trial.py")
    assert bench.finish() == {spec.number: Exit(0)}
    assert (spec.folder / "stdout").read_text() == "mine\n"
    bench.runner.close()


def test_only_modules_hide_libraries(tmp_path: Path) -> None:
    (tmp_path / "json.txt").touch()
    (tmp_path / "torch").mkdir()
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").touch()
    (tmp_path / "queue.py").touch()
    (tmp_path / f"fast{importlib.machinery.EXTENSION_SUFFIXES[0]}").touch()
    assert modules_in(tmp_path) & {"json", "torch", "numpy", "queue", "fast"} == {"numpy", "queue", "fast"}


def test_a_changed_script_and_module_are_read_anew(code: Path, warm: Bench) -> None:
    for value in ("1", "2"):
        (code / "fresh.py").write_text(f"VALUE = {value}0\n")
        assert warm.run(code, f"import fresh\nprint({value} + fresh.VALUE)\n")[:2] == (Exit(0), f"{value}{value}\n")


RANDOM = "import random, torch, numpy\nprint(random.random(), numpy.random.rand(), torch.rand(1).item())\n"


def test_no_two_trials_draw_the_same_numbers(code: Path, warm: Bench) -> None:
    drawn = [warm.run(code, RANDOM) for _ in range(4)]
    assert all(exit == Exit(0) for exit, *_ in drawn)
    columns = list(zip(*(stdout.split() for _, stdout, _ in drawn), strict=True))  # type: ignore[attr-defined]
    assert all(len(set(column)) == 4 for column in columns)


TORCH = """
import os, sys, autoprune, torch
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for workers in (0, 2):
    for (x,) in DataLoader(TensorDataset(torch.rand(8, 4)), batch_size=4, num_workers=workers):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
big = torch.rand(300, 300)
print(torch.get_num_threads(), torch.cuda.is_initialized(), (big @ big).sum().item())
autoprune.report_final_result(model(torch.ones(1, 4)))
"""


def test_torch_trains_the_same(code: Path, benches: tuple[Bench, Bench]) -> None:
    cold, warm = (bench.run(code, TORCH) for bench in benches)
    assert warm == cold
    assert cold[0] == Exit(0)


def test_a_module_that_torch_would_start_is_there_already(code: Path, warm: Bench) -> None:
    (code / "trial.py").write_text("import sys\nprint('torch._dynamo' in sys.modules)\nimport torch\n")
    spec = warm.start(code)
    assert isinstance(warm.process(spec), WarmProcess)
    warm.finish()
    assert (spec.folder / "stdout").read_text() == "True\n"
