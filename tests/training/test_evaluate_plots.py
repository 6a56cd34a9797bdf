"""Pictures of a training: what is on their axes, that they are PNGs, and that the same figures give the same bytes."""

import numpy as np
import pytest
from PIL import Image

from training.measures import Answers

pytest.importorskip("matplotlib", reason="pictures need matplotlib: pip install -r requirements-train.txt")

from matplotlib.text import Annotation

from training import plots

RUSSIAN = tuple("абвгдеёжзийклмнопрстуфхцчшщъыьэюя")
HISTORY = [
    {"epoch": 1, "loss": 2.0, "validation loss": 1.5, "accuracy": 0.5},
    {"epoch": 2, "loss": 1.0, "validation loss": 0.7, "accuracy": 0.9},
    {"epoch": 3, "loss": 0.5, "validation loss": 0.9, "accuracy": 0.8},
]


def answers(labels, count=400, seed=0):
    random = np.random.default_rng(seed)
    true = random.integers(0, len(labels), count)
    said = np.where(random.random(count) < 0.8, true, random.integers(0, len(labels), count))
    confidence = random.beta(5, 1, count)
    return Answers(tuple(labels[one] for one in true), tuple(labels[one] for one in said), confidence)


def shown(axes):
    return [one.get_text() for one in axes]


@pytest.mark.parametrize("labels", [("bicycle", "motorcycle"), tuple("0123456789"), RUSSIAN], ids=len)
def test_the_matrix_has_square_cells_one_order_and_every_count(labels):
    made = answers(labels)
    axes = plots.matrix(made, labels).axes[0]
    assert shown(axes.get_yticklabels()) == shown(axes.get_xticklabels()) == list(labels)
    assert axes.yaxis_inverted()  # the first true label is at the top, so that the diagonal falls
    assert not axes.xaxis_inverted()
    assert axes.get_aspect() == 1
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true", "said by the model")
    pairs = list(zip(made.true, made.said, strict=True))
    (image,) = axes.get_images()
    cells = [one for one in axes.texts if not isinstance(one, Annotation) and "%" not in one.get_text()]
    numbers = {one.get_position(): one.get_text() for one in cells}
    for row, true in enumerate(labels):
        for column, said in enumerate(labels):
            count = pairs.count((true, said))
            assert image.get_array()[row, column] == pytest.approx(count / max(1, made.true.count(true)))
            if count:
                assert numbers[column, row] == f"{count:,}"
            else:
                assert (column, row) not in numbers


def test_of_many_classes_the_most_confused_are_shown():
    labels = tuple(f"class {number:03d}" for number in range(90))
    wrong = Answers(labels * 2, labels + labels[1:31] + labels[:1] + labels[31:], np.full(180, 0.9))
    axes = plots.matrix(wrong, labels).axes[0]
    names = shown(axes.get_yticklabels())
    assert len(names) == plots.MOST_CLASSES
    assert set(labels[:31]) <= set(names)  # the ones with mistakes
    assert "of 90 classes" in axes.get_title(loc="left")


def test_the_curves_show_both_losses_the_metric_and_which_epoch_was_kept():
    above, below = plots.curves(HISTORY).axes
    lines = {line.get_label(): line.get_ydata() for line in (*above.get_lines(), *below.get_lines())}
    assert list(lines["loss"]) == [2.0, 1.0, 0.5]
    assert list(lines["validation loss"]) == [1.5, 0.7, 0.9]
    assert list(lines["accuracy"]) == [0.5, 0.9, 0.8]
    assert [2, 0.7] in [[*line.get_xdata(), *line.get_ydata()] for line in above.get_lines()]
    assert "0.9000 at epoch 2" in below.get_title(loc="left")


def test_an_error_rate_chooses_the_epoch_by_itself():
    history = [{"epoch": k, "loss": 1.0, "validation loss": held, "character error rate": rate}
               for k, held, rate in ((1, 40.0, 1.0), (2, 0.5, 0.3), (3, 0.6, 0.2))]  # fmt: skip
    above, below = plots.curves(history).axes
    assert "0.2000 at epoch 3" in below.get_title(loc="left")
    assert not any("mathdefault" in label.get_text() for label in above.get_yticklabels())


