"""Augmentation: random, label-keeping changes to a batch of images, reproducible from one generator.

Batches are float32 [N, channels, height, width] in 0..1, ink light on black: what moves in from outside is black.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from training.recipe import Augmentation, RecipeError


def augmented(
    images: Tensor, targets: Tensor, changes: Sequence[Augmentation], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A batch after a recipe's changes, in their order: (inputs, target probabilities [.., classes]).

    A change with a `share` is done to that part of the batch, its first rows. `nothing` is no change: it adds a share
    of pictures of nothing, whose target is every class alike.

    Raises:
        RecipeError: there is no such change, or it takes other options.
    """
    for change in changes:
        part = round(change.share * len(images))
        try:
            if change.name == "nothing":
                blank = textures(part, *images.shape[1:], generator, **change.options)
                even = torch.full((part, targets.shape[1]), 1 / targets.shape[1])
                images, targets = torch.cat([images, blank]), torch.cat([targets, even])
            elif change.name in CHANGES:
                changed = CHANGES[change.name](images[:part], generator, **change.options) if part else images[:0]
                images = torch.cat([changed, images[part:]])
            else:
                known = ", ".join(sorted([*CHANGES, "nothing"]))
                raise RecipeError(f"augment.name: no augmentation {change.name!r}; there are: {known}")
        except TypeError as error:
            raise RecipeError(f"augment.{change.name}: {error}") from error
    return images, targets


def warp(  # one draw an image of each
    images: Tensor,
    generator: torch.Generator,
    *,
    degrees: float,
    shift: float,
    scale: tuple[float, float],
    shear: float,
    elastic: float,
) -> Tensor:
    """Rotate, shift, scale, shear and bend each image, all in one resampling so that strokes are blurred only once.

    `degrees`, `shift` (pixels), `shear` (tangent) are drawn uniformly up to that magnitude, `scale` log-uniformly
    between its ends. `elastic` is the largest standard deviation, in pixels, of a smooth displacement field (Simard,
    Steinkraus, Platt 2003, with the field drawn on a coarse grid instead of being smoothed).
    """
    count, _, height, width = images.shape

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator) * (high - low) + low

    angle = uniform(-math.radians(degrees), math.radians(degrees))
    # grid_sample asks where each output pixel comes from, so every change is inverted
    inverse = torch.exp(-uniform(math.log(scale[0]), math.log(scale[1])))
    cos, sin, slant = angle.cos() * inverse, angle.sin() * inverse, uniform(-shear, shear)
    shifts = uniform(-shift, shift, 2) * 2 / torch.tensor([width, height])
    linear = torch.stack([torch.stack([cos, -sin + slant * cos], 1), torch.stack([sin, cos + slant * sin], 1)], 1)
    grid = F.affine_grid(
        torch.cat([linear, -(linear @ shifts[:, :, None])], 2), list(images.shape), align_corners=False
    )
    bend = torch.randn(count, 2, 5, 5, generator=generator) * uniform(0, elastic, 1, 1, 1)
    bend = F.interpolate(bend, size=(height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    return F.grid_sample(images, grid + bend * 2 / torch.tensor([width, height]), align_corners=False)


def change_stroke(images: Tensor, generator: torch.Generator, *, thinner: float, thicker: float) -> Tensor:
    """Make strokes thinner or thicker, from -`thinner` to `thicker`; 1 is a pixel on either side of the stroke."""
    amount = torch.rand(len(images), 1, 1, 1, generator=generator) * (thinner + thicker) - thinner
    dilated = F.max_pool2d(images, 3, stride=1, padding=1)
    eroded = -F.max_pool2d(-images, 3, stride=1, padding=1)
    return images + amount.clamp(min=0) * (dilated - images) - amount.clamp(max=0) * (eroded - images)


def lower_resolution(images: Tensor, generator: torch.Generator, *, smallest: int) -> Tensor:
    """Shrink the batch to a random side of at least `smallest` pixels and enlarge it: how small pictures come in."""
    height, width = images.shape[2:]
    side = int(torch.randint(smallest, min(height, width), (), generator=generator))
    return F.interpolate(
        F.adaptive_avg_pool2d(images, (side, side)), size=(height, width), mode="bilinear", align_corners=False
    )


def change_contrast(
    images: Tensor, generator: torch.Generator, *, darkest: float, ground: float, noise: float
) -> Tensor:
    """Draw each image's ink between `darkest` and 1 and its ground up to `ground`, and add noise.

    Half of the images keep a black ground. The noise is normal, of a standard deviation up to `noise`.
    """

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(len(images), 1, 1, 1, generator=generator) * (high - low) + low

    ink, lift, grain = uniform(darkest, 1), uniform(-ground, ground).clamp(min=0), uniform(0, noise)
    return (lift + images * (ink - lift) + torch.randn(images.shape, generator=generator) * grain).clamp(0, 1)


def textures(count: int, channels: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Pictures of nothing, all channels alike: blank grounds, gradients, blobs, textures and noise, at random contrast.

    Random fields are drawn on grids from 1 x 1 (blank) to full size and enlarged; half of them are cut to two tones.
    """
    fields = []
    for _ in range(count):
        side = int(torch.tensor([1, 2, 3, 4, 7, 14, height])[torch.randint(7, (), generator=generator)])
        field = torch.rand(1, 1, side, side, generator=generator)
        field = F.interpolate(field, size=(height, width), mode="bilinear", align_corners=False)
        if side > 1 and torch.rand((), generator=generator) < 0.5:
            field = (field > field.median()).float()
        dark, light = torch.rand(2, generator=generator).sort().values
        fields.append(dark + field * (light - dark))
    fields = torch.cat(fields) if fields else torch.empty(0, 1, height, width)
    return fields.expand(-1, channels, -1, -1)


CHANGES: Mapping[str, Callable[..., Tensor]] = {
    "stroke": change_stroke,
    "warp": warp,
    "resolution": lower_resolution,
    "contrast": change_contrast,
}
"""What recipes call the changes: each takes images and a generator, and options of its own."""
