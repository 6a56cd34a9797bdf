"""Networks: float32 images in 0..1 [N, channels, height, width] to logits [N, classes]."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
    )


class ResidualBlock(nn.Module):
    """Two convolutions around which the input is carried (He et al. 2015, basic block)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(channels, channels), nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Same shape in and out."""
        return torch.relu(features + self.body(features))


class SmallResidualNet(nn.Module):
    """A residual net for images of about 32 pixels: full, half and quarter size, a block at each of the last two.

    The head pools globally and then convolves 1 x 1, instead of a fully connected layer: onnxruntime runs convolutions
    image by image, so an image's logits are the same to the bit alone and in any batch, which a matrix product over the
    batch does not promise.
    """

    def __init__(self, classes: int, inputs: int = 1, channels: Sequence[int] = (16, 24, 48)) -> None:
        super().__init__()
        full, half, quarter = channels
        self.features = nn.Sequential(
            _conv(inputs, full),
            _conv(full, half, stride=2),
            ResidualBlock(half),
            _conv(half, quarter, stride=2),
            ResidualBlock(quarter),
        )
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(quarter, classes, 1), nn.Flatten())

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, inputs, height, width] in 0..1."""
        return self.head(self.features(images * 2 - 1))


class BasicNet(nn.Module):
    """The plain CNN everyone begins with: three convolutions, each halving the size, and two layers on the rest."""

    def __init__(self, classes: int, inputs: int = 1, channels: Sequence[int] = (16, 32, 64), hidden: int = 64) -> None:
        super().__init__()
        first, second, third = channels
        self.features = nn.Sequential(
            _conv(inputs, first), nn.MaxPool2d(2), _conv(first, second), nn.MaxPool2d(2), _conv(second, third)
        )
        # 1 x 1 convolutions, for the sake of equal bits in any batch: see SmallResidualNet
        self.head = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(third, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, classes, 1), nn.Flatten()
        )

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, inputs, height, width] in 0..1."""
        return self.head(self.features(images * 2 - 1))


NETS: Mapping[str, Callable[..., nn.Module]] = {"basic": BasicNet, "residual": SmallResidualNet}
"""What recipes call the networks of classifiers: each takes the numbers of classes and of channels, and options."""
