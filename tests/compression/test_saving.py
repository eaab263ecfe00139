"""Sparse models in files: they load into the plain model, and the training goes on, sparse."""

from __future__ import annotations

import copy
import json
import resource
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoprune.compression import report
from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import AGPPruner, LevelPruner, unwrap
from autoprune.compression.torch.saving import load_masks

HALF = [{"sparsity": 0.5}]


def weight(model: nn.Module, layer: str = "fc") -> Tensor:
    return model.get_submodule(layer).get_parameter("weight").detach()


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


def equal(first: dict[str, dict[str, Tensor]], second: dict[str, dict[str, Tensor]]) -> bool:
    return {name: set(layer) for name, layer in first.items()} == {
        name: set(layer) for name, layer in second.items()
    } and all(torch.equal(keep, second[name][each]) for name, layer in first.items() for each, keep in layer.items())


def test_what_is_written_loads_into_the_plain_model(net: nn.Module, train: Callable[..., None], tmp_path: Path) -> None:
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    train(net, torch.optim.AdamW(net.parameters(), lr=0.01))
    written = pruner.export(tmp_path / "model.safetensors")
    assert (written.weights, written.masks) == (tmp_path / "model.safetensors", tmp_path / "model.masks.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.masks.safetensors", "model.safetensors"]
    plain = type(net)()
    plain.load_state_dict(load_file(written.weights), strict=True)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in net.state_dict().items())
    assert int((weight(plain) == 0).sum()) == 480
    batch = torch.randn(2, 1, 8, 8)
    assert torch.equal(plain.eval()(batch), net.eval()(batch))
    stored = load_file(written.masks)
    assert stored.keys() == {"conv0.weight", "conv1.weight", "fc.weight"}
    assert all(torch.equal(stored[f"{name}.weight"], layer["weight"]) for name, layer in masks.items())


def test_training_goes_on_sparse_in_another_model(net: nn.Module, train: Callable[..., None], tmp_path: Path) -> None:
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    written = pruner.export(str(tmp_path / "model.safetensors"))
    plain = type(net)()
    plain.load_state_dict(load_file(written.weights))
    loaded = load_masks(plain, written.masks)
    assert equal(loaded, masks)
    train(plain, torch.optim.Adam(plain.parameters(), lr=0.01, weight_decay=0.1))
    for layer, parameters in masks.items():
        assert not bool(weight(plain, layer)[~parameters["weight"]].any())
        assert bool(weight(plain, layer)[parameters["weight"]].all())
    assert report(plain).achieved == report(net).achieved
    unwrap(plain)
    train(plain, torch.optim.SGD(plain.parameters(), lr=0.1))
    assert bool(weight(plain)[~masks["fc"]["weight"]].any())


def test_export_leaves_the_model_masked(net: nn.Module, tmp_path: Path) -> None:
    dense = weight(net).clone()
    pruner = LevelPruner(net, HALF)
    pruner.compress()
    pruner.export(tmp_path / "model.safetensors")
    assert int((weight(net) == 0).sum()) == 480
    pruner.unwrap()
    assert torch.equal(weight(net), dense)


def test_zeros_are_baked_whatever_was_written_since(net: nn.Module, tmp_path: Path) -> None:
    pruner = LevelPruner(net, HALF)
    _, masks = pruner.compress()
    with torch.no_grad():
        net.get_submodule("fc").get_parameter("weight").fill_(3.0)
    stored = load_file(pruner.export(tmp_path / "model.safetensors").weights)["fc.weight"]
    assert torch.equal(stored, torch.where(masks["fc"]["weight"], 3.0, 0.0))


