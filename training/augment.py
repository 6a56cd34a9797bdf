"""Augmentation: random changes to a batch of images, reproducible from one generator.

Batches are float32 [N, channels, height, width] in 0..1. Those for writing expect ink light on black: what they move in
from outside is black.
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

    A change with a `share` is done to that part of the batch, its first rows. Two change targets, too: `nothing` adds a
    share of pictures of nothing, whose target is every class alike, and `mixup` mixes pictures.

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
            elif change.name == "mixup":
                mixed = mixup(images[:part], targets[:part], generator, **change.options)
                images, targets = (
                    torch.cat([new, old[part:]]) for new, old in zip(mixed, (images, targets), strict=True)
                )
            elif change.name in CHANGES:
                changed = CHANGES[change.name](images[:part], generator, **change.options) if part else images[:0]
                images = torch.cat([changed, images[part:]])
            else:
                known = ", ".join(sorted([*CHANGES, "mixup", "nothing"]))
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


def thin(images: Tensor, generator: torch.Generator, *, most: float) -> Tensor:
    """Wear strokes away from their edges, 1 to their middle lines, by up to `most`; half of the images keep theirs.

    Unlike erosion it keeps strokes of any width, and unbroken: what is worn away is what is darker, in a blurred image,
    than its brightest neighbour; that is the more so the farther it is from the stroke's middle.
    """
    amount = (torch.rand(len(images), 1, 1, 1, generator=generator) * 2 - 1).clamp(min=0) * most
    blurred = F.avg_pool2d(F.avg_pool2d(images, 3, stride=1, padding=1), 3, stride=1, padding=1)
    ridge = blurred / F.max_pool2d(blurred, 3, stride=1, padding=1).clamp(min=1e-6)
    # from 0 all of the stroke, to 1 its very ridge
    return images * ((ridge - amount) / (1 - amount).clamp(min=0.05)).clamp(0, 1).where(amount > 0, 1.0)


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


def crop(
    images: Tensor,
    generator: torch.Generator,
    *,
    area: float,
    ratio: float,
    degrees: float = 0.0,
    flip: bool = True,
) -> Tensor:
    """Enlarge a random part of each photograph, of at least `area` of it, to its whole size; half are mirrored, too.

    The part's sides are as the picture's, times up to `ratio` or its inverse, and turned by up to `degrees`; what lies
    outside is the picture, mirrored (Szegedy et al. 2014, random resized crops).
    """
    count = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    size = uniform(area, 1).sqrt()
    stretch = torch.exp(uniform(-math.log(ratio), math.log(ratio)) / 2)
    wide, high = (size * stretch).clamp(max=1), (size / stretch).clamp(max=1)
    side = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0) if flip else torch.ones(count)
    angle, form = uniform(-math.radians(degrees), math.radians(degrees)), images.shape[3] / images.shape[2]
    left, top = uniform(-1, 1) * (1 - wide), uniform(-1, 1) * (1 - high)
    rows = [
        torch.stack([wide * angle.cos() * side, -high * angle.sin() / form, left], 1),
        torch.stack([wide * angle.sin() * form * side, high * angle.cos(), top], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def change_colour(
    images: Tensor, generator: torch.Generator, *, brightness: float, contrast: float, saturation: float, tint: float
) -> Tensor:
    """Multiply each photograph's brightness, contrast, saturation and, by `tint`, channels, each by 1 +- as much."""

    def factor(most: float, channels: int = 1) -> Tensor:
        return 1 + (torch.rand(len(images), channels, 1, 1, generator=generator) * 2 - 1) * most

    images = images * factor(brightness) * factor(tint, images.shape[1])
    grey = images.mean((1, 2, 3), keepdim=True)
    images = grey + (images - grey) * factor(contrast)
    grey = images.mean(1, keepdim=True)
    return (grey + (images - grey) * factor(saturation)).clamp(0, 1)


def erase(images: Tensor, generator: torch.Generator, *, area: float) -> Tensor:
    """Cover a rectangle of up to `area` of each picture with one random colour (Zhong et al. 2017, random erasing)."""
    count, channels, height, width = images.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=generator)

    side, form = (uniform(1) * area).sqrt(), torch.exp((uniform(1) * 2 - 1) * math.log(2) / 2)
    covered = torch.ones(count, 1, 1, dtype=torch.bool)
    for axis, (length, extent) in enumerate(((height, side * form), (width, side / form))):
        within = ((torch.arange(length) + 0.5) / length - uniform(1)).abs() < extent / 2
        covered = covered & within.unsqueeze(2 - axis)
    return torch.where(covered.unsqueeze(1), uniform(channels, 1, 1), images)


def mixup(images: Tensor, targets: Tensor, generator: torch.Generator, *, most: float = 0.5) -> tuple[Tensor, Tensor]:
    """Lay over each picture another one of the batch, at up to `most`, and its target as much (Zhang et al. 2017)."""
    other = torch.randperm(len(images), generator=generator)
    weight = torch.rand(len(images), 1, generator=generator) * most
    return (
        torch.lerp(images, images[other], weight[:, :, None, None]),
        torch.lerp(targets, targets[other], weight),
    )


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
    "thin": thin,
    "warp": warp,
    "resolution": lower_resolution,
    "contrast": change_contrast,
    "crop": crop,
    "colour": change_colour,
    "erase": erase,
}
"""What recipes call the changes: each takes images and a generator, and options of its own."""
