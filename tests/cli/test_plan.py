"""`ics plan`: from the synthesized templates, a prediction for people and for programs; wrong input is refused."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import main
from cli.plan_command import PRICES
from cli.synthesized import synthesized

Ics = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder in which the templates are kept from one test to the next."""
    return tmp_path_factory.mktemp("plan")


@pytest.fixture
def ics(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kept: Path, tmp_path: Path) -> Ics:
    """Run `ics plan ...` in this process, in `tmp_path`: exit status, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["ics", "plan", *arguments])
        monkeypatch.setenv("ICS_STATE", str(kept))
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        try:
            main.main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_million_images_have_the_figures_that_are_promised(ics: Ics) -> None:
    for environment in ("prod", "dev"):
        for options, dollars in (("--batch=100", 1.10), ("--batch=1000", 0.90), ("--shards", 0.45)):
            code, out, err = ics("--images=1000000", options, "--env", environment, "--json")
            assert code == 0, err
            found = json.loads(out)
            assert 0.25 < found["cost_usd"] <= dollars, (environment, options)
            assert found["cost_usd"] == pytest.approx(sum(found["cost_usd_by_service"].values()))
            # Two of a hundred images wait for reviewers, two items each; and the mail.
            assert found["table"]["writes"] == 40_000 + 3
            assert found["cost_usd_by_service"]["dynamodb"] == pytest.approx(0.025, rel=0.001)
            assert found["history_events"] < 200
            assert found["largest_state_bytes"] < 262_144 / 4
            assert found["seconds"] > 0
            assert found["endpoint_hours"] > 0
            assert found["warnings"] == []
            assert found["batches"] == (10_000 if options == "--batch=100" else 1_000)


def test_however_many_images_need_a_person_the_table_is_a_line_of_its_own_and_bounded(ics: Ics) -> None:
    for options, most, dollars in (
        ("--batch=100", 1.10, 0.625),
        ("--batch=1000", 0.90, 0.0625),
        ("--shards", 0.45, 0.0625),
    ):
        _, out, _ = ics("--images=1000000", options, "--env=prod", "--json", "--doubted-percent=100")
        cost = json.loads(out)["cost_usd_by_service"]
        assert cost["dynamodb"] == pytest.approx(dollars, rel=0.001)
        assert cost["step_functions"] + cost["lambda"] + cost["s3"] <= most
    assert "DynamoDB" in ics("--images=1000", "--env=prod")[1]


def test_the_ledger_is_counted_where_it_is_asked(ics: Ics) -> None:
    usual, asked = (
        json.loads(ics("--images=1000000", "--env=prod", "--json", *more)[1])["cost_usd_by_service"]["dynamodb"]
        for more in ((), ("--skip-classified",))
    )
    assert asked - usual == pytest.approx(1.375)


def test_a_number_of_images_is_planned_for_production_unless_told_otherwise(
    ics: Ics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ICS_ENV", raising=False)
    assert json.loads(ics("--images=10", "--json")[1])["environment"] == "prod"
    monkeypatch.setenv("ICS_ENV", "dev")
    assert json.loads(ics("--images=10", "--json")[1])["environment"] == "dev"


def test_people_see_the_total_first_at_80_columns_and_the_usual_design_beside_it(ics: Ics) -> None:
    code, out, err = ics("--images", "1000000", "--compare", "--env", "prod")
    assert code == 0, err
    lines = out.splitlines()
    assert lines[0].startswith("$")
    assert "for 1,000,000 images with digits" in lines[0]
    assert max(map(len, lines)) <= 80
    (usual,) = (line for line in lines if line.startswith("usual design"))
    assert 75 < float(usual.split("$")[1].split(",")[0]) < 80


def test_a_folder_is_counted_and_cut_as_a_run_of_it_would_be(ics: Ics, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(7):
        (folder / f"{number}.png").write_bytes(b"x" * 100)
    (folder / "notes.txt").write_text("no picture")
    found = json.loads(ics(str(folder), "--batch", "3", "--json")[1])
    assert (found["images"], found["batches"]) == (7, 3)
    assert found["s3"]["list"] == 1


def test_a_users_own_prices_count(ics: Ics, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text(PRICES.read_text("utf-8").replace("s3_get_per_million = 0.40", "s3_get_per_million = 4.0"))
    arguments = ("--images", "1000000", "--json")
    usual, own = (json.loads(ics(*arguments, *more)[1]) for more in ((), ("--prices", str(mine))))
    dearer = own["cost_usd_by_service"]["s3"] - usual["cost_usd_by_service"]["s3"]
    assert dearer == pytest.approx(3.6e-6 * usual["s3"]["get"])
    assert tomllib.loads(mine.read_text())["region"] == own["prices"]["region"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--images=100000000",), "RunTooLarge: more than 40,000 batches"),
        (("--images=10", "--model=cats"), "InvalidRequest: no model 'cats' in this environment; it has: "),
        (
            ("--images=10", "--env=local", "--model=objects", "--skip-classified"),
            "InvalidRequest: skip_classified with",
        ),
        (("--images=10", "--doubted-percent=101"), "less than or equal to 100"),
        (("--images=10", "--prices=nowhere.toml"), "InvalidPrices: nowhere.toml: "),
        (("--images=10", "--env=moon"), "no environment 'moon'"),
        (("nowhere/",), "SourceNotFound: nowhere/ does not exist"),
        ((".",), "EmptySource: . holds no image"),
        (("s3:///key",), "InvalidRequest: 's3:///key' is not of the form s3://bucket/key"),
        (("--images=10", "."), "give exactly one of SOURCE or --images"),
        ((), "give exactly one of SOURCE or --images"),
        ((".", "--shards"), "--shards goes with --images"),
        (("--images=0",), "should be greater than or equal to 1"),
    ],
)
def test_wrong_input_is_refused_in_plain_words(ics: Ics, arguments: tuple[str, ...], told: str) -> None:
    code, out, err = ics(*arguments)
    assert (code, out) == (2, "")
    assert told in " ".join(err.replace("│", " ").split())


def test_the_templates_are_made_once_and_the_design_is_read_from_them(ics: Ics, kept: Path) -> None:
    assert ics("--images=10", "--env=prod")[0] == 0
    kept_at = (kept / "plan" / "prod" / "inputs.sha256").stat().st_mtime_ns
    made = synthesized("prod", kept)
    assert (kept / "plan" / "prod" / "inputs.sha256").stat().st_mtime_ns == kept_at
    design = made.design("digits")
    assert {one.architecture for one in design.functions.values()} == {"arm64"}
    assert design.endpoint.instances == 2
    assert made.input_of("digits").width == 28
