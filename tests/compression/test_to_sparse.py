"""Linear layers that skip zeros: the same outputs, replaced by what a timing says, and a record of all of it."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import LevelPruner, report
from autoprune.compression.torch.sparse_kernels import SparseLinear, replacing, sparse_report, to_sparse
from autoprune.compression.torch.sparse_kernels.kernels import kernels_for

Clock = Callable[..., None]


def pruned(rows: int, columns: int, sparsity: float, *, bias: bool = True) -> nn.Linear:
    layer = nn.Linear(rows, columns, bias=bias)
    with torch.no_grad():
        layer.weight.mul_(torch.rand(columns, rows) >= sparsity)
    return layer


def prune_all(model: nn.Module, sparsity: float = 0.9) -> nn.Module:
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.mul_(torch.rand_like(module.weight) >= sparsity)
    return model


def rows_of(model: nn.Module) -> dict[str, str]:
    """What became of each layer: the kernel, or the reason why it is dense."""
    return {row.layer: row.reason or str(row.kernel) for row in sparse_report(model).rows}


def same(one: nn.Module, other: nn.Module, *inputs: Tensor) -> None:
    with torch.no_grad():
        torch.testing.assert_close(one(*inputs), other(*inputs), rtol=1e-5, atol=1e-5)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Timings as the test says: of the dense and of the sparse, for each time that two are timed, the last for ever."""

    def install(*pairs: tuple[float, float]) -> None:
        left = list(pairs)

        def side_by_side(first: Callable[[], object], second: Callable[[], object], *_: object) -> tuple[float, float]:
            first(), second()
            return left.pop(0) if len(left) > 1 else left[0]

        monkeypatch.setattr(replacing, "side_by_side", side_by_side)

    return install


# what is replaced


def test_the_real_thing_measures_and_replaces() -> None:
    model = nn.Sequential(pruned(2048, 1024, 0.99), nn.ReLU(), pruned(1024, 16, 0.1), pruned(16, 4, 0.9))
    inputs = torch.randn(4, 2048)
    sparse = to_sparse(model, inputs, repeats=5)
    same(sparse, model, inputs)
    found = sparse_report(sparse)
    assert isinstance(sparse[0], SparseLinear)
    assert found.rows[0].dense_ms is not None
    assert found.rows[0].ratio is not None
    assert found.rows[0].ratio >= 1.1
    assert rows_of(sparse)["2"] == "fewer than 30% zeros"
    assert found.dense_ms is not None
    assert found.sparse_ms is not None
    assert found.faster == (found.dense_ms / found.sparse_ms >= 1.1)


def test_a_gain_below_the_margin_stays_dense(clock: Clock) -> None:
    clock((1.05, 1.0), (1.3, 1.0), (0.5, 1.0), (9.0, 9.0))
    model = nn.Sequential(*(pruned(8, 8, 0.9) for _ in range(3)))
    sparse = to_sparse(model, torch.randn(2, 8), margin=1.2)
    assert rows_of(sparse) == {"0": "csr gains less than 1.2x", "1": "csr", "2": "csr is not faster"}
    assert type(sparse[0]) is nn.Linear
    assert [row.ratio for row in sparse_report(sparse).rows] == pytest.approx([1.05, 1.3, 0.5])


def test_a_layer_is_timed_with_what_it_sees_as_often_as_it_sees_it(clock: Clock) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = pruned(8, 8, 0.9)
            self.unused = pruned(8, 8, 0.9)

        def forward(self, image: Tensor, *, text: Tensor) -> Tensor:
            once = self.layer(input=image).sum()
            return sum((self.layer(text).sum() for _ in range(3)), once)

    clock((2.0, 1.0), (5.0, 4.0), (30.0, 20.0))
    sparse = to_sparse(Twice(), {"image": torch.randn(1, 8), "text": torch.randn(4, 5, 8)})
    layer, unused = sparse_report(sparse).rows
    assert layer.inputs == ((1, 8), (4, 5, 8))
    assert (layer.dense_ms, layer.sparse_ms) == (2 + 3 * 5, 1 + 3 * 4)
    assert unused.reason == "example_input never calls it"
    assert (sparse_report(sparse).dense_ms, sparse_report(sparse).sparse_ms) == (30, 20)


