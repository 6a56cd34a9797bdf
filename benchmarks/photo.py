"""A photo of 12 megapixels on its way to a model of 224 pixels: `ics.imaging.prepare` against plain Pillow."""

import io
import time
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_image

from benchmarks.figures import Figure, alternate
from ics.artifact import InputSpec
from ics.imaging import prepare

SPEC = InputSpec(tensor="image", width=224, height=168, colour="rgb", polarity="any")
"""A photo's 4 : 3, so that no border takes part in the comparison."""


def photo() -> bytes:
    """4,032 x 3,024 pixels of scikit-learn's flower, enlarged, with a camera's grain, as a JPEG."""
    flower = Image.fromarray(load_sample_image("flower.jpg")).crop((0, 0, 568, 426))
    pixels = np.asarray(flower.resize((4032, 3024), Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(0).normal(0, 2, pixels.shape[:2])[..., np.newaxis]
    out = io.BytesIO()
    Image.fromarray((pixels + grain).clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=92)
    return out.getvalue()


def plainly(content: bytes) -> bytes:
    """What `prepare` makes of a photo, in Pillow's plain way: decode all of it, then resize."""
    out = io.BytesIO()
    _resized(content).save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


def measure(repeats: int) -> Figure:
    """CPU time of both, and how far apart the pictures are, of 255."""
    content = photo()
    with patch("ics.imaging.PNG_UP_TO", SPEC.width):  # compared without loss, so that nothing but the scaling differs
        prepared = np.asarray(Image.open(io.BytesIO(prepare(content, SPEC))), np.int16)
    apart = np.abs(prepared - np.asarray(_resized(content), np.int16))
    return Figure(
        name="12-megapixel JPEG through `prepare`",
        other="plain Pillow, bicubic",
        unit="CPU-ms",
        goal=4.0,
        to_reach=True,
        pairs=alternate(
            lambda: _milliseconds(plainly, content),
            lambda: _milliseconds(lambda taken: prepare(taken, SPEC), content),
            repeats,
        ),
        details={"mean difference": float(apart.mean()), "largest difference": float(apart.max())},
        limits={"mean difference": 0.2, "largest difference": 3.0},
    )


def _milliseconds(work: Callable[[bytes], bytes], content: bytes) -> float:
    started = time.process_time()
    for _ in range(3):
        work(content)
    return 1000 * (time.process_time() - started) / 3


def _resized(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content)).convert("RGB").resize((SPEC.width, SPEC.height), Image.Resampling.BICUBIC)
