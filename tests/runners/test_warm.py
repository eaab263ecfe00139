"""A script that starts from a fork server is what a fresh interpreter would make of it, to the byte."""

from __future__ import annotations

import importlib.machinery
import re
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from autoprune.records import Exit, TrialSpec
from autoprune.runners import Options
from autoprune.runners._command import as_script
from autoprune.runners._libraries import Reading, modules_in, read
from autoprune.runners._warm import WarmProcess
from autoprune.runners.local import LocalRunner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has fork servers")

SCRIPTS: dict[str, str] = {
    "what it finds": """
        import os, signal, sys, threading
        print(__name__, __file__, __package__, __spec__, type(__loader__).__name__, type(__builtins__).__name__)
        print(sorted(globals()), sys.modules["__main__"].__dict__ is globals())
        print(sys.argv, sys.orig_argv, sys.path, sys.executable, sys.flags, sys.warnoptions)
        print(os.getcwd(), os.getpgid(0) == os.getsid(0) == os.getpid(), os.umask(0), os.nice(0))
        print({key: value for key, value in sorted(os.environ.items()) if not key.endswith("_DIR")})
        print([signal.getsignal(number) for number in sorted(signal.valid_signals())])
        print(signal.pthread_sigmask(signal.SIG_BLOCK, []), signal.set_wakeup_fd(-1), threading.active_count())
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            print(stream.name, stream.mode, stream.encoding, stream.errors, stream.line_buffering, stream.write_through,
                  stream.isatty(), stream.fileno(), stream.tell() if stream is sys.stdin else "")
        print([number for number in range(64) if os.path.exists(f"/proc/self/fd/{number}")], repr(sys.stdin.read()))
        """,
    "an exception": "def inner():\n    return {}['missing']\n\ndef outer():\n    inner()\n\nprint('before')\nouter()\n",
    "a chain of exceptions": """
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise RuntimeError("because") from error
        """,
    "an exception in another module": "import broken_module\n",
    "a syntax error": "print('never')\nthis is not Python\n",
    "a syntax error in another module": "import unparsable_module\n",
    "an exception group": "raise ExceptionGroup('several', [ValueError(1), TypeError(2)])\n",
    "sys.exit()": "import sys; sys.exit()\n",
    "sys.exit(3)": "import sys; sys.exit(3)\n",
    "sys.exit(True)": "import sys; sys.exit(True)\n",
    "sys.exit(256)": "import sys; sys.exit(256)\n",
    "sys.exit(-1)": "import sys; sys.exit(-1)\n",
    "sys.exit with a text": "import sys; print('out'); sys.exit('in words')\n",
    "os._exit": "import os; print('lost'); os._exit(5)\n",
    "an interrupt": "raise KeyboardInterrupt\n",
    "a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)\n",
    "an abort": "import os; os.abort()\n",
    "a handler for SIGTERM": """
        import os, signal, sys
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
        os.kill(os.getpid(), signal.SIGTERM)
        """,
    "atexit": """
        import atexit
        atexit.register(print, "first registered, last called")
        atexit.register(lambda: 1 / 0)
        atexit.register(print, "last registered, first called")
        """,
    "excepthook": """
        import sys
        sys.excepthook = lambda kind, value, trace: print(kind, value, trace.tb_lineno)
        1 / 0
        """,
    "excepthook that fails": "import sys\nsys.excepthook = lambda *_: {}['hook']\n1 / 0\n",
    "a thread that outlives the script": """
        import threading, time
        threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
        print("script")
        """,
    "a thread that raises": "import threading\nt = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()\n",
    "a daemon thread": "import threading, time\nthreading.Thread(target=time.sleep, args=[60], daemon=True).start()\n",
    "an executor": """
        from concurrent.futures import ThreadPoolExecutor
        print(list(ThreadPoolExecutor(2).map(abs, [-1, -2])))
        """,
    "a file that is never closed": """
        import atexit
        from pathlib import Path
        file = open("unclosed.txt", "w")
        file.write("everything")
        """,
    "an object with __del__": """
        import json
        class Loud:
            def __del__(self):
                print(json.dumps(WORD))
        WORD = "gone"
        loud = Loud()
        """,
    "a module that is found late": """
        import os, sys
        os.makedirs("late", exist_ok=True)
        sys.path.append("late")
        with open("late/late_comer.py", "w") as file:
            file.write("VALUE = 1")
        import late_comer
        print(late_comer.VALUE)
        """,
    "a fork that runs to the end": "import os\nif os.fork():\n    os.wait()\n    raise SystemExit(3)\n",
    "a temporary folder": """
        import tempfile
        from pathlib import Path
        folder = tempfile.TemporaryDirectory()
        Path("kept").write_text(folder.name)
        """,
    "logging": """
        import logging, logging.handlers, sys
        memory = logging.handlers.MemoryHandler(100, target=logging.StreamHandler(sys.stdout))
        logging.getLogger().addHandler(memory)
        logging.getLogger("trial").error("kept until the end")
        """,
    "a warning": "import warnings\nwarnings.warn('careful')\n",
    "standard output is closed": "import sys\nprint('before')\nsys.stdout.close()\n",
    "standard output is full": "import os\nos.dup2(os.open('/dev/full', os.O_WRONLY), 1)\nprint('lost')\n",
    "a subprocess": """
        import subprocess, sys
        look = "import os; print(os.getcwd(), sorted(os.listdir('/proc/self/fd')))"
        print(subprocess.run([sys.executable, "-c", look], capture_output=True, text=True).stdout)
        """,
    "a fork": "import os\nif os.fork() == 0:\n    print('child')\nelse:\n    os.wait(); print('parent')\n",
    "a process pool": """
        import multiprocessing
        def double(x):
            return 2 * x
        if __name__ == "__main__":
            for method in ("fork", "spawn", "forkserver"):
                with multiprocessing.get_context(method).Pool(2) as pool:
                    print(method, pool.map(double, [1, 2, 3]))
        """,
    "its own source": """
        import inspect, pickle, __main__
        class Net:
            layers = 2
        def build():
            return Net()
        print(inspect.getsource(build), pickle.loads(pickle.dumps(build())).layers, __main__.Net is Net, Net.__module__)
        """,
    "annotations and future imports": "from __future__ import annotations\nx: Missing = 1\nprint(__annotations__)\n",
    "no future imports": "def f(x: int): ...\nprint(f.__annotations__)\n",
    "an encoding": "# -*- coding: latin-1 -*-\nprint('caf\\u00e9', ascii('caf\xe9'))\n",
    "a module beside it": "import sys, helper\nprint(helper.VALUE, helper.__file__, helper.__name__ in sys.modules)\n",
    "a doc string": '"""What it does."""\nprint(__doc__)\n',
}

