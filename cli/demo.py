"""The demonstration: real handwritten digits and three files that are none, through the whole pipeline, explained."""

import io
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from cli import show

DIGITS = 30
"""How many of scikit-learn's 1,797 handwritten digits the demonstration takes: three of each."""

EXPECTED = 1
"""The exit status of a run that ended as failed, which here is right."""


def write_pictures(folder: Path) -> None:
    """Write the demonstration's pictures: digits as PNG, a truncated JPEG, a text named .png, a photo of no digit.

    The digits are scikit-learn's (8 x 8, 17 grey levels), enlarged and laid on white paper, as a scanner sees them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    digits = load_digits()
    for index in range(DIGITS):
        ink = Image.fromarray((digits.images[index] * 255 / 16).astype("uint8"))
        page = Image.new("L", (224, 224), 255)
        page.paste(ink.resize((160, 160), Image.Resampling.BICUBIC).point(lambda value: 255 - value), (32, 32))
        page.save(folder / f"digit-{index:02d}-is-{digits.target[index]}.png")
    photo = io.BytesIO()
    Image.fromarray(load_sample_images().images[1]).save(photo, "JPEG", quality=85)
    (folder / "photo-of-no-digit.jpg").write_bytes(photo.getvalue())
    (folder / "truncated.jpg").write_bytes(photo.getvalue()[: len(photo.getvalue()) // 3])
    (folder / "shopping-list.png").write_text("milk\nbread\napples\n", "utf-8")


def run_demo(folder: Path, classify: Callable[[Path], int]) -> int:
    """Write the pictures, classify them, explain the outcome. Returns 0 where the run ended as it should.

    Args:
        folder: where the pictures go.
        classify: classifies a folder, shows what came of it, and returns the command's exit status.
    """
    write_pictures(folder)
    if folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    show.out.print(f"\n[bold]{DIGITS} handwritten digits and three files that are none[/], in {folder}", soft_wrap=True)
    show.out.print("Step Functions will plan, serialize, classify and judge them, and tell people.")
    status = classify(folder)
    if status != EXPECTED:
        show.problem(f"This run should have ended with exit status {EXPECTED}, but ended with {status}.")
        return 1
    show.out.print(
        "\n[bold]Why FAILED?[/] That is the feature. In strict mode a run fails as long as one image needs a person,\n"
        "after all others are done and the alert above is sent: so nobody overlooks the files that are no digits."
    )
    show.out.print("\n[bold]Try next[/]")
    for command, what in (
        (f"classify {folder} --mode tolerant", "the same, but these images do not fail the run"),
        ("classify YOUR-PICTURES/ --threshold 0.99", "your own digits, more strictly"),
        ("alerts", "what was sent to people"),
        ("status", "what is deployed, and the latest runs"),
        ("down", "stop everything"),
    ):
        show.out.print(f"  [cyan]{show.COMMAND} {command}[/]\n      {what}", soft_wrap=True)
    return 0
