"""experiments/fashion-mnist: its reader on files made by hand, and its scripts on scikit-learn's digits.

None of these tests needs Fashion-MNIST.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from autoprune.config import load

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "experiments" / "fashion-mnist"
PARTS = {"train": "train", "test": "t10k"}
QUICK = ["--data", "digits", "--epochs", "1", "--dense-epochs", "1"]
SCRIPTS = {
    "gradual": ["--epochs", "2", "--sparsity", ".5"],
    "lottery_ticket": ["--rounds", "1", "--sparsity", ".5"],
    "filters": ["--method", "apoz"],
    "admm": ["--iterations", "1"],
    "sparse_training": ["--density", ".5", "--epochs", "2"],
    "quantization": ["--method", "dorefa", "--bits", "4"],
}
ACHIEVED = {"gradual": 0.5, "lottery_ticket": 0.5, "filters": 0.5, "admm": 0.9859, "sparse_training": 0.5}
"""The sparsity in all: of ADMM's 430,500 weights, 100 + 2,000 + 3,600 + 350 are kept."""


@pytest.fixture(scope="module")
def data() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fashion_mnist_data", FOLDER / "data.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def idx(values: NDArray[np.uint8]) -> bytes:
    """As the format's description has it: 0, 0, 8 for unsigned bytes, the dimensions, their sizes, and the bytes."""
    sizes = b"".join(struct.pack(">I", size) for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()


def write(folder: Path, part: str, images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
    folder.mkdir(exist_ok=True)
    for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
        (folder / f"{PARTS[part]}-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(values), compresslevel=1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """5,020 training images, each all of one grey, and 3 to test with; a label is the image's number modulo 10."""
    path = tmp_path_factory.mktemp("fashion") / "mnist"
    for part, count in (("train", 5020), ("test", 3)):
        numbers = np.arange(count)
        grey = (numbers % 251).astype(np.uint8)
        write(path, part, np.broadcast_to(grey[:, None, None], (count, 28, 28)), (numbers % 10).astype(np.uint8))
    return path


def run(script: str, *arguments: str, folder: Path = FOLDER, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTOPRUNE_")}
    return subprocess.run(
        [sys.executable, script, *arguments],
        cwd=folder,
        env=kept | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The experiment without its trained networks."""
    return shutil.copytree(FOLDER, tmp_path / "code", ignore=shutil.ignore_patterns(".cache", "__pycache__"))


@pytest.mark.parametrize("shape", [(3,), (0,), (2, 3), (2, 3, 4)])
def test_an_idx_file_is_read_as_it_was_written(tmp_path: Path, data: ModuleType, shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    (tmp_path / "file.gz").write_bytes(gzip.compress(idx(values)))
    read = data.read_idx(tmp_path / "file.gz")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (gzip.compress(idx(np.zeros(100, np.uint8)))[:-9], "unpacked"),
        (gzip.compress(bytes(range(256)))[:20] + b"\xff" * 40, "unpacked"),
        (b"not gzip", "unpacked"),
        (b"", "00 00 08"),
        (gzip.compress(b"\0\0\x0d\1\0\0\0\1\0\0\0\0"), "00 00 0d 01"),
        (gzip.compress(b"\0\0\x08\3\0\0\0\1"), "8 bytes; expected 16"),
        (gzip.compress(idx(np.zeros((2, 3), np.uint8))[:-1]), "5 numbers; expected 2 x 3"),
        (gzip.compress(idx(np.zeros(4, np.uint8)) + b"\0"), "5 numbers; expected 4"),
    ],
    ids=["cut off", "corrupt", "plain", "empty", "floats", "no sizes", "too few", "too many"],
)
def test_a_file_that_is_not_whole_is_named(tmp_path: Path, data: ModuleType, content: bytes, named: str) -> None:
    (tmp_path / "file.gz").write_bytes(content)
    with pytest.raises(data.DataError, match=named) as error:
        data.read_idx(tmp_path / "file.gz")
    assert str(tmp_path / "file.gz") in str(error.value)


def test_every_training_image_is_in_one_part(data: ModuleType, folder: Path) -> None:
    parts = {part: data.load(part, folder=folder) for part in data.PARTS}
    counts = {part: tuple(images.shape) for part, (images, _) in parts.items()}
    assert counts == {"train": (20, 1, 28, 28), "validation": (5000, 1, 28, 28), "test": (3, 1, 28, 28)}
    both = torch.cat([parts["train"][1], parts["validation"][1]])
    assert both.bincount().tolist() == [502] * 10
    pixels = torch.cat([parts[part][0][:, 0, 0, 0] for part in ("train", "validation")]) * 0.3530 + 0.2860
    greys = (pixels * 255).round().long()
    assert torch.equal(greys.sort().values, (torch.arange(5020) % 251).sort().values)
    assert parts["test"][1].tolist() == [0, 1, 2]
    assert torch.equal(data.load("validation", folder=folder)[1], parts["validation"][1])


def test_parts_of_the_digits_are_drawn_apart_and_enlarged(data: ModuleType) -> None:
    parts = [data.load(part, "digits") for part in data.PARTS]
    assert [tuple(images.shape) for images, _ in parts] == [(n, 1, 28, 28) for n in (1077, 360, 360)]
    assert sum(len(labels) for _, labels in parts) == 1797
    assert abs(float(parts[0][0].mean())) < 0.05
    assert abs(float(parts[0][0].std()) - 1) < 0.05


def test_images_without_their_labels_are_refused(tmp_path: Path, data: ModuleType) -> None:
    for part in ("train", "test"):
        write(tmp_path, part, np.zeros((4, 28, 28), np.uint8), np.zeros(3, np.uint8))
    with pytest.raises(data.DataError, match=re.escape("(4, 28, 28) pixels and (3,) labels")):
        data.load("train", folder=tmp_path)


def test_the_folder_given_comes_before_the_environment_and_that_before_the_package(
    tmp_path: Path, data: ModuleType, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "PACKAGED", folder)
    monkeypatch.delenv("AUTOPRUNE_FASHION_MNIST", raising=False)
    assert data.find() == folder
    monkeypatch.setenv("AUTOPRUNE_FASHION_MNIST", str(tmp_path / "elsewhere"))
    with pytest.raises(data.DataError, match="elsewhere"):
        data.find()
    assert data.find(folder) == folder


@pytest.mark.parametrize("environment", [{}, {"AUTOPRUNE_FASHION_MNIST": "from-the-environment"}])
def test_a_script_without_data_says_what_to_install(environment: dict[str, str]) -> None:
    arguments = [] if environment else ["--folder", "from-the-command-line"]
    result = run("gradual.py", *arguments, **environment)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    looked = "from-the-environment" if environment else "from-the-command-line"
    for part in (looked, "apt-get install dataset-fashion-mnist", "/usr/share/datasets/fashion-mnist", "--folder PATH"):
        assert part in result.stderr


def test_a_script_with_a_cut_off_file_names_it(tmp_path: Path, folder: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    labels = broken / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-5])
    result = run("sparse_training.py", "--folder", str(broken))
    assert result.returncode == 2
    assert str(labels) in result.stderr
    assert "Traceback" not in result.stderr


def check(name: str, code: Path) -> None:
    result = run(f"{name}.py", *QUICK, *SCRIPTS[name], folder=code)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    called = "round" if name == "lottery_ticket" else "epoch"
    assert re.search(rf"^{called} 1: loss \d+\.\d+, validation accuracy \d+\.\d+%$", result.stdout, re.MULTILINE)
    tested = dict(re.findall(r"^test accuracy, (.+): (\d+\.\d+)%$", result.stdout, re.MULTILINE))
    assert {"dense", "compressed"} <= set(tested)
    if name in ACHIEVED:
        total = re.search(r"^in all .* (\d\.\d+) ", result.stdout, re.MULTILINE)
        assert total is not None
        assert float(total[1]) == pytest.approx(ACHIEVED[name], abs=1e-4)


def test_a_script_runs_on_the_digits(code: Path) -> None:
    check("gradual", code)
    assert [path.name for path in (code / ".cache").iterdir()] == ["digits-LeNet300-1-0.safetensors"]


@pytest.mark.slow
def test_a_dense_network_that_was_kept_changes_nothing(code: Path) -> None:
    first, second = (run("gradual.py", *QUICK, *SCRIPTS["gradual"], folder=code).stdout for _ in range(2))
    assert "dense epoch 1" in first
    assert second == re.sub(r"^dense epoch.*\n", "", first, flags=re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SCRIPTS) - {"gradual"}))
def test_every_script_runs_on_the_digits(code: Path, name: str) -> None:
    check(name, code)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["l1", "fpgm", "taylor", "slim"])
def test_filters_go_by_every_method(code: Path, method: str) -> None:
    result = run("filters.py", *QUICK, "--method", method, folder=code)
    assert result.returncode == 0, result.stderr
    assert "0.5000" in next(line for line in result.stdout.splitlines() if line.startswith("in all"))


def test_every_script_has_an_experiment_over_options_of_its_own() -> None:
    assert {path.stem for path in FOLDER.glob("*.yml")} == set(SCRIPTS)
    shared = (FOLDER / "training.py").read_text()
    for name in SCRIPTS:
        config = load(FOLDER / f"{name}.yml").config
        assert config.trial_command.startswith(f"python {name}.py")
        source = shared + (FOLDER / f"{name}.py").read_text()
        for parameter in config.search_space:
            assert f'"--{parameter.replace("_", "-")}"' in source


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", sorted(SCRIPTS))
def test_a_script_is_a_trial(code: Path, name: str) -> None:
    """Its options take what the tuner proposes, and it reports what it reaches on the validation images."""
    command = f"trialCommand=python {name}.py {' '.join(QUICK)}"
    result = run(
        "-m", "autoprune", "run", f"{name}.yml", "--set", command, "--max-trials", "1", "--no-server", folder=code
    )
    assert result.returncode == 0, result.stderr
    items = json.loads(run("-m", "autoprune", "trials", "--json", folder=code).stdout)["items"]
    assert [trial["state"] for trial in items] == ["SUCCEEDED"]
    assert 0 < items[0]["value"] <= 1


@pytest.mark.slow
def test_the_benchmark_runs_on_the_digits() -> None:
    result = run("benchmarks/fashion_mnist.py", "--quick", "--seeds", "1", folder=ROOT)
    assert result.returncode == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if line.endswith(("holds |", "not hold |", "average |"))]
    assert len(rows) == 8


def test_the_benchmark_without_data_says_what_to_install() -> None:
    result = run("benchmarks/fashion_mnist.py", "--folder", "nowhere", folder=ROOT)
    assert result.returncode == 2
    assert "apt-get install dataset-fashion-mnist" in result.stderr
