"""The queries of dashboards, as Grafana would send them, and the labels that a panel shows of their results."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.prometheus import Query


def queries_of(folder: Path) -> list[Query]:
    """Returns the PromQL of every panel and every menu of the dashboards in a folder."""
    boards = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    return [query for board in boards for query in [*_of_panels(board), *_of_menus(board)]]


def _of_panels(board: dict[str, Any]) -> Iterator[Query]:
    for panel in board["panels"]:
        columns = [
            name
            for change in panel.get("transformations", [])
            for name in change["options"]["indexByName"]
            if name != "Value"
        ]
        for target in panel["targets"]:
            shown = re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])
            source = f"{board['title']}: {panel['title']}"
            yield Query(_filled(target["expr"]), frozenset([*shown, *columns]), source)


def _of_menus(board: dict[str, Any]) -> Iterator[Query]:
    for menu in board["templating"].get("list", []):
        asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", menu["query"])
        assert asked, menu["query"]
        yield Query(asked[1], frozenset([asked[2]]), f"{board['title']}: menu {menu['name']}")


def _filled(query: str) -> str:
    """Returns the query with an interval for rates, and with everything chosen in the menus."""
    return re.sub(r"\$(group|job)\b", ".+", query.replace("$__rate_interval", "5m"))