def test_a_whole_that_does_not_gain_is_said_to_be_so(clock: Clock) -> None:
    clock((2.0, 1.0), (3.0, 2.9))
    found = sparse_report(to_sparse(nn.Sequential(pruned(8, 8, 0.9)), torch.randn(2, 8)))
    assert found.faster is False
    assert found.verdict == ("The whole model is NOT faster by the margin of 1.1: 3 ms dense, 2.9 ms sparse, 1.03x.")
    clock((2.0, 1.0), (3.0, 1.5))
    found = sparse_report(to_sparse(nn.Sequential(pruned(8, 8, 0.9)), torch.randn(2, 8)))
    assert found.faster is True
    assert found.verdict == "The whole model is faster: 3 ms dense, 1.5 ms sparse, 2.00x."


def test_without_an_example_nothing_is_said_of_the_whole(clock: Clock) -> None:
    clock((2.0, 1.0))
    model = nn.Sequential(pruned(8, 8, 0.9))
    sparse = to_sparse(model)
    same(sparse, model, torch.randn(3, 8))
    found = sparse_report(sparse)
    assert found.rows[0].inputs == ((1, 8),)
    assert (found.dense_ms, found.ratio, found.faster) == (None, None, None)
    assert "whether it is faster is unknown" in str(found)


def test_nothing_to_replace() -> None:
    found = sparse_report(to_sparse(nn.Sequential(nn.Linear(4, 4)), torch.randn(1, 4)))
    assert found.replaced == ()
    assert found.ratio is None
    assert found.verdict == "No layer was replaced: the model is as fast as it was."


def test_the_record_as_a_table_and_as_json(clock: Clock) -> None:
    clock((2.0, 1.0), (4.0, 2.0))
    model = nn.Sequential(pruned(8, 4, 1.0), nn.Linear(4, 2))
    found = sparse_report(to_sparse(model, torch.randn(3, 8)))
    lines = str(found).splitlines()
    assert lines[1].split() == ["0", "4x8", "3x8", "1.0000", "2", "1", "2.00x", "csr"]
    assert lines[2].split() == ["1", "2x4", "0.0000", "-", "-", "-", *["dense:", "fewer", "than", "30%", "zeros"]]
    assert lines[3] == "Timed on cpu with 1 threads."
    as_json = json.loads(json.dumps(found.to_dict()))
    assert as_json["layers"][0] == {
        "layer": "0", "shape": [4, 8], "sparsity": 1.0, "inputs": [[3, 8]], "kernel": "csr", "dense_ms": 2.0,
        "sparse_ms": 1.0, "ratio": 2.0, "replaced": True, "reason": "",
    }  # fmt: skip
    assert (as_json["ratio"], as_json["faster"], as_json["margin"]) == (2.0, True, 1.1)


def test_a_kernel_that_computes_something_else_is_not_taken(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(SparseLinear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * 1.5

    clock((2.0, 1.0))
    monkeypatch.setattr(replacing, "kernels_for", lambda _: {"wrong": Wrong})
    assert rows_of(to_sparse(nn.Sequential(pruned(8, 8, 0.5)))) == {"0": "wrong computes something else, 0.5 off"}


def test_half_precision_on_a_cpu_stays_dense_with_the_reason(clock: Clock) -> None:
    clock((2.0, 1.0))
    for kind in (torch.float16, torch.bfloat16):
        model = nn.Sequential(pruned(8, 8, 0.9)).to(kind)
        (reason,) = rows_of(to_sparse(model, torch.randn(2, 8, dtype=kind))).values()
        assert reason.startswith(f"no csr here: SparseLinear: given values of {kind} on cpu")


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 0), reason="no sparse tensor cores"
)
def test_two_four_on_tensor_cores() -> None:
    dense = nn.Linear(4096, 4096, device="cuda", dtype=torch.float16).eval()
    with torch.no_grad():
        dense.weight.view(-1, 4)[:, :2] = 0
    assert set(kernels_for(dense.weight)) == {"csr", "2:4"}
    inputs = torch.randn(4096, 4096, device="cuda", dtype=torch.float16)
    sparse = to_sparse(nn.Sequential(dense), inputs)
    with torch.no_grad():
        torch.testing.assert_close(sparse(inputs), dense(inputs), rtol=1e-2, atol=1e-2)
    assert "2:4" in str(sparse_report(sparse))


# layers that stay, for what reads them


