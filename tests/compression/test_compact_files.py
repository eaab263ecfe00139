"""Compact models in files: they load elsewhere, bit for bit, without pickle; what is no such file is refused."""

from __future__ import annotations

import copy
import json
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import L1NormPruner, load_compact, save_compact, saving, speedup
from tests.compression.compacting import chain, masks_of, run, without
from tests.compression.conftest import Net, Tied
from tests.compression.recount import shapes
from tests.compression.zoo import ZOO, normal, tokens

Change = Callable[[dict[str, Any]], object]


def build() -> Any:
    """Two convolutions, one of groups, and a Linear layer over their channels."""
    grouped = nn.Conv2d(8, 8, 3, groups=2)
    return chain(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), grouped, nn.Flatten(), nn.Linear(32, 4))


def image() -> Tensor:
    return normal(2, 3, 6, 6)


def small() -> Any:
    """Without channels 1, 3, 4 and 6, and without the first filter of each group."""
    model = build()
    masks = {"0": without(model[0], [1, 3, 4, 6]), "3": without(model[3], [0, 4])}
    return speedup(model, masks, image())


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


def plan(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(metadata(path)["autoprune.plan"])
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save_compact(small(), tmp_path / "small.safetensors")


def tampered(file: Path, change: Change) -> Path:
    """The same weights with another plan."""
    given = plan(file)
    change(given)
    return rewritten(file, json.dumps(given))


def rewritten(file: Path, text: str) -> Path:
    save_file(load_file(file), file, {"format": "pt", "autoprune.plan": text})
    return file


def assert_equal(one: nn.Module, other: nn.Module, example: Any) -> None:
    assert shapes(one) == shapes(other)
    for name, value in one.state_dict().items():
        assert value.dtype == other.state_dict()[name].dtype
        assert torch.equal(value, other.state_dict()[name]), name
    assert all(torch.equal(a, b) for a, b in zip(run(one, example), run(other, example), strict=True))


# Round trips


def test_a_model_comes_back_bit_for_bit(file: Path) -> None:
    loaded = load_compact(build, file)
    assert_equal(small(), loaded, image())
    assert (loaded[0].out_channels, loaded[1].num_features, loaded[3].in_channels, loaded[5].in_features) == (
        4,
        4,
        4,
        24,
    )


def test_the_path_may_be_a_string_and_is_returned(tmp_path: Path) -> None:
    place = str(tmp_path / "small.safetensors")
    assert save_compact(small(), place) == Path(place)
    assert_equal(small(), load_compact(build, place), image())


def test_the_plan_is_json_that_says_what_stays(file: Path) -> None:
    assert plan(file)["format"] == "autoprune-compact-1"
    assert plan(file)["layers"] == {
        "0": {"out": {"of": 8, "kept": [0, 2, 5, 7]}},
        "1": {"both": {"of": 8, "kept": [0, 2, 5, 7]}},
        "3": {"in": {"of": 8, "kept": [0, 2, 5, 7]}, "out": {"of": 8, "kept": [1, 2, 3, 5, 6, 7]}, "groups": 2},
        "5": {"in": {"of": 32, "kept": [*range(4, 16), *range(20, 32)]}},
    }


def test_the_file_is_plain_safetensors(file: Path) -> None:
    assert {name: tuple(value.shape) for name, value in load_file(file).items()} == shapes(small())
    with pytest.raises(ValueError, match="opcode"):
        list(pickletools.genops(file.read_bytes()))


def test_loading_unpickles_nothing(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("pickle")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", fail)
    load_compact(build, file)


def test_a_class_is_a_builder(tmp_path: Path) -> None:
    model = Net()
    made = speedup(model, masks_of(model, only=["conv0", "conv1"]), normal(2, 1, 8, 8))
    loaded = load_compact(Net, save_compact(made, tmp_path / "net.safetensors"))
    assert type(loaded) is Net
    assert_equal(made, loaded, normal(2, 1, 8, 8))


def test_tied_weights_are_tied_again(tmp_path: Path) -> None:
    model, example = Tied(), tokens(2, 3) % 12
    made: Any = speedup(model, masks_of(model, only=["embed", "mix"]), example)
    assert made.embed.weight is made.head.weight
    loaded = load_compact(Tied, save_compact(made, tmp_path / "tied.safetensors"))
    assert loaded.embed.weight is loaded.head.weight
    assert_equal(made, loaded, example)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_precision_is_kept(dtype: torch.dtype, tmp_path: Path) -> None:
    model = build().to(dtype)
    made = speedup(model, {"0": without(model[0], [0, 7])}, image().to(dtype))
    path = save_compact(made, tmp_path / "small.safetensors")
    assert_equal(made, load_compact(lambda: build().to(dtype), path), image().to(dtype))
    assert {value.dtype for value in load_file(path).values() if value.is_floating_point()} == {dtype}


def test_a_model_that_was_trained_after_it_was_cut(tmp_path: Path) -> None:
    made = small()
    optimizer = torch.optim.Adam(made.parameters(), lr=0.1)
    torch.autograd.backward(made.train()(image()).square().sum())
    optimizer.step()
    assert_equal(made, load_compact(build, save_compact(made, tmp_path / "small.safetensors")), image())


def test_a_model_that_was_cut_twice(tmp_path: Path) -> None:
    once = small()
    twice = speedup(once, {"0": without(once[0], [0, 2]), "3": without(once[3], [0, 3])}, image())
    path = save_compact(twice, tmp_path / "small.safetensors")
    assert plan(path)["layers"]["0"] == {"out": {"of": 8, "kept": [2, 7]}}
    sides = {"in": {"of": 8, "kept": [2, 7]}, "out": {"of": 8, "kept": [2, 3, 6, 7]}}
    assert plan(path)["layers"]["3"] == {**sides, "groups": 2}
    assert_equal(twice, load_compact(build, path), image())


def test_a_loaded_model_is_cut_again(file: Path, tmp_path: Path) -> None:
    loaded = load_compact(build, file)
    again = speedup(loaded, {"0": without(loaded[0], [1, 3])}, image())
    path = save_compact(again, tmp_path / "again.safetensors")
    assert plan(path)["layers"]["0"] == {"out": {"of": 8, "kept": [0, 5]}}
    assert_equal(again, load_compact(build, path), image())


def test_heads_are_counted_in_the_plan(tmp_path: Path) -> None:
    entry = ZOO["vit_separate"]
    model = entry.build().eval()
    small: Any = speedup(model, masks_of(model), entry.example())
    path = save_compact(small, tmp_path / "vit.safetensors")
    assert plan(path)["layers"]["blocks.0.attn"] == {"attributes": {"num_heads": 2}}
    loaded: Any = load_compact(entry.build, path)
    assert loaded.get_submodule("blocks.0.attn").num_heads == 2
    assert_equal(small, loaded, entry.example())


def test_a_copy_of_a_compact_model_is_saved_too(tmp_path: Path) -> None:
    path = save_compact(copy.deepcopy(small()), tmp_path / "small.safetensors")
    assert_equal(small(), load_compact(build, path), image())


def test_a_whole_model_is_saved_as_it_is(tmp_path: Path) -> None:
    path = save_compact(build(), tmp_path / "whole.safetensors")
    assert plan(path)["layers"] == {}
    assert_equal(build(), load_compact(build, path), image())


def test_masks_that_are_put_on_a_compact_model_are_zeros_in_the_file(tmp_path: Path) -> None:
    made, _ = L1NormPruner(small(), [{"sparsity": 0.5, "op_names": ["0"]}]).compress()
    loaded = load_compact(build, save_compact(made, tmp_path / "small.safetensors"))
    assert int((loaded[0].weight.flatten(1) == 0).all(1).sum()) == 2


def test_the_builder_is_not_changed_by_loading(file: Path) -> None:
    kept = build()
    before = shapes(kept)
    load_compact(lambda: kept, file)
    assert shapes(kept) == before


# What can not be written


@pytest.mark.parametrize(("name", "expected"), [("a.pt", r"ends in \.safetensors"), ("no/a.safetensors", "create")])
def test_places_that_can_not_be(name: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match=f"save_compact: given .*{expected}"):
        save_compact(small(), tmp_path / name)


@pytest.mark.parametrize("given", [None, "model", {}])
def test_what_is_no_model_is_not_saved(given: Any, tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match=r"save_compact: given .*; expected a model"):
        save_compact(given, tmp_path / "a.safetensors")


def test_a_full_disk_leaves_the_old_file_and_nothing_else(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: Any, path: Path, _: Any) -> None:
        Path(path).write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    before = file.read_bytes()
    monkeypatch.setattr(saving, "save_file", full)
    with pytest.raises(CompressionError, match="No space left"):
        save_compact(build(), file)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert file.read_bytes() == before


# What can not be loaded


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CompressionError, match=r"load_compact: given .*none\.safetensors.*save_compact"):
        load_compact(build, tmp_path / "none.safetensors")


@pytest.mark.parametrize("content", [b"", b"words", b"\xff" * 100])
def test_a_file_of_another_kind(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(CompressionError, match="expected a file of save_compact"):
        load_compact(build, path)


def test_half_a_file(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CompressionError, match="expected a file of save_compact"):
        load_compact(build, file)


def test_a_file_of_weights_has_no_plan(tmp_path: Path) -> None:
    save_file(build().state_dict(), tmp_path / "a.safetensors")
    with pytest.raises(CompressionError, match=r"has no plan.*load_state_dict"):
        load_compact(build, tmp_path / "a.safetensors")


@pytest.mark.parametrize("given", [None, "Net", build()])
def test_what_builds_no_model(given: Any, file: Path) -> None:
    with pytest.raises(CompressionError, match="expected a class or function that builds the model"):
        load_compact(given, file)


def test_a_function_that_builds_something_else(file: Path) -> None:
    with pytest.raises(CompressionError, match="expected a class or function that builds the model"):
        load_compact(lambda: 3, file)  # type: ignore[type-var]


def test_a_model_without_such_a_layer(file: Path) -> None:
    with pytest.raises(CompressionError, match="a plan for the layer '0'"):
        load_compact(Net, file)


def test_a_model_of_another_width(file: Path) -> None:
    def wider() -> Any:
        return chain(
            nn.Conv2d(3, 9, 3), nn.BatchNorm2d(9), nn.ReLU(), nn.Conv2d(9, 8, 3), nn.Flatten(), nn.Linear(32, 4)
        )

    with pytest.raises(CompressionError, match=r"8 channels .*'0', which has 9"):
        load_compact(wider, file)


def test_a_model_with_another_layer_of_that_name(file: Path) -> None:
    def other() -> Any:
        return chain(nn.ReLU(), *build()[1:])

    with pytest.raises(CompressionError, match="'0', which has no"):
        load_compact(other, file)


def test_a_model_with_more_layers(file: Path) -> None:
    with pytest.raises(CompressionError, match=r"(?s)for another model.*6\.weight"):
        load_compact(lambda: chain(*build(), nn.Linear(4, 2)), file)


def at(*path: str, value: Any) -> Change:
    """Put a value at a place of the plan."""

    def change(given: dict[str, Any]) -> None:
        for part in path[:-1]:
            given = given[part]
        given[path[-1]] = value

    return change


KEPT = ("layers", "0", "out", "kept")
WRONG: dict[str, Change] = {
    "out of range": at(*KEPT, value=[0, 2, 5, 8]),
    "negative": at(*KEPT, value=[-1, 2, 5, 7]),
    "twice the same": at(*KEPT, value=[0, 2, 2, 7]),
    "in another order": at(*KEPT, value=[2, 0, 5, 7]),
    "no channels": at(*KEPT, value=[]),
    "a fraction": at(*KEPT, value=[0, 2, 5.0, 7]),
    "a truth": at(*KEPT, value=[False, True, 5, 7]),
    "words": at(*KEPT, value="0257"),
    "no list": at(*KEPT, value=None),
    "fewer channels than it has": at("layers", "0", "out", "of", value=7),
    "a count in words": at("layers", "0", "out", "of", value="8"),
    "another format": at("format", value="autoprune-compact-9"),
    "layers as a list": at("layers", value=[]),
    "a layer of a list": at("layers", "0", value=[]),
    "an attribute that is none of ours": at("layers", "0", "attributes", value={"__class__": 1}),
    "an attribute of words": at("layers", "0", "attributes", value={"num_heads": "2"}),
    "an attribute that is not there": at("layers", "0", "attributes", value={"num_heads": 2}),
    "attributes of a list": at("layers", "0", "attributes", value=[1]),
    "an unknown layer": at("layers", "nowhere", value={"out": {"of": 8, "kept": [1]}}),
    "a side that it does not have": at("layers", "0", "both", value={"of": 8, "kept": [1]}),
    "unequal groups": at("layers", "3", "out", "kept", value=[0, 1, 2, 3, 4, 5]),
    "other weights": at(*KEPT, value=[0, 2, 5]),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_plan_that_was_tampered_with(change: Change, file: Path) -> None:
    with pytest.raises(CompressionError, match="given"):
        load_compact(build, tampered(file, change))


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '"words"', "{}", '{"format": "autoprune-compact-1"}'])
def test_a_plan_that_is_none(text: str, file: Path) -> None:
    with pytest.raises(CompressionError, match="expected one of save_compact"):
        load_compact(build, rewritten(file, text))


@pytest.mark.parametrize("value", [7, -5, "1", 0.5, True])
def test_a_dimension_that_a_parameter_does_not_have(value: Any, tmp_path: Path) -> None:
    entry = ZOO["convnext"]
    model = entry.build().eval()
    small = speedup(model, masks_of(model), entry.example(), inexact=True)
    path = save_compact(small, tmp_path / "a.safetensors")
    with pytest.raises(CompressionError, match="given"):
        load_compact(entry.build, tampered(path, at("layers", "stages.0.gamma", "dimension", value=value)))


@pytest.mark.parametrize(
    ("layer", "side", "kept"),
    [
        ("1", "both", [0, 1, 2]),
        ("1", "both", [0, 2]),
        ("2", "in", [0, 1, 2]),
        ("2", "out", [0, 4, 5]),
        ("2", "in", [0, 1]),
    ],
)
def test_groups_that_would_be_cut_apart(layer: str, side: str, kept: list[int], tmp_path: Path) -> None:
    """A norm of four groups of two, and a convolution of two groups of four and of three."""

    def grouped() -> Any:
        return chain(nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.Conv2d(8, 6, 3, groups=2), nn.Conv2d(6, 2, 1))

    path = save_compact(grouped(), tmp_path / "a.safetensors")
    of = 6 if side == "out" else 8
    with pytest.raises(CompressionError, match="given a plan"):
        load_compact(grouped, tampered(path, at("layers", layer, value={side: {"of": of, "kept": kept}})))