def test_the_reliability_diagram_has_a_point_and_a_bar_a_bin():
    made = Answers(("a",) * 4, ("a", "b", "a", "a"), np.array([0.52, 0.58, 0.95, 0.99]))
    above, below = plots.diagram(made).axes
    (points,) = [container.lines[0] for container in above.containers]
    assert list(points.get_xdata()) == pytest.approx([0.52, 0.58, 0.97])
    assert list(points.get_ydata()) == [1, 0, 1]
    assert [bar.get_height() for bar in below.patches if bar.get_height()] == [1, 1, 2]
    assert shown(below.texts) == ["1", "1", "2"]
    assert "ECE" in above.texts[0].get_text()


def test_the_threshold_is_marked_on_the_curve_of_risk_and_coverage():
    made = Answers(("a",) * 4, ("a", "a", "b", "b"), np.array([0.99, 0.95, 0.95, 0.3]))
    axes = plots.tradeoff(made, 0.94).axes[0]
    curve, *_, mark = axes.get_lines()
    assert list(curve.get_xdata()) == [0.25, 0.75, 1.0]
    assert list(curve.get_ydata()) == pytest.approx([0, 1 / 3, 0.5])
    assert (*mark.get_xdata(), *mark.get_ydata()) == (0.75, pytest.approx(1 / 3))
    assert "threshold 0.94 accepts 75.0%, 33.33% of them wrong" in shown(axes.texts)


def test_misread_characters_are_named_also_the_invisible_ones():
    made = Answers(("ж д", "вг"), ("жд", "ввг"), np.array([0.9, 0.9]))
    axes = plots.characters(made).axes[0]
    assert shown(axes.get_yticklabels()) == ["+  →  в", "space  →  missed"]
    assert [bar.get_width() for bar in axes.patches] == [1, 1]


@pytest.mark.parametrize("kind", ["classification", "text"])
def test_the_files_are_pngs_nothing_is_cut_off_and_equal_figures_give_equal_bytes(tmp_path, kind):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        plots.write_pictures(tmp_path / folder, kind, RUSSIAN[:9], answers(RUSSIAN[:9]), history=HISTORY)
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    own = "characters.png" if kind == "text" else "confusion.png"
    assert names == sorted(["curves.png", own, "reliability.png", "risk-coverage.png"])
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
        with Image.open(tmp_path / "one" / name) as picture:
            assert picture.format == "PNG"
            assert "Software" not in picture.info
            pixels = np.asarray(picture.convert("L"))
        for edge in (pixels[:3], pixels[-3:], pixels[:, :3], pixels[:, -3:]):
            assert (edge == 255).all()


@pytest.mark.parametrize("right", [True, False])
def test_answers_all_right_all_wrong_or_of_one_picture_can_be_drawn(tmp_path, right):
    made = Answers(("a",), ("a" if right else "b",), np.array([0.5]))
    assert len(plots.write_pictures(tmp_path, "classification", ("a", "b"), made)) == 3
    assert len(plots.write_pictures(tmp_path, "text", (), made)) == 3


def test_the_contact_sheet_names_each_mistake_even_with_signs_that_could_be_formulas():
    picture = np.zeros((28, 28, 1), np.uint8)
    figure = plots.contact_sheet([(picture, "$x^2$", "7", 0.875)] * 7, "classification", 40)
    titled = [axes for axes in figure.axes if axes.get_images()]
    assert len(titled) == 7
    assert titled[0].get_title(loc="left") == "$x^2$  →  7"
    assert "87.5% sure" in shown(titled[0].texts)
    assert figure.get_suptitle().startswith("The 7 surest of 40")
    assert plots.contact_sheet([], "text", 0).get_suptitle() == "No mistake"