BESIDE = {
    "helper.py": "VALUE = 3\n",
    "broken_module.py": "def fail():\n    raise ValueError('here')\n\nfail()\n",
    "unparsable_module.py": "def (\n",
}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine, a server gets the time to import what it should."""
    monkeypatch.setattr("autoprune.runners._warm.PATIENCE", 60.0)


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    code = tmp_path_factory.mktemp("code")
    for name, text in BESIDE.items():
        (code / name).write_text(text)
    return code


class Bench:
    """Runs scripts with one runner, and tells what they left."""

    def __init__(self, folder: Path, *, warm: bool) -> None:
        self.folder = folder
        self.warm = warm
        self.runner = LocalRunner(2, Options(warm_start=warm))
        self.number = 0

    def start(self, code: Path, command: str = "python trial.py --lr 0.1 'two words'") -> TrialSpec:
        folder = self.folder / str(self.number) / "attempts" / "0"
        spec = TrialSpec("exp-1", self.number, 0, command, code, folder, self.folder / "output", {"x": 0.5})
        self.number += 1
        self.runner.prepare(command, code, self.folder / "server.log")
        self.runner.start(spec)
        return spec

    def process(self, spec: TrialSpec) -> object:
        return self.runner._running[spec.number].process

    def finish(self) -> dict[int, Exit | None]:
        exits: dict[int, Exit | None] = {}
        deadline = time.monotonic() + 60
        while self.runner._running:
            assert time.monotonic() < deadline, "the trials did not end"
            exits |= {ended.number: ended.exit for ended in self.runner.wait(1.0)}
        return exits

    def run(
        self, code: Path, text: str, command: str = "python trial.py --lr 0.1 'two words'", *, spawned: bool = False
    ) -> tuple[object, ...]:
        """Exit, output and errors; `spawned` says that a server is there and does without it."""
        (code / "trial.py").write_bytes(dedent(text).encode("latin-1"))
        spec = self.start(code, command)
        assert isinstance(self.process(spec), WarmProcess) == (self.warm and not spawned)
        exits = self.finish()
        streams = [(spec.folder / name).read_text() for name in ("stdout", "stderr")]
        return exits[spec.number], *(re.sub(r"0x[0-9a-f]+", "0x", stream) for stream in streams)


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, Bench]]:
    cold, warm = (Bench(tmp_path_factory.mktemp(name), warm=name == "warm") for name in ("cold", "warm"))
    yield cold, warm
    cold.runner.close()
    warm.runner.close()


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, warm=True)
    yield bench
    bench.runner.close()


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


def server_of(bench: Bench) -> psutil.Process:
    server = bench.runner._launcher._server
    assert server is not None
    return psutil.Process(server._popen.pid)


def lives(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


SLEEPS = "import sys, time\nprint('up', flush=True)\ntime.sleep({seconds})\nsys.exit(4)\n"


def test_a_killed_server_loses_no_trial_and_is_replaced(code: Path, warm: Bench) -> None:
    (code / "trial.py").write_text(SLEEPS.format(seconds=1))
    first = warm.start(code)
    server = server_of(warm)
    server.kill()
    second = warm.start(code)
    third = warm.start(code)
    assert server_of(warm).pid != server.pid
    assert isinstance(warm.process(third), WarmProcess)
    assert warm.finish() == dict.fromkeys((first.number, second.number, third.number), Exit(4))


def test_a_trial_that_a_signal_ends_after_its_server_has_an_unknown_end(code: Path, warm: Bench) -> None:
    (code / "trial.py").write_text(SLEEPS.format(seconds=60))
    spec = warm.start(code)
    server_of(warm).kill()
    warm.runner.kill(spec.number, now=True)
    assert warm.finish() == {spec.number: None}


def test_a_server_that_stops_answering_is_done_without(
    code: Path, warm: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("autoprune.runners._warm._ANSWER_SECONDS", 0.2)
    warm.run(code, "pass\n")
    server_of(warm).suspend()
    assert warm.run(code, "print(1)\n", spawned=True) == (Exit(0), "1\n", "")
    assert "starts without it" in caplog.text


def test_a_server_that_cannot_start_is_done_without(
    code: Path, warm: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("autoprune.runners._warm._START", "import sys; sys.exit('no')")
    for _ in range(5):
        assert warm.run(code, "print(1)\n", spawned=True) == (Exit(0), "1\n", "")
    assert caplog.text.count("no fork server can be started") == 1


def test_a_server_ends_with_its_runner_and_its_trials_do_not(code: Path, tmp_path: Path) -> None:
    """As when a manager is killed: the socket closes. What is left is known by the folder in its environment."""
    (code / "trial.py").write_text(
        "import os, time\nif os.fork() == 0:\n    os.setsid()\nprint('up', flush=True)\ntime.sleep(60)\n"
    )
    bench = Bench(tmp_path, warm=True)
    spec = bench.start(code)
    process, server = psutil.Process(bench.process(spec).pid), server_of(bench)  # type: ignore[attr-defined]
    deadline = time.monotonic() + 30
    while (spec.folder / "stdout").read_text() != "up\nup\n":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    (child,) = process.children()
    bench.runner._launcher._server._socket.shutdown(socket.SHUT_RDWR)  # type: ignore[union-attr]
    server.wait(10)
    assert lives(process)
    other = LocalRunner(1)
    other.reclaim(spec.folder, None)
    other.close()
    assert not lives(process)
    assert not lives(child)
    bench.runner.close()


def test_libraries_that_start_threads_are_not_forked(
    code: Path, warm: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    start = "import threading, time; threading.Thread(target=time.sleep, args=[1e6], daemon=True).start(); "
    from autoprune.runners import _warm

    monkeypatch.setattr(_warm, "_START", start + _warm._START)
    assert warm.run(code, "print(1)\n", spawned=True) == (Exit(0), "1\n", "")
    assert "start threads of their own" in caplog.text


def test_warm_start_can_be_turned_off(code: Path, tmp_path: Path) -> None:
    bench = Bench(tmp_path, warm=False)
    (code / "trial.py").write_text("pass\n")
    spec = bench.start(code)
    assert not isinstance(bench.process(spec), WarmProcess)
    assert bench.finish() == {spec.number: Exit(0)}
    bench.runner.close()