def test_shared_weights_load_strictly(tied: nn.Module, tmp_path: Path) -> None:
    pruner = LevelPruner(tied, HALF)
    pruner.compress()
    written = pruner.export(tmp_path / "model.safetensors")
    plain = type(tied)()
    plain.load_state_dict(load_file(written.weights), strict=True)
    assert torch.equal(weight(plain, "head"), weight(tied, "embed"))
    load_masks(plain, written.masks)
    plain(torch.arange(12)).square().sum().backward()
    torch.optim.Adam(plain.parameters(), lr=0.1).step()
    assert int((weight(plain, "head") == 0).sum()) == 48


def test_masks_of_two_pruners_meet_in_the_file(net: nn.Module, tmp_path: Path) -> None:
    first = LevelPruner(net, [{"sparsity": 0.5, "op_names": ["conv1", "fc"]}])
    first.compress()
    second = LevelPruner(net, [{"sparsity": 0.25, "op_names": ["fc"], "granularity": "filter"}])
    second.compress()
    keep = load_file(second.export(tmp_path / "model.safetensors").masks)
    assert keep.keys() == {"conv1.weight", "fc.weight"}
    assert torch.equal(keep["fc.weight"], first.masks["fc"]["weight"] & second.masks["fc"]["weight"])


def test_the_metadata_says_what_was_asked_and_done(net: nn.Module, tmp_path: Path) -> None:
    pruner = AGPPruner(net, [{"initial_sparsity": 0.0, "final_sparsity": 0.8, "end_epoch": 10, "op_names": ["fc"]}])
    pruner.compress()
    pruner.update_epoch(5)
    written = pruner.export(tmp_path / "model.safetensors")
    assert written.unfinished == ("AGPPruner: now 0.7 of a schedule that ends at 0.8",)
    assert str(written).splitlines() == [
        f"{written.weights} and {written.masks}: sparsity 0.7",
        "AGPPruner: now 0.7 of a schedule that ends at 0.8",
    ]
    for path in (written.weights, written.masks):
        said = metadata(path)
        assert said["pruner"] == "AGPPruner"
        assert float(said["achieved_sparsity"]) == pytest.approx(0.7)
        assert said["unfinished"] == written.unfinished[0]
        assert json.loads(said["report"]) == report(net).to_dict()
        (row,) = json.loads(said["report"])["layers"]
        assert row["requested"][0]["sparsity"] == pytest.approx(0.7)
    pruner.update_epoch(10)
    written = pruner.export(tmp_path / "model.safetensors")
    assert written.unfinished == ()
    assert metadata(written.weights)["unfinished"] == ""


def test_a_compiled_model_has_its_original_names(net: nn.Module, tmp_path: Path) -> None:
    compiled: Any = torch.compile(net, backend="eager")
    pruner = LevelPruner(compiled, HALF)
    _, given = pruner.compress()
    written = pruner.export(tmp_path / "model.safetensors")
    plain = type(net)()
    plain.load_state_dict(load_file(written.weights), strict=True)
    masks = load_masks(plain, written.masks)
    assert list(masks) == ["conv0", "conv1", "fc"]
    assert [row.layer for row in report(compiled).rows] == ["conv0", "conv1", "fc"]
    assert report(compiled, given) == report(compiled)
    assert equal(load_masks(torch.compile(type(net)(), backend="eager"), written.masks), masks)  # type: ignore[arg-type]


def test_a_compiled_part_has_its_original_names(net: nn.Module, tmp_path: Path) -> None:
    part: Any = torch.compile(nn.Linear(4, 4), backend="eager")
    model = nn.Sequential(nn.Linear(4, 4), part)
    pruner = LevelPruner(model, HALF)
    pruner.compress()
    stored = load_file(pruner.export(tmp_path / "model.safetensors").weights)
    assert stored.keys() == {"0.weight", "0.bias", "1.weight", "1.bias"}


def test_a_layer_by_itself(tmp_path: Path) -> None:
    pruner = LevelPruner(nn.Linear(6, 4), HALF)
    _, masks = pruner.compress()
    written = pruner.export(tmp_path / "model.safetensors")
    assert load_file(written.masks).keys() == {"weight"}
    assert equal(load_masks(nn.Linear(6, 4), written.masks), masks)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16, torch.complex64])
