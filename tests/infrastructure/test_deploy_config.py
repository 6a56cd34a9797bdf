"""What an environment's file may say, and what it is told where it is wrong."""

import pytest

from stacks.config import ENVIRONMENTS, ConfigError, EndpointModel, load_config

VALID = (ENVIRONMENTS / "dev.toml").read_text()
LAMBDA = '[models.inside]\nbackend = "lambda"\nartifact = "models/digits"'
REKOGNITION = '[models.objects]\nbackend = "rekognition"'


@pytest.fixture
def load(tmp_path):
    """A function: the configuration of dev.toml with one line replaced, or with lines added in front."""

    def loaded(old="", new=""):
        assert old in VALID
        (tmp_path / "dev.toml").write_text(VALID.replace(old, new, 1) if old else f"{new}\n{VALID}")
        return load_config("dev", tmp_path)

    return loaded


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "treshold = 0.9", r"dev\.toml: treshold: unknown key; valid keys: .*\bthreshold\b"),
        ("[models.digits]", "[models.digits]\nbatch = 3", r"models\.digits\.batch: unknown key; .*\bbatch_images\b"),
        ('removal = "destroy"', "", "removal: missing"),
        ('removal = "destroy"', 'removal = "keep"', "removal: must be retain or destroy"),
        ("threshold = 0.94", 'threshold = "0.94"', "threshold: must be float, not '0.94'"),
        ("threshold = 0.94", "threshold = 94", "threshold: must be above 0, at most 1"),
        ("threshold = 0.94", "threshold = nan", "threshold: must be above 0, at most 1"),
        ("max_concurrency = 6 ", "max_concurrency = true ", "max_concurrency: must be int, not True"),
        ("alert_https = []", 'alert_https = "https://x"', "alert_https: must be"),
        ("alert_https = []", 'alert_https = ["http://x"]', "alert_https: must be https:// URLs"),
        ("alert_https = []", "alert_https = [3]", "alert_https: must be str, not 3"),
        ("log_days = 14", "log_days = 15", "log_days: must be one of 1, 3, 5"),
        ('default_model = "digits"', 'default_model = "letters"', "default_model: must be one of digits"),
        ('"ml.c6g.large"', '"c6g.large"', r"models\.digits\.instance_type: must be like ml\.c6g\.large"),
        (
            "[models.digits]",
            '[models.digits]\nbackend = "gpu"',
            r"digits\.backend: must be one of endpoint, lambda, rek",
        ),
        (
            "[models.digits]",
            '[models.digits]\nbackend = ["lambda"]',
            r"digits\.backend: must be one of endpoint, lambda",
        ),
        (
            "[models.digits]",
            '[models.digits]\nbackend = "lambda"',
            r"models\.digits\.instance_type: is a key of backend endpoint, not of lambda",
        ),
        ("[models.digits]", "[models.digits]\nmemory = 512", r"digits\.memory: is a key of backend lambda, not of end"),
        ("[models.digits]", "[models.digits]\nmax_labels = 5", r"max_labels: is a key of backend rekognition, not of"),
        ("[lambda]", f"{LAMBDA}\nmemory = 64\n[lambda]", r"models\.inside\.memory: must be from 256 to 10240"),
        ("[lambda]", f"{REKOGNITION}\nmin_confidence = 55\n[lambda]", r"objects\.min_confidence: must be from 0 to 1"),
        ("[lambda]", f"{REKOGNITION}\nmax_labels = 0\n[lambda]", r"models\.objects\.max_labels: must be from 1 to 100"),
        ("[lambda]", f'{REKOGNITION}\nartifact = "x"\n[lambda]', r"artifact: is a key of backend endpoint and lambda"),
        (
            "[lambda]",
            f'{REKOGNITION}\ncustom_labels_version_arn = "x"\n[lambda]',
            r"must be the ARN of a project's ver",
        ),
        ('architecture = "arm64"', 'architecture = "host"', r"lambda\.python: must be host exactly where"),
        ('python = "3.14"', 'python = "python3.14"', r"lambda\.python: must be like"),
        ("[models.digits]", f"[models.{'d' * 60}]", "default_model"),
        ("", "[[", r"dev\.toml: "),
    ],
)
def test_a_wrong_file_is_told_what_would_be_right(load, old, new, told):
    with pytest.raises(ConfigError, match=told):
        load(old, new)


def test_an_endpoint_name_beyond_sagemakers_limit_is_refused(tmp_path):
    name = "d" * 56  # with ics-dev- one more than 63
    (tmp_path / "dev.toml").write_text(
        VALID.replace('"digits"', f'"{name}"').replace("[models.digits]", f"[models.{name}]")
    )
    with pytest.raises(ConfigError, match="at most 63"):
        load_config("dev", tmp_path)
    fits = VALID.replace('"digits"', f'"{name[1:]}"').replace("[models.digits]", f"[models.{name[1:]}]")
    (tmp_path / "dev.toml").write_text(fits)
    assert len(load_config("dev", tmp_path).endpoint_name(name[1:])) == 63


def test_an_unknown_environment_is_told_the_known_ones():
    with pytest.raises(ConfigError, match="'qa'; environments: dev, local, prod, staging"):
        load_config("qa")


def test_whole_numbers_are_thresholds_too_and_absent_keys_have_defaults(load):
    assert load("threshold = 0.94", "threshold = 1").threshold == 1.0
    assert load("threshold = 0.94", "").threshold == 0.94
    assert load().account is None
    assert load("", 'account = "123456789012"').account == "123456789012"


@pytest.mark.parametrize(
    ("instance_type", "architecture"),
    [
        ("ml.c6g.large", "arm64"),
        ("ml.m7gd.xlarge", "arm64"),
        ("ml.c7i.large", "x86_64"),
        ("ml.g5.xlarge", "x86_64"),
        ("ml.g4dn.xlarge", "x86_64"),
        ("ml.inf2.xlarge", "x86_64"),
        ("ml.t2.medium", "x86_64"),
    ],
)
def test_graviton_instances_get_arm_images(instance_type, architecture):
    assert EndpointModel(artifact="models/digits", instance_type=instance_type).architecture == architecture


def test_a_model_inside_a_function_or_of_rekognition_needs_no_instance(load):
    config = load("[lambda]", f"{LAMBDA}\n{REKOGNITION}\nmax_labels = 5\n[lambda]")
    assert {name: model.backend for name, model in config.models.items()} == {
        "digits": "endpoint", "inside": "lambda", "objects": "rekognition",
    }  # fmt: skip
    assert list(config.endpoints) == ["digits"]
    assert list(config.artifacts) == ["inside", "digits"]
    assert config.classifier_name("inside") == "ics-dev-classify-in-lambda-inside"
    assert config.classifier_name("objects") == "ics-dev-classify-with-rekognition"


def test_a_function_name_beyond_lambdas_limit_is_refused(load):
    longest = "d" * (64 - len("ics-dev-classify-in-lambda-"))
    load("[lambda]", LAMBDA.replace("inside", longest) + "\n[lambda]")
    with pytest.raises(ConfigError, match="at most 64 characters"):
        load("[lambda]", LAMBDA.replace("inside", longest + "d") + "\n[lambda]")
