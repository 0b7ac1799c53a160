"""The queries of dashboards, as Grafana would send them."""

import json
import re
from pathlib import Path


def queries_of(folder: Path) -> list[str]:
    """Returns the PromQL of every panel, and of every menu."""
    boards = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    panels = [target["expr"] for board in boards for panel in board["panels"] for target in panel["targets"]]
    menus = [menu["query"] for board in boards for menu in board["templating"].get("list", [])]
    return [
        *panels,
        *(re.sub(r"label_values\((\w+), (\w+)\)", r"group by (\2) (\1)", menu) for menu in menus),
    ]


def filled(query: str, interval: str = "1m") -> str:
    """Returns the query with Grafana's interval, and with everything chosen in its menus."""
    return re.sub(r"\$(group|job)\b", ".+", query.replace("$__rate_interval", interval))
