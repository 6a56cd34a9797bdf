"""Learning on from a net that a user brings, made here; needs torch."""

import dataclasses
import io
import json

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

torch = pytest.importorskip("torch", reason="training needs torch: pip install -r requirements-train.txt")

from rich.console import Console  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from torch import nn  # noqa: E402

from ics.artifact import InputSpec, load_spec  # noqa: E402
from serving.model import decode, load_model  # noqa: E402
from training import backbone, classification, from_onnx  # noqa: E402
from training.__main__ import main  # noqa: E402
from training.backbone import BackboneError, load_backbone  # noqa: E402
from training.data import Dataset, Labelled  # noqa: E402
from training.evaluate import graph_logits  # noqa: E402
from training.export import to_onnx  # noqa: E402
from training.recipe import BackboneConfig, load_recipe  # noqa: E402

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # torch's exporter, of torch's own
]

RECIPE = load_recipe("class-folders")
RECIPE = dataclasses.replace(
    RECIPE,
    input=InputSpec("image", 16, 16, "rgb"),
    net=dataclasses.replace(RECIPE.net, options={"channels": [4, 8]}),
    backbone=BackboneConfig(side=16, epochs=1, views=1),
)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Varied(nn.Module):
    """A net with the things that image nets are made of, and a classifier of 7 classes."""

    def __init__(self, inputs=3):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(inputs, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU6())
        self.pool = nn.MaxPool2d(3, 2, padding=1)
        self.deep = nn.Sequential(nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8), nn.Hardswish())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 8, 1), nn.Hardsigmoid())
        self.norm = nn.LayerNorm(8)
        self.mean = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
        self.head = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(8, 7), nn.Softmax(1))

    def forward(self, image):
        found = self.pool(self.stem(image))
        found = found + self.deep(found) * self.gate(found)
        found = torch.cat([found[:, :4].sigmoid(), nn.functional.gelu(found[:, 4:])], 1)
        found = self.norm(found.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return self.head(self.mean(nn.functional.pad(found, (0, 1, 0, 1))).mean((2, 3)))


def exported(net, example, *, free=True):
    """The ONNX file of a net after some pictures, for any number of pictures or as many as in the example."""
    torch.manual_seed(0)
    net.train()(torch.rand(16, *example.shape[1:]))
    shapes = ({0: torch.export.Dim("batch")},) if free else None
    program = torch.onnx.export(net.eval(), (example,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    return program.model_proto.SerializeToString()


def colours(count, seed, side=16):
    """Two classes that are a colour each, in noise."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 160, (count, side, side, 3), np.uint8)
    labels = np.arange(count) % 2
    images[labels == 0, :, :, 0] += 70
    images[labels == 1, :, :, 2] += 70
    return Labelled(images, labels.astype(np.int64))


DATA = Dataset(("red", "blue"), colours(60, 0), colours(20, 1), colours(20, 2), "made up")


def model(nodes, taken, *constants, given=("features",), type_=TensorProto.FLOAT):
    """A graph by hand: `image` of shape `taken` to `given`."""
    weights = [numpy_helper.from_array(value, name) for name, value in constants]
    inputs = [helper.make_tensor_value_info("image", type_, taken)]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in given]
    graph = helper.make_graph(nodes, "made", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


KERNEL = np.random.default_rng(0).standard_normal((6, 3, 3, 3)).astype(np.float32)
SEEN = [
    helper.make_node("Conv", ["image", "kernel"], ["map"], auto_pad="SAME_UPPER", strides=[2, 2]),
    helper.make_node("Relu", ["map"], ["seen"]),
    helper.make_node("GlobalAveragePool", ["seen"], ["features"]),
]


def write(tmp_path, content, name="net.onnx"):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


@pytest.mark.parametrize("free", [True, False])
def test_features_are_what_the_classifier_judged_for_any_batch(tmp_path, free):
    net = Varied()
    path = write(tmp_path, exported(net, torch.rand(1 if not free else 2, 3, 16, 16), free=free))
    images = colours(9, 3).images
    body = load_backbone(path, RECIPE).body()
    seen = backbone.features(body, torch.from_numpy(images))
    classifier = net.head
    net.head = nn.Identity()
    mean, std = (torch.tensor(each)[:, None, None] for each in (RECIPE.backbone.mean, RECIPE.backbone.std))
    with torch.inference_mode():
        expected = net((torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std).numpy()
    assert classifier[2].in_features == seen.shape[1]
    np.testing.assert_allclose(seen, expected, atol=1e-4)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("bytes_", [False, True])
def test_pictures_come_as_the_graph_takes_them(tmp_path, last, bytes_):
    """Both layouts, floats and bytes; a graph that ends in features; uneven padding."""
    nodes = list(SEEN)
    start = "image"
    if bytes_:
        nodes.insert(0, helper.make_node("Cast", [start], ["float"], to=TensorProto.FLOAT))
        start = "float"
    if last:
        nodes.insert(bytes_, helper.make_node("Transpose", [start], ["first"], perm=[0, 3, 1, 2]))
        start = "first"
    nodes[-3] = helper.make_node("Conv", [start, "kernel"], ["map"], auto_pad="SAME_UPPER", strides=[2, 2])
    taken = ["N", 16, 16, 3] if last else ["N", 3, "height", "width"]
    type_ = TensorProto.UINT8 if bytes_ else TensorProto.FLOAT
    path = write(tmp_path, model(nodes, taken, ("kernel", KERNEL), type_=type_))
    images = torch.from_numpy(colours(4, 1).images)
    seen = backbone.features(load_backbone(path, RECIPE).body(), images)
    values = images.permute(0, 3, 1, 2).float()
    if not bytes_:
        mean, std = (torch.tensor(each)[:, None, None] for each in (RECIPE.backbone.mean, RECIPE.backbone.std))
        values = (values / 255 - mean) / std
    padded = nn.functional.pad(values, (0, 1, 0, 1))
    expected = nn.functional.conv2d(padded, torch.from_numpy(KERNEL), stride=2).relu().mean((2, 3))
    np.testing.assert_allclose(seen, expected.numpy(), rtol=1e-4, atol=1e-4)


def test_folders_and_a_backbone_become_an_artifact_by_the_command(tmp_path):
    for part, count, seed in (("train", 40, 0), ("test", 20, 5)):
        made = colours(count, seed, side=20)
        for number, (image, label) in enumerate(zip(made.images, made.labels, strict=True)):
            path = tmp_path / "data" / part / ("red", "blue")[label] / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    net = write(tmp_path, exported(Varied(), torch.rand(1, 3, 24, 24), free=False))
    out = tmp_path / "reds"
    command = ["class-folders", "--data", str(tmp_path / "data"), "--name", "reds", "--out", str(out)]
    command += ["--backbone", str(net), "--epochs", "2", "--threads", "1", "--checkpoint", str(tmp_path / "c.pt")]
    assert main(command) == 0
    spec = load_spec(out)
    assert (spec.name, spec.labels) == ("reds", ("blue", "red"))
    assert (spec.input.width, spec.input.height) == (24, 24)  # the graph knows no other size
    assert spec.metrics["accuracy"] >= 0.9
    card = (out / "card.md").read_text("utf-8")
    assert "net.onnx, SHA-256" in card
    assert "`ics train class-folders --name reds --data … --backbone net.onnx --epochs 2 --seed 0`" in card
    history = json.loads((out / "report" / "metrics.json").read_text("utf-8"))["history"]
    assert [epoch["epoch"] for epoch in history] == [0, 1, 2]
    served = load_model(out)
    content = next((tmp_path / "data" / "test" / "red").iterdir()).read_bytes()
    from ics.imaging import prepare

    pixels = decode(prepare(content, spec.input), spec.input)
    assert served.classify(pixels).label in spec.labels
    images = colours(20, 9, side=24).images
    graph = (out / "model.onnx").read_bytes()
    np.testing.assert_allclose(graph_logits(graph, images, 1), graph_logits(graph, images, 20), atol=1e-4)
    assert main([*command, "--backbone", str(tmp_path / "gone.onnx")]) == 2


def learned(tmp_path, recipe, path):
    return backbone.transfer(recipe, DATA, load_backbone(path, recipe), tmp_path / "c.pt", Console(file=io.StringIO()))


def validation_loss(net):
    return classification.task(RECIPE, DATA).validate(net)[0]


def test_what_is_better_on_the_validation_part_is_kept(tmp_path):
    path = write(tmp_path, exported(Varied(), torch.rand(2, 3, 16, 16)))
    alone = dataclasses.replace(RECIPE, backbone=BackboneConfig(side=16, epochs=0))
    frozen = learned(tmp_path, alone, path)
    (before,) = frozen.history
    assert before["validation loss"] == pytest.approx(validation_loss(frozen.net))
    good = dataclasses.replace(RECIPE, backbone=BackboneConfig(side=16, epochs=4, peak_rate=3e-3), augment=())
    tuned = learned(tmp_path, good, path)
    weights = dict(tuned.net.named_parameters())
    assert any(not torch.equal(value, weights[name]) for name, value in frozen.net.body.named_parameters("body"))
    assert validation_loss(tuned.net) < tuned.history[0]["validation loss"]
    bad = dataclasses.replace(RECIPE, backbone=BackboneConfig(side=16, epochs=2, peak_rate=30.0))
    kept = learned(tmp_path, bad, path)
    assert len(kept.history) == 3
    assert validation_loss(kept.net) == pytest.approx(kept.history[0]["validation loss"])
    burst = dataclasses.replace(RECIPE, backbone=BackboneConfig(side=16, epochs=1, peak_rate=1e30))
    assert validation_loss(learned(tmp_path, burst, path).net) == pytest.approx(before["validation loss"])


def test_own_nets_are_learned_on_from_their_weights(tmp_path):
    """Those of 5 classes serve for 2: all but the last layer is loaded, exactly."""
    source = classification.untrained(RECIPE, classes=5)
    source.train()(torch.rand(8, 3, 16, 16))
    save_file(source.state_dict(), tmp_path / "own.safetensors")
    body = load_backbone(tmp_path / "own.safetensors", RECIPE).body().eval()
    images = colours(5, 0).images
    with torch.inference_mode():
        values = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        expected = source.eval().features(values * 2 - 1).mean((2, 3)).numpy()
    np.testing.assert_allclose(backbone.features(body, torch.from_numpy(images)), expected, atol=1e-5)
    graph = to_onnx(learned(tmp_path, RECIPE, tmp_path / "own.safetensors").net, RECIPE.input)
    assert graph_logits(graph, images).shape == (5, 2)
    assert graph_logits(graph, images, 1).tobytes() == graph_logits(graph, images, 5).tobytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features.0.0.weight": torch.zeros(9, 3, 3, 3)}, r"features\.0\.0\.weight.*\[9, 3, 3, 3\].*\[4, 3, 3, 3\]"),
        ({"features.0.0.weight": None}, r"features\.0\.0\.weight has nothing.*\[4, 3, 3, 3\]"),
        ({"extra": torch.zeros(2)}, r"extra has shape \[2\].*wants nothing"),
    ],
)
def test_weights_of_another_net_are_refused_by_tensor_and_shapes(tmp_path, change, message):
    tensors = {**classification.untrained(RECIPE, classes=2).state_dict(), **change}
    save_file({name: value for name, value in tensors.items() if value is not None}, tmp_path / "x.safetensors")
    with pytest.raises(BackboneError, match=message):
        load_backbone(tmp_path / "x.safetensors", RECIPE)


POOL, CONV = SEEN[2], SEEN[0]
RELU = helper.make_node("Relu", ["image"], ["features"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "takes 0 inputs|no ONNX file"),
        (b"\x08\x07 no graph", "no ONNX file"),
        (model([RELU], ["N", 10]), r"takes \['N', 10\]; pictures are"),
        (model([RELU], ["N", 4, 8, 8]), r"takes \['N', 4, 8, 8\]; pictures are"),
        (model([RELU], ["N", 3, 16, 16], type_=TensorProto.FLOAT16), "FLOAT16"),
        (model([RELU], ["N", 1, 16, 16]), "takes grey pictures.*reads colours"),
        (model([helper.make_node("GlobalAveragePool", ["image"], ["features"])], ["N", 3, 16, 16]), "no convolution"),
        (
            model(
                [*SEEN[:2], helper.make_node("LRN", ["seen"], ["features"], size=3)],
                ["N", 3, 16, 16],
                ("kernel", KERNEL),
            ),
            "operators that cannot be learned through here: LRN",
        ),
        (model(SEEN, ["N", 3, 16, 16], ("kernel", KERNEL * np.float32(np.nan))), "not finite"),
        (model(SEEN, ["N", 3, 16, 16], ("kernel", KERNEL[:, :1])), "does not work with pictures of shape"),
        (
            model(
                [*SEEN[:2], helper.make_node("Reshape", ["seen", "shape"], ["features"])],
                ["N", 3, 16, 16],
                ("kernel", KERNEL),
                ("shape", np.array([1, 6, 64])),
            ),
            r"features of shape \[\d, 6, 64\]",
        ),
    ],
)
def test_graphs_that_cannot_be_learned_from_are_refused_by_what_is_wrong(tmp_path, content, message):
    with pytest.raises(BackboneError, match=message):
        load_backbone(write(tmp_path, content), RECIPE)


def test_a_graph_that_torch_would_answer_otherwise_is_refused(monkeypatch):
    """The proof is by running both: here an operator is broken on purpose."""
    folded = from_onnx.fold(model(SEEN, ["N", 3, 16, 16], ("kernel", KERNEL)), (1, 3, 16, 16))
    assert from_onnx.to_torch(folded, "features") is not None
    monkeypatch.setitem(from_onnx.OPERATORS, "Relu", lambda inputs, _: inputs[0])
    with pytest.raises(from_onnx.UnsupportedGraph, match="does not answer in torch what it answers in onnxruntime"):
        from_onnx.to_torch(folded, "features")


def test_other_files_and_text_models_are_refused(tmp_path):
    with pytest.raises(BackboneError, match="makes a text model"):
        load_backbone(write(tmp_path, b""), load_recipe("cyrillic-text"))
    for name in ("net.pt", "net"):
        with pytest.raises(BackboneError, match=r"an \.onnx or a \.safetensors file"):
            load_backbone(write(tmp_path, b"x", name), RECIPE)
    with pytest.raises(BackboneError, match="damaged"):
        load_backbone(write(tmp_path, b"\x10" * 40, "net.safetensors"), RECIPE)
    with pytest.raises(BackboneError, match="no such file"):
        load_backbone(tmp_path / "gone.onnx", RECIPE)


def test_a_picture_whose_features_are_no_numbers_stops_the_training(tmp_path):
    """Dividing by what is zero for a black picture only: the proof on noise does not see it."""
    nodes = [
        *SEEN[:2],
        helper.make_node("ReduceMean", ["seen"], ["level"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Div", ["seen", "level"], ["even"]),
        helper.make_node("GlobalAveragePool", ["even"], ["features"]),
    ]
    recipe = dataclasses.replace(RECIPE, backbone=BackboneConfig(side=16, mean=(0.0,), std=(1.0,)))
    path = write(tmp_path, model(nodes, ["N", 3, 16, 16], ("kernel", KERNEL)))
    dark = dataclasses.replace(DATA, train=Labelled(DATA.train.images.copy(), DATA.train.labels))
    dark.train.images[3] = 0
    with pytest.raises(BackboneError, match="no finite number in 1 of"):
        backbone.transfer(recipe, dark, load_backbone(path, recipe), tmp_path / "c.pt", Console(file=io.StringIO()))
