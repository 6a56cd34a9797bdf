"""The changes for photographs do what they say, and no more; needs torch."""

import dataclasses

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements-train.txt")

from training import augment, classification  # noqa: E402
from training.data import Dataset, Labelled  # noqa: E402
from training.recipe import Augmentation, RecipeError, load_recipe  # noqa: E402

pytestmark = pytest.mark.train

RECIPE = load_recipe("class-folders")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count=60, height=20, width=16):
    return torch.rand(count, 3, height, width, generator=generator(9))


def test_batches_keep_range_shape_and_sum_of_targets_and_repeat_by_seed():
    images, targets = noise(), torch.eye(4)[torch.arange(60) % 4]

    def batch(seed):
        return augment.augmented(images, targets, RECIPE.augment, generator(seed))

    inputs, mixed = batch(5)
    assert inputs.shape == images.shape
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    assert torch.allclose(mixed.sum(1), torch.ones(60))
    assert torch.equal(inputs, batch(5)[0])
    assert not torch.equal(inputs, batch(6)[0])


def test_a_crop_of_everything_is_the_picture_or_its_mirror_image():
    images = noise()
    whole = augment.crop(images, generator(), area=1, ratio=1, flip=False)
    assert torch.allclose(whole, images, atol=1e-4)
    flipped = augment.crop(images, generator(), area=1, ratio=1)
    same = [torch.allclose(one, image, atol=1e-4) for one, image in zip(flipped, images, strict=True)]
    mirrored = [torch.allclose(one, image.flip(2), atol=1e-4) for one, image in zip(flipped, images, strict=True)]
    assert all(one != other for one, other in zip(same, mirrored, strict=True))
    assert 15 < sum(mirrored) < 45


def test_a_crop_shows_at_least_the_area_that_was_asked_for_and_turns_without_stretching():
    """Of a picture whose pixels hold their own coordinates the corners tell what was cropped."""
    height, width = 41, 61
    y, x = torch.meshgrid(torch.arange(float(height)), torch.arange(float(width)), indexing="ij")
    images = torch.stack([x, y, 0 * x]).expand(300, -1, -1, -1)
    cut = augment.crop(images, generator(), area=0.5, ratio=1.5, flip=False)
    middle, centre = height // 2, width // 2
    wide = (cut[:, 0, middle, -1] - cut[:, 0, middle, 0]) / (width - 1)
    high = (cut[:, 1, -1, centre] - cut[:, 1, 0, centre]) / (height - 1)
    # where both fit, the area is as drawn; a side that would not fit is cut to the picture's
    assert (wide * high).min() > 0.5 / 1.5**0.5 - 0.02
    assert wide.max() <= 1.001
    assert (wide / high).max() < 1.52
    turned = augment.crop(images, generator(), area=0.25, ratio=1, degrees=20, flip=False)
    step = torch.stack([turned[:, axis, middle, centre + 3] - turned[:, axis, middle, centre - 3] for axis in (0, 1)])
    down = torch.stack([turned[:, axis, middle + 3, centre] - turned[:, axis, middle - 3, centre] for axis in (0, 1)])
    inside = (step.abs().sum(0) > 0.5) & (step[0] > 0) & (down[1] > 0)
    assert inside.sum() > 250
    angle = torch.atan2(step[1], step[0])[inside].rad2deg()
    assert 15 < angle.abs().max() < 20.5
    assert (step * down).sum(0)[inside].abs().max() < 0.5  # still a right angle


def test_colours_change_by_no_more_than_asked():
    images = noise() * 0.5 + 0.25
    nothing = {"brightness": 0, "contrast": 0, "saturation": 0, "tint": 0}
    assert torch.allclose(augment.change_colour(images, generator(), **nothing), images, atol=1e-6)
    brighter = augment.change_colour(images, generator(), **{**nothing, "brightness": 0.2}) / images
    assert 1.15 < brighter.max() < 1.2001
    assert 0.7999 < brighter.min() < 0.85
    grey = augment.change_colour(images, generator(), **{**nothing, "saturation": 1})
    spread = grey.std(1).mean((1, 2)) / images.std(1).mean((1, 2))
    assert spread.min() < 0.2  # almost to grey
    assert spread.max() > 1.5  # and to twice as colourful, less what is cut at 0 and 1


def test_erasing_covers_one_rectangle_of_at_most_the_area_with_one_colour():
    images = noise(200, 40, 40)
    covered = (augment.erase(images, generator(), area=0.25) != images).any(1)
    areas = covered.float().mean((1, 2))
    assert 0.2 < areas.max() < 0.26
    for picture, cover in zip(augment.erase(images, generator(), area=0.25), covered, strict=True):
        rows, columns = torch.where(cover.any(1))[0], torch.where(cover.any(0))[0]
        assert cover.sum() == len(rows) * len(columns)
        assert len(picture[:, cover].unique(dim=1).T) <= 1


def test_mixing_mixes_targets_as_it_mixes_pictures():
    """Of pictures that are their class in grey, what is seen is what is asked for."""
    labels = torch.arange(40) % 2
    images = labels[:, None, None, None].float().expand(-1, 3, 4, 4)
    inputs, targets = augment.augmented(
        images, torch.eye(2)[labels], [Augmentation(name="mixup", share=0.5)], generator()
    )
    assert torch.allclose(inputs[:, 0, 0, 0], targets[:, 1])
    assert torch.equal(targets.argmax(1), labels)  # at most half is of the other picture
    assert ((targets[:20] > 0) & (targets[:20] < 1)).any()
    assert torch.equal(targets[20:], torch.eye(2)[labels[20:]])
    with pytest.raises(RecipeError, match=r"augment\.mixup: .*much"):
        augment.augmented(images, targets, [Augmentation(name="mixup", options={"much": 1})], generator())


def test_pictures_are_learned_from_at_the_sizes_of_the_schedule():
    images = np.zeros((4, 20, 16, 3), np.uint8)
    part = Labelled(images, np.array([0, 1, 0, 1]))
    schedule = dataclasses.replace(RECIPE.schedule, epochs=4, sizes=(0.5, 1.0))
    task = classification.task(
        dataclasses.replace(RECIPE, schedule=schedule, augment=()), Dataset(("a", "b"), part, part, part, "made up")
    )
    shapes = [tuple(next(task.batches(epoch, generator()))[0].shape[2:]) for epoch in range(4)]
    assert shapes == [(10, 8), (10, 8), (20, 16), (20, 16)]
