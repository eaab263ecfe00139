"""What the scripts share: their options, one epoch of training, evaluation, and how results are told.

A script runs alone, with options on its command line, or as a trial, where what the tuner proposes becomes the default
of the options of the same names. Trials are judged on the validation images. Only a script that runs alone reads the
test images, once, when it is done.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import data
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import cross_entropy

import autoprune
from autoprune.compression import report
from autoprune.compression.torch import Masks

CACHE = Path(__file__).parent / ".cache"
BATCH = {"fashion-mnist": 100, "digits": 32}
DENSE_LEARNING_RATE = 1e-3


def parser(description: str | None, *, epochs: int, learning_rate: float) -> argparse.ArgumentParser:
    """The options that every script has."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--data", choices=data.SOURCES, default="fashion-mnist", help="digits need no data set")
    made.add_argument("--folder", help=f"where Fashion-MNIST is; default: ${data.VARIABLE}, or {data.PACKAGED}")
    made.add_argument("--epochs", type=positive, default=epochs, help=f"default {epochs}")
    made.add_argument("--learning-rate", type=float, default=learning_rate, help=f"of Adam; default {learning_rate:g}")
    made.add_argument("--dense-epochs", type=positive, default=8, help="how long the dense network trains; default 8")
    made.add_argument("--seed", type=int, default=0)
    return made


def positive(text: str) -> int:
    """A whole number, 1 or more, of the command line."""
    if (number := int(text)) < 1:
        raise ValueError
    return number


@dataclass(frozen=True)
class Run:
    """A script's options, and the data they ask for."""

    options: argparse.Namespace
    train: data.Part
    validation: data.Part

    @classmethod
    def start(cls, options: argparse.ArgumentParser) -> Run:
        """Read the command line, the trial's parameters and the data; end with exit code 2 where that fails."""
        if is_trial():
            options.set_defaults(**autoprune.get_parameters())
        chosen = options.parse_args()
        torch.manual_seed(chosen.seed)
        try:
            return cls(chosen, *(data.load(part, chosen.data, chosen.folder) for part in ("train", "validation")))
        except data.DataError as error:
            print(f"{options.prog}: {error}", file=sys.stderr)
            sys.exit(2)

    def dense(self, kind: type[nn.Module]) -> nn.Module:
        """The trained dense network: trained by the first who asks, and loaded by everyone else.

        What is random afterwards does not depend on which it was.
        """
        chosen = self.options
        file = CACHE / f"{chosen.data}-{kind.__name__}-{chosen.dense_epochs}-{chosen.seed}.safetensors"
        model = kind()
        if not file.exists():
            optimizer = torch.optim.Adam(model.parameters(), lr=DENSE_LEARNING_RATE)
            for epoch in range(chosen.dense_epochs):
                loss = self.train_epoch(model, optimizer)
                print(f"dense epoch {epoch + 1}: loss {loss:.3f}", flush=True)
            file.parent.mkdir(exist_ok=True)
            mine = file.with_suffix(f".{os.getpid()}")
            save_file(model.state_dict(), mine)
            mine.replace(file)
        model.load_state_dict(load_file(file))
        torch.manual_seed(chosen.seed)
        return model

    def train_epoch(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
        return train_epoch(model, optimizer, self.train, BATCH[self.options.data])

    def batches(self) -> list[data.Part]:
        """The training images and their labels, for pruners that run the model over data."""
        images, labels = (values.split(BATCH[self.options.data]) for values in self.train)
        return list(zip(images, labels, strict=True))

    def tell(self, when: str, loss: float, model: nn.Module) -> None:
        """A line on how it stands, and in a trial an intermediate result."""
        accuracy = evaluate(model, self.validation)
        print(f"{when}: loss {loss:.3f}, validation accuracy {accuracy:.2%}", flush=True)
        if is_trial():
            autoprune.report_intermediate_result(accuracy)

    def finish(self, model: nn.Module, masks: Masks | None, **rivals: nn.Module) -> None:
        """In a trial, the final result; else what became of each layer, and test accuracies side by side."""
        if is_trial():
            autoprune.report_final_result(evaluate(model, self.validation))
            return
        if masks is not None:
            print(f"\n{report(model, masks)}\n")
        test = data.load("test", self.options.data, self.options.folder)
        for name, network in {**rivals, "compressed": model}.items():
            print(f"test accuracy, {name.replace('_', ' ')}: {evaluate(network, test):.2%}")


def is_trial() -> bool:
    """Whether autoprune runs this script."""
    return "AUTOPRUNE_TRIAL_ID" in os.environ


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, part: data.Part, size: int = 100) -> float:
    """One epoch, in batches of `size` and a new order; returns its mean loss."""
    images, labels = part
    model.train()
    total = 0.0
    for batch in torch.randperm(len(labels)).split(size):
        optimizer.zero_grad()
        loss = cross_entropy(model(images[batch]), labels[batch])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(labels)


@torch.no_grad()
def evaluate(model: nn.Module, part: data.Part) -> float:
    """The accuracy, from 0 to 1."""
    images, labels = part
    model.eval()
    batches = zip(images.split(1000), labels.split(1000), strict=True)
    return sum((model(some).argmax(1) == true).sum().item() for some, true in batches) / len(labels)