def test_weights_that_others_read_stay_dense(clock: Clock, tied: nn.Module) -> None:
    clock((2.0, 1.0))
    prune_all(tied)
    tokens = torch.randint(12, (3, 5))
    sparse = to_sparse(tied, tokens)
    assert rows_of(sparse) == {"mix": "csr", "head": "shares its weight with another layer"}
    assert sparse.head.weight is sparse.embed.weight
    same(sparse, tied, tokens)


def test_a_module_with_two_names_is_replaced_under_both(clock: Clock) -> None:
    clock((2.0, 1.0))
    layer = pruned(8, 8, 0.9)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    sparse = to_sparse(model, torch.randn(2, 8))
    assert isinstance(sparse[0], SparseLinear)
    assert sparse[0] is sparse[2]
    same(sparse, model, torch.randn(2, 8))


def test_layers_that_are_not_just_a_linear_stay_dense(clock: Clock) -> None:
    class Own(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    clock((2.0, 1.0))
    hooked, orthogonal = nn.Linear(8, 8), nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
    hooked.register_forward_hook(lambda *_: None)
    model = prune_all(nn.Sequential(Own(8, 8), hooked, nn.Linear(8, 8)))
    model.append(orthogonal)
    assert rows_of(to_sparse(model, torch.randn(2, 8))) == {
        "0": "a Own with a forward of its own",
        "1": "has hooks, which would be lost",
        "2": "csr",
        "3": "parametrized (remove_parametrizations gives the weight back)",
    }


def test_attention_keeps_its_projection(clock: Clock) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.out = nn.Linear(8, 8)

        def forward(self, text: Tensor) -> Tensor:
            out: Tensor = self.out(self.attention(text, text, text, need_weights=False)[0])
            return out

    clock((2.0, 1.0))
    model, inputs = prune_all(Attention()), torch.randn(2, 3, 8)
    for sparse in (to_sparse(model), to_sparse(model, inputs)):
        assert rows_of(sparse) == {"attention.out_proj": "attention reads its weight itself", "out": "csr"}
        same(sparse, model.eval(), inputs)


@pytest.mark.parametrize("batch_first", [True, False])
def test_encoder_layers_keep_what_their_fast_path_reads(clock: Clock, batch_first: bool) -> None:
    clock((2.0, 1.0))
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)
    model = prune_all(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)).eval()
    inputs = torch.randn(2, 3, 8)
    sparse = to_sparse(model, inputs)
    same(sparse, model, inputs)
    torch.testing.assert_close(sparse(inputs), model(inputs), rtol=1e-5, atol=1e-5)
    became = {name: text for name, text in rows_of(sparse).items() if "linear" in name}
    expected = "the encoder layer's fast path reads its weight itself" if batch_first else "csr"
    assert set(became.values()) == {expected}
    assert len(became) == 4


# the given model, and the copy


def test_the_given_model_stays_as_it_is(clock: Clock, net: nn.Module) -> None:
    clock((2.0, 1.0))
    pruner = LevelPruner(net, [{"sparsity": 0.8, "op_types": ["default"]}])
    pruner.compress()
    net.conv1.eval()
    state = copy.deepcopy(net.state_dict())
    parameters, modes = dict(net.named_parameters()), [module.training for module in net.modules()]
    random = torch.get_rng_state()
    masks = str(report(net))
    sparse = to_sparse(net, torch.randn(2, 1, 8, 8))
    torch.set_rng_state(random)

    assert type(net.fc) is nn.Linear
    assert isinstance(sparse.fc, SparseLinear)
    assert all(parameter is parameters[name] for name, parameter in net.named_parameters())
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    assert not any(module.training for module in sparse.modules())
    assert not net.fc._forward_pre_hooks
    assert str(report(net)) == masks
    with pytest.raises(CompressionError, match="model without masks"):
        report(sparse)
    ours = {each.untyped_storage().data_ptr() for each in net.state_dict().values()}
    assert ours.isdisjoint(each.untyped_storage().data_ptr() for each in sparse.state_dict().values())
    same(sparse, net.eval(), torch.randn(2, 1, 8, 8))


def test_random_numbers_go_on_as_if_nothing_had_run(clock: Clock) -> None:
    clock((2.0, 1.0))
    model = nn.Sequential(pruned(8, 8, 0.9), nn.Dropout())
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    to_sparse(model)
    assert torch.equal(torch.rand(3), expected)


