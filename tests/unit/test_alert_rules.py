"""deploy/observability/rules.yml: each alert fires and clears in promtool, has a runbook, and says how urgent it is."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/observability/rules.yml"
TESTS = sorted((ROOT / "tests/rules").glob("*.yml"))
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus"
)


@needs_promtool
@pytest.mark.parametrize("file", TESTS, ids=lambda file: str(file.stem))
def test_promtool_sees_the_alerts_of_a_file_fire_and_clear(file: Path) -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_is_expected_to_fire_and_afterwards_to_clear(alert: str) -> None:
    timelines = [
        [bool(at["exp_alerts"]) for at in test.get("alert_rule_test", []) if at["alertname"] == alert]
        for file in TESTS
        for test in yaml.safe_load(file.read_text())["tests"]
    ]
    assert any(True in fires and not fires[-1] for fires in timelines)
    assert any(False in fires[: fires.index(True)] for fires in timelines if True in fires)


@pytest.mark.parametrize("rule", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_says_how_urgent_it_is_and_what_it_means(rule: dict[str, Any]) -> None:
    assert rule["labels"] in ({"severity": "page"}, {"severity": "warn"})
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")


@pytest.mark.parametrize("rule", ALERTS.values(), ids=list(ALERTS))
def test_an_alert_has_a_runbook_that_names_it(rule: dict[str, Any]) -> None:
    page = ROOT / rule["annotations"]["runbook_url"]
    assert page.parent == ROOT / "docs/runbooks"
    assert f"`{rule['alert']}`" in page.read_text()
    assert f"]({page.name})" in (page.parent / "README.md").read_text()


def test_every_runbook_belongs_to_an_alert() -> None:
    named = {Path(rule["annotations"]["runbook_url"]).name for rule in ALERTS.values()}
    assert {page.name for page in (ROOT / "docs/runbooks").glob("*.md")} == {*named, "README.md"}
