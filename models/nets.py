"""The six small nets, in PyTorch: each takes [N,1,28,28] in [0, 1] and gives [N,10] logits."""

from __future__ import annotations

import torch
from torch import nn

from dataset import MEAN, STD


class Normalise(nn.Module):
    """Subtracts the mean of the data and divides by its standard deviation."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Normalises one batch."""
        return (image - MEAN) / STD


def lenet_300_100() -> nn.Module:
    """Returns the 784-300-100-10 perceptron; dropout works in training only."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 300),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, 10),
    )


def lenet5() -> nn.Module:
    """Returns LeNet-5 with Caffe's layer sizes (20, 50, 500, 10), after each pool a ReLU."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(500, 10),
    )


def conv_bn(cin: int, cout: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Returns a padded convolution without bias, followed by a BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(cin, cout, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(cout),
    )


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which projects where the shape changes."""

    def __init__(self, cin: int, cout: int, stride: int):
        """Makes the block.

        Args:
            cin: Channels of the input.
            cout: Channels of the output.
            stride: Stride of the first convolution and of the projection.
        """
        super().__init__()
        self.conv1 = conv_bn(cin, cout, 3, stride)
        self.conv2 = conv_bn(cout, cout, 3)
        same = stride == 1 and cin == cout
        self.shortcut = nn.Identity() if same else conv_bn(cin, cout, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the block."""
        y = self.conv2(torch.relu(self.conv1(x)))
        return torch.relu(y + self.shortcut(x))


def resnet8() -> nn.Module:
    """Returns a ResNet of three residual blocks; two project with stride 2, one adds its input."""
    return nn.Sequential(
        Normalise(),
        conv_bn(1, 16, 3),
        nn.ReLU(),
        Residual(16, 48, 2),
        Residual(48, 48, 1),
        Residual(48, 96, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 10),
    )


class Inverted(nn.Module):
    """MobileNetV2's block: 1x1 expansion, 3x3 depthwise, 1x1 projection, all with BatchNorm."""

    def __init__(self, cin: int, cout: int, stride: int, expand: int):
        """Makes the block.

        Args:
            cin: Channels of the input.
            cout: Channels of the output.
            stride: Stride of the depthwise convolution.
            expand: How many times wider the inside is than the input.
        """
        super().__init__()
        mid = cin * expand
        self.body = nn.Sequential(
            conv_bn(cin, mid, 1),
            nn.ReLU6(),
            conv_bn(mid, mid, 3, stride, groups=mid),
            nn.ReLU6(),
            conv_bn(mid, cout, 1),
        )
        self.same = stride == 1 and cin == cout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the block."""
        y = self.body(x)
        return x + y if self.same else y


def mobilenet() -> nn.Module:
    """Returns a small MobileNetV2: five inverted residuals and a head of 192 channels."""
    return nn.Sequential(
        Normalise(),
        conv_bn(1, 16, 3, 2),
        nn.ReLU6(),
        Inverted(16, 24, 1, 3),
        Inverted(24, 24, 1, 3),
        Inverted(24, 48, 2, 4),
        Inverted(48, 48, 1, 4),
        Inverted(48, 48, 1, 4),
        conv_bn(48, 192, 1),
        nn.ReLU6(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(192, 10),
    )


def vgg() -> nn.Module:
    """Returns a VGG: 32-32, 64-64 and 128-128 channels, pooled after each pair, then 256 and 10."""
    layers: list[nn.Module] = [Normalise()]
    cin = 1
    for cout in (32, 64, 128):
        layers += [conv_bn(cin, cout, 3), nn.ReLU(), conv_bn(cout, cout, 3), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        cin = cout
    head = [nn.Linear(128 * 3 * 3, 256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 10)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), *head)


class Block(nn.Module):
    """A pre-norm transformer block: self-attention and a perceptron with GELU."""

    def __init__(self, dim: int, heads: int, tokens: int, ratio: int):
        """Makes the block.

        Args:
            dim: Width of a token.
            heads: Heads of the attention.
            tokens: Tokens of one image.
            ratio: How many times wider the perceptron is inside.
        """
        super().__init__()
        self.dim, self.heads, self.tokens = dim, heads, tokens
        self.norm1 = nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(
            nn.Linear(dim, dim * ratio), nn.GELU(), nn.Dropout(0.05), nn.Linear(dim * ratio, dim)
        )

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """Splits the tokens into heads: [N,T,D] becomes [N,H,T,D/H]."""
        return x.reshape(-1, self.tokens, self.heads, self.dim // self.heads).transpose(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the block."""
        y = self.norm1(x)
        query, key, value = (self.split(part(y)) for part in (self.query, self.key, self.value))
        scale = (self.dim // self.heads) ** -0.5
        weight = torch.softmax(torch.matmul(query, key.transpose(2, 3)) * scale, dim=-1)
        mixed = torch.matmul(weight, value).transpose(1, 2).reshape(-1, self.tokens, self.dim)
        x = x + self.proj(mixed)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """A small vision transformer over the 49 patches of 4x4 pixels."""

    def __init__(self, dim: int = 96, depth: int = 3, heads: int = 4, ratio: int = 2):
        """Makes the net.

        Args:
            dim: Width of a token.
            depth: Number of blocks.
            heads: Heads of each attention.
            ratio: How many times wider each perceptron is inside.
        """
        super().__init__()
        self.dim, self.tokens = dim, 49
        self.patch = nn.Conv2d(1, dim, 4, 4)
        self.place = nn.Parameter(torch.randn(1, self.tokens, dim) * 0.02)
        self.blocks = nn.Sequential(*(Block(dim, heads, self.tokens, ratio) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Gives the logits of a batch."""
        x = self.patch((image - MEAN) / STD)
        x = x.reshape(-1, self.dim, self.tokens).transpose(1, 2) + self.place
        return self.head(self.norm(self.blocks(x)).mean(dim=1))