def test_a_linear_by_itself_and_a_sparse_model_again(clock: Clock) -> None:
    clock((2.0, 1.0))
    dense, inputs = pruned(8, 4, 0.9), torch.randn(3, 8)
    sparse = to_sparse(dense, inputs)
    assert isinstance(sparse, SparseLinear)
    assert rows_of(sparse) == {"": "csr"}
    again = to_sparse(nn.Sequential(sparse, pruned(4, 4, 0.9)), inputs)
    assert rows_of(again) == {"1": "csr"}
    same(again[0], dense, inputs)


def test_copies_pickles_and_states_of_the_result(clock: Clock, tmp_path: Path) -> None:
    clock((2.0, 1.0))
    model = nn.Sequential(pruned(8, 6, 0.9), nn.BatchNorm1d(6), pruned(6, 4, 0.9))
    inputs = torch.randn(3, 8)
    sparse = to_sparse(model, inputs)
    duplicate = copy.deepcopy(sparse)
    same(duplicate, sparse, inputs)
    assert sparse_report(duplicate) == sparse_report(sparse)

    blank = copy.deepcopy(model)
    with torch.no_grad():
        blank[0].weight.mul_(-3)
        blank[2].bias.add_(1)
    other = to_sparse(blank, inputs)
    other.load_state_dict(sparse.state_dict())
    same(other, sparse, inputs)
    with pytest.raises(RuntimeError, match=r"Missing key.*0\.values"):
        sparse.load_state_dict(model.state_dict())

    (tmp_path / "model.pickle").write_bytes(pickle.dumps((sparse, inputs, sparse(inputs).detach())))
    code = (
        "import pickle, sys, torch; model, inputs, expected = pickle.load(open(sys.argv[1], 'rb'));"
        "assert torch.allclose(model(inputs), expected, atol=1e-6)"
    )
    subprocess.run([sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "-c", code,
                    str(tmp_path / "model.pickle")], check=True)  # fmt: skip


def test_the_result_says_that_it_does_not_train(clock: Clock) -> None:
    clock((2.0, 1.0))
    sparse = to_sparse(nn.Sequential(pruned(8, 8, 0.9)))
    with pytest.raises(CompressionError, match="in training mode"):
        sparse.train()(torch.randn(2, 8))
    sparse.eval()(torch.randn(2, 8))


# what is given


def test_what_can_not_be_done_is_an_error() -> None:
    linear = nn.Linear(2, 2)
    with pytest.raises(CompressionError, match=r"to_sparse: given \{\}; expected a model"):
        to_sparse({})  # type: ignore[arg-type]
    for margin in (0.5, float("nan"), "2", True):
        with pytest.raises(CompressionError, match=r"to_sparse\.margin: given .*; expected a number from 1"):
            to_sparse(linear, margin=margin)  # type: ignore[arg-type]
    for repeats in (0, 2.5, True):
        with pytest.raises(CompressionError, match=r"to_sparse\.repeats: given .*; expected a whole number from 1"):
            to_sparse(linear, repeats=repeats)  # type: ignore[arg-type]
    with pytest.raises(CompressionError, match="'0' has no weights yet"):
        to_sparse(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(CompressionError, match="a weight without values in ''"):
        to_sparse(nn.Linear(2, 2, device="meta"))
    with pytest.raises(CompressionError, match=r"given a model that torch\.compile made"):
        to_sparse(torch.compile(linear, backend="eager"))  # type: ignore[arg-type]
    with pytest.raises(CompressionError, match="given a Linear; expected a model that to_sparse made"):
        sparse_report(linear)


def test_a_model_that_can_not_be_copied_is_an_error() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    prune.l1_unstructured(model[0], "weight", 0.5)
    with pytest.raises(
        CompressionError, match=r"given a layer '0' whose weight is computed from others .*; it can not be copied"
    ):
        to_sparse(model)


def test_nobody_hears_that_torch_calls_csr_beta() -> None:
    code = (
        "import torch; from autoprune.compression.torch.sparse_kernels import SparseLinear;"
        "SparseLinear(torch.eye(3)).eval()(torch.ones(2, 3))"
    )
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], check=True, capture_output=True, text=True)
    assert "CSR" not in done.stderr
    assert "invariant" not in done.stderr
