"""The layout of an ONNX detector that stands in for Rekognition: FastestDet's, on the 80 classes of COCO.

Input [1, 3, 352, 352], blue, green, red, from 0 to 1; output [1, 85, 22, 22]: for each cell of a grid, whether there is
an object, its box (tanh of the offset of its middle from the cell's corner, in cells; sigmoid of its size, relative to
the picture), and the 80 classes' scores. Source: github.com/dog-qiuqiu/FastestDet, example/onnx-runtime/runtime.py.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

SIDE = 352

# COCO's 80 classes in their order (cocodataset.org), written as Rekognition writes labels.
LABELS = tuple(
    """
    Person|Bicycle|Car|Motorcycle|Airplane|Bus|Train|Truck|Boat|Traffic Light|Fire Hydrant|Stop Sign|Parking Meter|Bench
    Bird|Cat|Dog|Horse|Sheep|Cow|Elephant|Bear|Zebra|Giraffe|Backpack|Umbrella|Handbag|Tie|Suitcase|Frisbee|Skis
    Snowboard|Sports Ball|Kite|Baseball Bat|Baseball Glove|Skateboard|Surfboard|Tennis Racket|Bottle|Wine Glass|Cup|Fork
    Knife|Spoon|Bowl|Banana|Apple|Sandwich|Orange|Broccoli|Carrot|Hot Dog|Pizza|Donut|Cake|Chair|Couch|Potted Plant|Bed
    Dining Table|Toilet|TV|Laptop|Mouse|Remote|Keyboard|Cell Phone|Microwave|Oven|Toaster|Sink|Refrigerator|Book|Clock
    Vase|Scissors|Teddy Bear|Hair Drier|Toothbrush
    """.strip()
    .replace("\n    ", "|")
    .split("|")
)


def decoded(grid: npt.NDArray[np.float32], least: float) -> Iterator[tuple[str, float, float, float, float, float]]:
    """What one picture's grid [85, rows, columns] says: label, confidence, left, top, width, height, in no order.

    A confidence is object score ** 0.6 times class score ** 0.4, as the source weighs them; lower ones than `least` are
    left out.
    """
    _, rows, columns = grid.shape
    score: Any = np.clip(grid[0], 0, 1) ** 0.6 * np.clip(grid[5:].max(axis=0), 0, 1) ** 0.4
    for row, column in np.argwhere(score >= least):
        cell = grid[:, row, column]
        width, height = 1 / (1 + np.exp(-cell[3])), 1 / (1 + np.exp(-cell[4]))
        middle = (column + np.tanh(cell[1])) / columns, (row + np.tanh(cell[2])) / rows
        left, top = middle[0] - width / 2, middle[1] - height / 2
        label, sure = LABELS[int(cell[5:].argmax())], float(score[row, column])
        yield label, sure, float(left), float(top), float(width), float(height)