def test_types_stay(dtype: torch.dtype, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 4, dtype=dtype))
    pruner = LevelPruner(model, HALF)
    pruner.compress()
    stored = load_file(pruner.export(tmp_path / "model.safetensors").weights)
    assert stored["0.weight"].dtype == dtype
    assert torch.equal(stored["0.weight"], weight(model, "0"))


def test_memory_formats_and_views_are_stored_whole(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Linear(3, 5)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    backing = torch.randn(5, 5)
    model[1].weight = nn.Parameter(backing[:3].T)
    model[1].register_buffer("row", backing[4])
    pruner = LevelPruner(model, HALF)
    pruner.compress()
    stored = load_file(pruner.export(tmp_path / "model.safetensors").weights)
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())


class Extra(nn.Linear):
    def get_extra_state(self) -> Any:
        return {"seen": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


def test_what_is_no_tensor_is_refused(tmp_path: Path) -> None:
    pruner = LevelPruner(nn.Sequential(Extra(4, 4)), HALF)
    pruner.compress()
    with pytest.raises(CompressionError, match=r"given dict under '0\._extra_state'"):
        pruner.export(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_type_that_the_format_lacks_is_refused(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model.register_buffer("phase", torch.zeros(3, dtype=torch.complex128))
    pruner = LevelPruner(model, HALF)
    pruner.compress()
    with pytest.raises(CompressionError, match="complex128"):
        pruner.export(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("missing/model.safetensors", "expected a folder that exists .create .*missing"),
        ("model.pth", "a name that ends in .safetensors"),
        ("folder.safetensors", "expected files that can be written .*Is a directory"),
        (f"{'m' * 300}.safetensors", "expected files that can be written"),
    ],
)
def test_places_that_cannot_be_written(net: nn.Module, tmp_path: Path, place: str, said: str) -> None:
    (tmp_path / "folder.safetensors").mkdir()
    pruner = LevelPruner(net, HALF)
    pruner.compress()
    with pytest.raises(CompressionError, match=said):
        pruner.export(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.safetensors"]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing more fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_what_was_there(net: nn.Module, tmp_path: Path) -> None:
    pruner = LevelPruner(net, HALF)
    pruner.compress()
    written = pruner.export(tmp_path / "model.safetensors")
    before = {path.name: path.read_bytes() for path in (written.weights, written.masks)}
    with torch.no_grad():
        net.get_submodule("fc").get_parameter("weight").mul_(2)
    with files_of_at_most(3000), pytest.raises(CompressionError, match=r"model\.safetensors.*can be written"):
        pruner.export(tmp_path / "model.safetensors")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_others_may_read_the_files(net: nn.Module, tmp_path: Path) -> None:
    """As any file that is written: not for the owner alone."""
    pruner = LevelPruner(net, HALF)
    pruner.compress()
    written = pruner.export(tmp_path / "model.safetensors")
    (tmp_path / "other").touch()
    usual = stat.S_IMODE((tmp_path / "other").stat().st_mode)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (written.weights, written.masks)} == {usual}


def test_export_needs_a_masked_model(net: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match=r"LevelPruner\.export: .*call compress"):
        LevelPruner(net, HALF).export(tmp_path / "model.safetensors")


def test_masks_as_compress_returned_them(net: nn.Module) -> None:
    plain = copy.deepcopy(net)
    dense = weight(plain).clone()
    _, masks = LevelPruner(net, HALF).compress()
    loaded = load_masks(plain, masks)
    keep = masks["fc"]["weight"].clone()
    masks["fc"]["weight"].fill_(True)
    loaded["fc"]["weight"].fill_(True)
    assert torch.equal(weight(plain), torch.where(keep, dense, 0))
    unwrap(plain)
    assert torch.equal(weight(plain), dense)


def test_masks_loaded_again_take_the_place_of_the_first(net: nn.Module) -> None:
    dense = weight(net).clone()
    keep = torch.rand(10, 96) < 0.5
    load_masks(net, {"fc": {"weight": keep}, "conv0": {"weight": torch.zeros(4, 1, 3, 3, dtype=torch.bool)}})
    load_masks(net, {"fc": {"weight": ~keep}})
    assert torch.equal(weight(net), torch.where(keep, 0, dense))
    assert bool(weight(net, "conv0").all())


def test_loaded_masks_and_a_pruner_meet(net: nn.Module) -> None:
    keep = torch.rand(10, 96) < 0.5
    load_masks(net, {"fc": {"weight": keep}})
    LevelPruner(net, [{"sparsity": 0.75, "op_names": ["fc"]}]).compress()
    assert int((weight(net) != 0).sum()) == 240
    assert not bool(weight(net)[~keep].any())


def test_batchnorm_masks_have_two_parts(net: nn.Module, tmp_path: Path) -> None:
    pruner = LevelPruner(net, [{"sparsity": 0.5, "op_types": ["BatchNorm2d"]}])
    _, masks = pruner.compress()
    assert set(masks["bn"]) == {"weight", "bias"}
    plain = type(net)()
    assert equal(load_masks(plain, pruner.export(tmp_path / "model.safetensors").masks), masks)
    assert torch.equal(weight(plain, "bn") != 0, masks["bn"]["weight"])


TRUE = torch.ones(10, 96, dtype=torch.bool)
MISFITS: list[tuple[Any, str]] = [
    ({"fcc": {"weight": TRUE}}, r"a mask for 'fcc'; expected the name of a layer .did you mean fc\?"),
    ({"act": {"weight": TRUE}}, r"load_masks: act: given a mask for 'weight'; expected the name of a parameter .there"),
    ({"fc": {"wieght": TRUE}}, r"load_masks: fc: given a mask for 'wieght'.*did you mean weight\?"),
    ({"fc": {"weight": TRUE.T}}, r"fc\.weight: given shape \(96, 10\); expected \(10, 96\)"),
    ({"fc": {"weight": TRUE.float()}}, r"fc\.weight: given torch\.float32; expected a tensor of torch\.bool"),
    ({"fc": {"weight": [True]}}, r"fc\.weight: given list; expected a tensor"),
    ({"fc": TRUE}, r"load_masks: fc: given Tensor; expected a dict by parameter name"),
    ({}, "load_masks: given no masks"),
    ([TRUE], "load_masks: given list"),
    ("missing.safetensors", "load_masks: given 'missing.safetensors'; expected a file of masks .*No such file"),
]


@pytest.mark.parametrize(("masks", "said"), MISFITS)
def test_masks_that_do_not_fit(net: nn.Module, masks: Any, said: str) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    mixed = (
        {"conv0": {"weight": torch.zeros(4, 1, 3, 3, dtype=torch.bool)}, **masks}
        if masks and type(masks) is dict
        else masks
    )
    with pytest.raises(CompressionError, match=said):
        load_masks(net, mixed)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_file_that_holds_no_masks(net: nn.Module, tmp_path: Path) -> None:
    pruner = LevelPruner(net, HALF)
    pruner.compress()
    written = pruner.export(tmp_path / "model.safetensors")
    plain = type(net)()
    with pytest.raises(CompressionError, match=r"given torch\.float32; expected a tensor of torch\.bool"):
        load_masks(plain, written.weights)
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(CompressionError, match="expected a file of masks"):
        load_masks(plain, tmp_path / "text.safetensors")
    save_file({"fc.weight": torch.ones(3, 3, dtype=torch.bool)}, tmp_path / "other.safetensors")
    with pytest.raises(CompressionError, match=r"given shape \(3, 3\)"):
        load_masks(plain, tmp_path / "other.safetensors")
