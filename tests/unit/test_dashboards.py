"""The dashboards' JSON is what the code says, and Grafana's own types take it without losing anything."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.observability.dashboards.__main__ import FOLDER, files, main
from tests.support.dashboards import queries_of
from tests.support.prometheus import operands

register_default_plugins()
BOARDS = {file.name: json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))}
every_board = pytest.mark.parametrize("board", BOARDS.values(), ids=list(BOARDS))


def test_the_committed_json_is_what_the_code_says() -> None:
    assert main(["--check"]) == 0


def test_a_dashboard_that_differs_is_missing_or_is_too_much_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main([], tmp_path)
    assert main(["--check"], tmp_path) == 0
    changed, missing, *_ = files()
    (tmp_path / changed).write_text("{}")
    (tmp_path / missing).unlink()
    (tmp_path / "old.json").write_text("{}")
    assert main(["--check"], tmp_path) == 1
    assert ", ".join(sorted([changed, missing, "old.json"])) in capsys.readouterr().err
    main([], tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(BOARDS)


@every_board
def test_grafanas_types_know_every_field_of_a_dashboard(board: dict[str, Any]) -> None:
    understood = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    assert understood == board


@every_board
def test_a_panel_has_its_own_number_a_meaning_a_unit_and_a_place_of_its_own(board: dict[str, Any]) -> None:
    panels = board["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    assert all(panel["title"] and panel["description"].endswith(".") for panel in panels)
    assert all(panel["fieldConfig"]["defaults"].get("unit") for panel in panels if panel["type"] != "table")
    cells = [cell for panel in panels for cell in cells_of(panel["gridPos"])]
    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)


def cells_of(place: dict[str, int]) -> Iterator[tuple[int, int]]:
    for x in range(place["x"], place["x"] + place["w"]):
        for y in range(place["y"], place["y"] + place["h"]):
            yield x, y


@every_board
def test_every_query_asks_the_provisioned_prometheus(board: dict[str, Any]) -> None:
    sources = [target["datasource"] for panel in board["panels"] for target in panel["targets"]]
    assert sources
    assert all(source == {"type": "prometheus", "uid": "prometheus"} for source in sources)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool: apt-get install prometheus")
def test_every_query_is_promql(tmp_path: Path) -> None:
    rules = [{"record": "checked", "expr": query.expression} for query in queries_of(FOLDER)]
    assert len(rules) > 40
    file = tmp_path / "queries.yml"
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", "--lint=none", str(file)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_operands_of_a_condition_are_found_in_brackets_and_out_of_them() -> None:
    assert operands('(a > 1 and b{c="d"} < 2) or absent(e == 1) unless on (f) g > 3') == [
        "a > bool 1",
        'b{c="d"} < bool 2',
        "e == bool 1",
        "g > bool 3",
    ]
    assert operands("sum by (x) (rate(y[5m]) or 0 * z) / w >= 0.5") == [
        "sum by (x) (rate(y[5m]) or 0 * z) / w >= bool 0.5"
    ]
