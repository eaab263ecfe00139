"""The report of what `speedup` did: what went, what came along, and what stays and why."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from autoprune.compression.core.errors import CompressionError
from autoprune.compression.torch import AGPPruner, compaction, complete_masks, speedup
from tests.compression.compacting import (
    chain,
    compact,
    conv,
    image,
    losing,
    masks_of,
    net,
    staying,
    untouched,
    without,
)
from tests.compression.recount import shapes
from tests.compression.zoo import ZOO, normal

OUTPUT = "reaches the output of the model"


def test_the_report_names_what_went_what_came_along_and_what_stays() -> None:
    """Of (8·3·9 + 8) + 2·8 + (4·8·9 + 4) parameters, (6·3·9 + 6) + 2·6 + (4·6·9 + 4) are left.

    Not masked were 2 biases, 2 scales and shifts, and 4·2·9 weights that read them.
    """
    model = chain(conv(3, 8), nn.BatchNorm2d(8), nn.ReLU(), conv(8, 4))
    made = compaction(compact(model, losing(model, _0=[0, 1], _3=[0]), image()))
    assert made.parameters == (224 + 16 + 292, 168 + 12 + 220)
    assert {each.layer: (dict(each.sides), each.parameters) for each in made.removed} == {
        "0": ({"out": (8, 6)}, (224, 168)),
        "1": ({"both": (8, 6)}, (16, 12)),
        "3": ({"in": (8, 6)}, (292, 220)),
    }
    added = {(each.layer, each.parameter): each.count for each in made.added}
    assert added == {("0", "bias"): 2, ("1", "weight"): 2, ("1", "bias"): 2, ("3", "weight"): 3 * 2 * 9}
    assert [(each.layer, each.channels, each.reason) for each in made.staying] == [("3", 1, OUTPUT)]
    assert "532 -> 400 parameters (75.2%)" in str(made)
    assert made.to_dict()["parameters"] in ([532, 400], (532, 400))


def test_what_stays_is_told_of_the_layer_that_masks_it() -> None:
    model = net(lambda net, x: (lambda h: net.c(h + net.b(h)))(net.a(x)), a=conv(3, 8), b=conv(8, 8), c=conv(8, 4))
    with pytest.raises(CompressionError, match="4 of b: goes with channels that a keeps") as caught:
        speedup(model, losing(model, b=[0, 1, 2, 3]), image())
    assert "of a:" not in str(caught.value)


@pytest.mark.parametrize("norm", [nn.LayerNorm, nn.RMSNorm])
def test_a_norm_over_channels_keeps_them_unless_told(norm: Any) -> None:
    model = chain(nn.Linear(5, 8), norm(8), nn.ReLU(), nn.Linear(8, 4))
    masks, example = losing(model, _0=[0, 1, 2]), normal(2, 5)
    reason = rf"3 of 0: 1 \({norm.__name__}\) normalises over it; inexact=True would remove it all the same"
    with untouched(model), pytest.raises(CompressionError, match=reason):
        speedup(model, masks, example)
    with untouched(model):
        small: Any = speedup(model, masks, example, inexact=True)
    assert small[1].normalized_shape == (5,)
    assert shapes(small)["3.weight"] == (4, 5)
    assert complete_masks(model, masks, example, inexact=True)["1"]["weight"].tolist() == [False] * 3 + [True] * 5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_hardcoded", r"blocks\.\d\.attn does not run with fewer channels"),
        ("generator_fixed", "does not run with fewer channels"),
        ("transformer_encoder", r"layers\.1\.norm2 \(LayerNorm\) normalises over it"),
        ("convnext", r"\(LayerNorm2d\) normalises over it"),
        ("multi_output", OUTPUT),
    ],
)
def test_what_stays_in_the_zoo(name: str, reason: str) -> None:
    model = ZOO[name].build().eval()
    layers = [layer for layer, _ in model.named_modules() if not layer.endswith("out_proj")]
    small = compact(model, masks_of(model, only=layers), ZOO[name].example())
    assert any(
        torch.tensor(1) is not None and _matches(reason, each) for own in staying(small).values() for each in own
    )


def _matches(pattern: str, text: str) -> bool:

    return re.search(pattern, text) is not None


def test_hidden_units_of_an_lstm_stay() -> None:
    model: Any = ZOO["lstm"].build().eval()
    masks: dict[str, dict[str, Tensor]] = {"lstm": {}, "fc1": without(model.fc1, range(16))}
    for name, values in model.lstm.named_parameters():
        if name.startswith("weight"):
            keep = torch.ones(4, 24, values.shape[1], dtype=torch.bool)
            keep[:, :6] = False
            masks["lstm"][name] = keep.flatten(0, 1)
    small: Any = compact(model, masks, ZOO["lstm"].example())
    assert (small.lstm.hidden_size, small.fc1.out_features) == (24, 16)
    assert staying(small)["lstm"] == ["rows of the gates of lstm (LSTM) keep its hidden units"]


def test_an_attention_of_torch_keeps_its_width() -> None:
    def attend(net: Any, x: Tensor) -> Any:
        x = net.embed(x)
        return net.out(F.relu(net.hidden(net.attention(x, x, x)[0])))

    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    model = net(attend, embed=nn.Linear(5, 8), attention=attention, hidden=nn.Linear(8, 6), out=nn.Linear(6, 3))
    small = compact(model, losing(model, embed=[0, 1], hidden=[0]), normal(2, 4, 5))
    assert staying(small) == {"embed": ["attention (MultiheadAttention) computes with all of its embed_dim"]}


def test_a_schedule_that_has_not_ended_is_named() -> None:
    model = chain(conv(3, 8), nn.ReLU(), conv(8, 4))
    entry = {"final_sparsity": 0.5, "end_epoch": 4, "granularity": "filter", "op_names": ["0"]}
    pruner = AGPPruner(model, [entry])
    pruner.compress()
    pruner.update_epoch(2)
    small = speedup(model, None, image())
    assert "of a schedule that ends at 0.5" in compaction(small).unfinished[0]
    assert "unfinished" in str(compaction(small))
