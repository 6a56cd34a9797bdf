"""What an environment's file may say, and what it is told where it is wrong."""

import pytest

from stacks.config import ENVIRONMENTS, ConfigError, ModelConfig, load_config

VALID = (ENVIRONMENTS / "dev.toml").read_text()


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
    assert ModelConfig(artifact="models/digits", instance_type=instance_type).architecture == architecture
