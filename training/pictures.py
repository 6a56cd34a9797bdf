"""Pictures as the pipeline hands them to a model, and pictures that show nothing a model knows."""

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

from ics.artifact import InputSpec
from ics.imaging import prepare


def prepared(pictures: Sequence[NDArray[np.uint8]], spec: InputSpec) -> NDArray[np.uint8]:
    """Pictures as the model gets them from the pipeline: uint8 [N, height, width, channels]."""
    tensors = []
    for picture in pictures:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        tensors.append(pixels(file.getvalue(), spec))
    return np.stack(tensors)


def pixels(content: bytes, spec: InputSpec) -> NDArray[np.uint8]:
    """A file's picture as the model gets it from the pipeline: uint8 [height, width, channels].

    Raises:
        ImageError: as `prepare` does.
    """
    with Image.open(io.BytesIO(prepare(content, spec))) as image:
        return np.asarray(image).reshape(spec.height, spec.width, spec.channels)


def load_photograph_squares(side: int = 61) -> list[NDArray[np.uint8]]:
    """Squares uint8 [side, side, 3] that tile scikit-learn's two sample photographs, a temple and a flower."""
    return [
        photograph[top : top + side, left : left + side]
        for photograph in load_sample_images().images
        for top in range(0, photograph.shape[0] - side + 1, side)
        for left in range(0, photograph.shape[1] - side + 1, side)
    ]
