"""Transformers and recurrent networks, small, written the way people write them: names of layers and all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class PackedAttention(nn.Module):
    """Queries, keys and values in one Linear, all heads of the one before those of the other."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.proj = nn.Linear(width, width * 3), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Any:
        B, N, _ = x.shape
        q, k, v = self.qkv(x).reshape(B, N, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(B, N, -1))


class SeparateAttention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Any:
        B, N, _ = x.shape
        q, k, v = (layer(x).view(B, N, self.num_heads, -1).transpose(1, 2) for layer in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(B, N, -1))


class HardcodedAttention(SeparateAttention):
    """For a width of 32 in 4 heads and no other: it cannot lose a head."""

    def forward(self, x: Tensor) -> Any:
        B, N, _ = x.shape
        q, k, v = (layer(x).view(B, N, 4, 8).transpose(1, 2) for layer in (self.q, self.k, self.v))
        out = F.scaled_dot_product_attention(q, k, v)
        return self.proj(out.transpose(1, 2).reshape(B, N, 32))


class ViTBlock(nn.Module):
    def __init__(self, width: int, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attn, self.norm2 = nn.LayerNorm(width), attention, nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, width * 4), nn.GELU(), nn.Linear(width * 4, width))

    def forward(self, x: Tensor) -> Any:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nn.Module):
    def __init__(
        self,
        attention: Callable[[int, int], nn.Module],
        width: int = 32,
        heads: int = 4,
        depth: int = 2,
        size: int = 32,
    ) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, 8, 8)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, (size // 8) ** 2 + 1, width))
        self.blocks = nn.Sequential(*(ViTBlock(width, attention(width, heads)) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Any:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


class TransformerEncoder(nn.Module):
    def __init__(self, width: int = 32, heads: int = 4, vocabulary: int = 50) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.layers = nn.Sequential(
            *(nn.TransformerEncoderLayer(width, heads, width * 2, batch_first=True) for _ in range(2))
        )
        self.head = nn.Linear(width, 10)

    def forward(self, tokens: Tensor) -> Any:
        return self.head(self.layers(self.embed(tokens)).mean(dim=1))


class LSTMClassifier(nn.Module):
    def __init__(self, width: int = 16, hidden: int = 24, layers: int = 1, bidirectional: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, width)
        self.lstm = nn.LSTM(width, hidden, layers, batch_first=True, bidirectional=bidirectional)
        self.fc1, self.relu = nn.Linear(hidden * (1 + bidirectional), 32), nn.ReLU()
        self.fc2 = nn.Linear(32, 10)

    def forward(self, tokens: Tensor) -> Any:
        states, _ = self.lstm(self.embed(tokens))
        return self.fc2(self.relu(self.fc1(states.mean(dim=1))))


class Speech(nn.Module):
    """A convolution over time, a GRU, and its last state."""

    def __init__(self, width: int = 16, hidden: int = 12) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv1d(10, width, 3, padding=1), nn.BatchNorm1d(width)
        self.gru = nn.GRU(width, hidden, num_layers=2, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(hidden, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Any:
        _, state = self.gru(F.relu(self.norm(self.conv(x))).transpose(1, 2))
        return self.fc2(F.relu(self.fc1(state[-1])))


class TiedEmbedding(nn.Module):
    """A language model whose output Linear is its embedding."""

    def __init__(self, width: int = 16, vocabulary: int = 50) -> None:
        super().__init__()
        self.embed, self.fc1, self.fc2 = nn.Embedding(vocabulary, width), nn.Linear(width, 32), nn.Linear(32, width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Any:
        return self.head(self.fc2(F.gelu(self.fc1(self.embed(tokens)))))
