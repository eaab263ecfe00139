"""A small model in a file of its own, as users have one, and what is wrong with others."""

MODEL = '''
import torch
from torch import nn


class Net(nn.Module):
    """Two convolutions in a row; the second is added to its input."""

    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.norm0 = nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.conv2 = nn.Conv2d(2 * width, width, 3, padding=1)
        self.head = nn.Linear(width, 10)

    def forward(self, image):
        hidden = torch.relu(self.norm0(self.stem(image)))
        hidden = torch.relu(hidden + self.conv2(torch.relu(self.conv1(hidden))))
        return self.head(hidden.mean((2, 3)))


def build():
    print("printed by the user")
    torch.manual_seed(0)
    return Net()


def broken():
    raise ValueError("no such weights")


def leaves():
    raise SystemExit(3)


model = Net()


def three():
    return 3


def needs(width, depth):
    return Net(width)
'''

DATA = """
import torch


def batches():
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        yield torch.randn(8, 3, 8, 8, generator=generator) + 2, torch.randint(0, 10, (8,), generator=generator)


def none():
    return []


def failing():
    yield torch.zeros(2, 3, 8, 8), torch.zeros(2, dtype=torch.int64)
    raise OSError("the disk is gone")
"""

STUCK = """
import subprocess
import sys
import time
from pathlib import Path


def build():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    Path("started").write_text(str(child.pid))
    time.sleep(1000)
"""
