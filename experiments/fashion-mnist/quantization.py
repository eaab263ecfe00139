"""Quantization-aware training: LeNet-300-100 trains on with weights and activations of few bits.

`qat` quantises weights and outputs of all layers; `dorefa` the weights of all layers and the outputs of the hidden
ones, which it clamps to [0, 1].

    python quantization.py --method qat --bits 8
    python quantization.py --method dorefa --bits 2 --learning-rate .0001
    python quantization.py --data digits           # in seconds, without a data set
    autoprune run quantization.yml                 # as trials: which method does better with four bits
"""

import torch
from nets import LeNet300
from training import Run, parser, positive

from autoprune.compression.torch import DoReFaQuantizer, QATQuantizer, Quantizer


def quantizer_of(method: str, model: torch.nn.Module, bits: int) -> Quantizer:
    everything = {"quant_types": ["weight", "output"], "quant_bits": bits}
    if method == "qat":
        return QATQuantizer(model, [{**everything, "op_types": ["default"]}])
    weights = {"quant_types": ["weight"], "quant_bits": bits}
    return DoReFaQuantizer(model, [{**weights, "op_names": ["fc3"]}, {**everything, "op_names": ["fc1", "fc2"]}])


arguments = parser(__doc__, epochs=4, learning_rate=3e-4)
arguments.add_argument("--method", choices=("qat", "dorefa"), default="qat", help="default qat")
arguments.add_argument("--bits", type=positive, default=8, help="default 8")
run = Run.start(arguments)
options = run.options

dense, model = run.dense(LeNet300), run.dense(LeNet300)
quantizer_of(options.method, model, options.bits).compress()

optimizer = torch.optim.Adam(model.parameters(), lr=options.learning_rate)
for epoch in range(options.epochs):
    loss = run.train_epoch(model, optimizer)
    run.tell(f"epoch {epoch + 1}", loss, model)

run.finish(model, None, dense=dense)
