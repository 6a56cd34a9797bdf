"""Networks: float32 images in 0..1 [N, channels, height, width] to logits [N, classes]."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

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
    """A residual net for small images: full size, then half as large with each further entry of `channels`.

    Each halving is followed by `blocks` residual blocks. A `stride` of the first convolution makes "full" smaller.

    The head pools globally and then convolves 1 x 1, instead of a fully connected layer: onnxruntime runs convolutions
    image by image, so an image's logits are the same to the bit alone and in any batch, which a matrix product over the
    batch does not promise.
    """

    def __init__(
        self,
        classes: int,
        inputs: int = 1,
        channels: Sequence[int] = (16, 24, 48),
        blocks: int = 1,
        stride: int = 1,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv(inputs, channels[0], stride)]
        for before, after in pairwise(channels):
            layers += [_conv(before, after, stride=2), *(ResidualBlock(after) for _ in range(blocks))]
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels[-1], classes, 1), nn.Flatten())

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


class LineNet(nn.Module):
    """Reads a line of text: one answer for every 4 pixels of its width, from about 40 pixels on either side.

    Convolutions shrink the line to a quarter of its width and to 4 rows, one over all 4 rows makes columns of them, and
    residual convolutions along the line look at neighbours. There is no recurrent layer: a CPU learns and computes this
    several times as fast, and how wide a picture is makes no difference to what is read in it.
    """

    def __init__(self, classes: int, inputs: int = 1, channels: Sequence[int] = (16, 32, 64, 96), columns: int = 192):
        super().__init__()
        first, second, third, fourth = channels
        self.features = nn.Sequential(
            nn.Conv2d(inputs, first, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(),
            _conv(first, second, stride=2),
            _conv(second, third),
            nn.MaxPool2d((2, 1)),
            _conv(third, fourth),
            nn.Conv2d(fourth, columns, (4, 3), padding=(0, 1), bias=False),
            nn.BatchNorm2d(columns),
            nn.ReLU(),
        )
        self.neighbours = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(columns, columns, (1, 5), padding=(0, 2), groups=columns, bias=False),
                nn.Conv2d(columns, columns, 1, bias=False),
                nn.BatchNorm2d(columns),
                nn.ReLU(),
            )
            for _ in range(3)
        )
        self.head = nn.Sequential(nn.Dropout(0.1), nn.Conv2d(columns, classes, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, width / 4, classes] of images [N, inputs, 32, width] in 0..1; a width is a multiple of 4."""
        columns = self.features(images)
        for layer in self.neighbours:
            columns = columns + layer(columns)
        return self.head(columns).squeeze(2).transpose(1, 2)


NETS: Mapping[str, Callable[..., nn.Module]] = {"basic": BasicNet, "residual": SmallResidualNet}
"""What recipes call the networks of classifiers: each takes the numbers of classes and of channels, and options."""

LINE_NETS: Mapping[str, Callable[..., nn.Module]] = {"line": LineNet}
"""The same for text models; one class more than there are characters, the first, is CTC's blank."""
