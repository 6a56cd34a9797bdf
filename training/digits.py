"""The `digits` model: handwritten digits 0 to 9, learned from MNIST."""

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ics.artifact import InputSpec
from ics.imaging import prepare
from training import augment
from training.data import (
    Labelled,
    centred_like_mnist,
    load_mnist,
    load_photograph_squares,
    load_sklearn_digits,
    split,
)
from training.nets import SmallResidualNet
from training.recipe import Dataset, Recipe

INPUT = InputSpec(tensor="image", width=28, height=28, colour="grey", polarity="light-on-dark")

VALIDATION = 5_000
"""Training images kept aside for stopping, choosing and calibrating."""

NOTHING = 16
"""Pictures of nothing in a batch; their target is every digit alike, so that a blank page is not a confident 1."""


def load(path: Path, seed: int) -> Dataset:
    """MNIST from its npz, a part of train kept for validation, beside what scikit-learn brings from other sources.

    Raises DataError as `load_mnist` does.
    """
    train, test = load_mnist(path)
    train, validation = split(train, min(VALIDATION, len(train) // 5), seed)
    small, labels = load_sklearn_digits()
    return Dataset(
        train,
        validation,
        test,
        described=f"MNIST test split, {len(test):,} of 10,000 images",
        elsewhere={
            "scikit-learn's 8 x 8 digits, scaled and centred as MNIST's": Labelled(
                np.stack([centred_like_mnist(image) for image in small])[..., np.newaxis], labels
            ),
            "scikit-learn's 8 x 8 digits, as ICS prepares them": Labelled(_prepared(list(small)), labels),
        },
        nothing=_prepared(load_photograph_squares()),
        nothing_described="squares of scikit-learn's two sample photographs",
    )


def _prepared(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Pictures as the model gets them from the pipeline: uint8 [N, 28, 28, 1]."""
    tensors = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        with Image.open(io.BytesIO(prepare(file.getvalue(), INPUT))) as prepared:
            tensors.append(np.asarray(prepared)[..., np.newaxis])
    return np.stack(tensors)


def batch(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Distort digits and add pictures of nothing: (inputs [N + NOTHING, 1, 28, 28], target probabilities [.., 10]).

    The ranges cover what `ics.imaging.prepare` may pass on: it fits the whole picture into 28 x 28 pixels and does not
    look for the digit, so ink may be off centre, touch the border (MNIST's is 20 pixels high, hence up to 1.4), be
    thick, thin, pale, noisy or come from fewer pixels.
    """
    images = augment.change_stroke(images, generator, thinner=0.5, thicker=0.7)
    images = augment.warp(images, generator, degrees=15, shift=3, scale=(0.7, 1.4), shear=0.2, elastic=1.0)
    eighth = len(images) // 8
    images = torch.cat([augment.lower_resolution(images[:eighth], generator, smallest=8), images[eighth:]])
    images = augment.change_contrast(images, generator, darkest=0.6, ground=0.2, noise=0.1)
    nothing = augment.textures(NOTHING, *images.shape[2:], generator)
    targets = torch.cat([F.one_hot(labels, 10).float(), torch.full((NOTHING, 10), 0.1)])
    return torch.cat([images, nothing]), targets


def build() -> SmallResidualNet:
    """A fresh network: 183,000 parameters, 14.6 million multiplications an image."""
    return SmallResidualNet(classes=10)


CARD = """\
# digits

Reads one handwritten digit, 0 to 9, from a picture of 28 x 28 pixels, white ink on black. `ics.imaging.prepare` brings
other pictures to that form: it scales and inverts, but does not look for the digit.

| | |
|---|---|
| version | `{version}` |
| network | residual CNN, 183,000 parameters, 14.6 million multiplications an image |
| made by | `python -m training digits --data mnist.npz --epochs {epochs} --seed {seed}` |
| temperature | {temperature:.4f} |

## Data

Learned from MNIST (Yann LeCun, Corinna Cortes, Christopher Burges): digits written by employees of the American Census
Bureau and by high-school students. The images came as PNGs re-encoded from MNIST in a public repository, in MNIST's own
train and test parts. MNIST is often quoted as CC BY-SA 3.0; it came without a licence text, and this is not verified.

{train:,} training images were learned from, distorted at random (rotation, scale, shift, shear, bending, stroke width,
contrast, noise, resolution), together with generated blank and textured pictures that show no digit. {validation:,}
others were kept for choosing the epoch and for the temperature. These two were parted at random, not by writer, so they
share writers; the test images are by other writers, and were used for the figures below and for nothing else.

## Figures

Measured through onnxruntime on the shipped graph. ECE: expected calibration error, 15 equal-width bins. *Accepted*: of
a confidence of at least 0.94, the default threshold.

| source | images | accuracy | ECE | accepted | accuracy of the accepted |
|---|---|---|---|---|---|
{figures}

Of {nothing}, none of which shows a digit, {nothing_share:.1%} were accepted.

## Use and limits

- Meant for single digits, written by hand, in the middle of a plain ground. ICS demonstrates itself with it.
- **Its confidence is calibrated for pictures like MNIST's only.** On other sources that is not promised: see the last
  rows of the table. Measure it on labelled images of your own before you trust a threshold.
- Every picture gets a digit, also a letter, two digits at once or a face. Training against blank and textured
  pictures lowers the confidence for many of them, but does not promise to.
- Tilt beyond 15 degrees, mirror writing, printed or stylised digits, and digits smaller than half the picture were not
  learned.
- Not for cheques, votes, exams or anything else that matters to a person without a person looking at it.
"""

RECIPE = Recipe(name="digits", labels=tuple("0123456789"), input=INPUT, load=load, build=build, batch=batch, card=CARD)
