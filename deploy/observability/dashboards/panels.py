"""Charts, figures and tables that ask Prometheus, each with a sentence about what it means."""

from collections.abc import Mapping, Sequence

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models.common import (
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
"""The data source as Grafana's provisioning names it."""
TAG = "fanout"
WIDTH = 24
"""Columns of Grafana's grid."""

Queries = Mapping[str, str]
"""PromQL by the legend of what it returns."""


def board(uid: str, title: str, description: str) -> dashboard.Dashboard:
    """Returns a dashboard without panels, with links to all the others."""
    others = dashboard.DashboardLink("Fanout").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    return (
        dashboard.Dashboard(title)
        .uid(f"fanout-{uid}")
        .description(description)
        .tags([TAG])
        .link(others.as_dropdown(True).keep_time(True))
        .time("now-30m", "now")
        .refresh("10s")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
    )


def choice(name: str, metric: str) -> dashboard.QueryVariable:
    """Returns a menu of the values that the label `name` of a metric has; at first all are chosen."""
    return (
        dashboard.QueryVariable(name)
        .datasource(SOURCE)
        .query(f"label_values({metric}, {name})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def chart(
    title: str, meaning: str, unit: str, queries: Queries, limit: float | None = None, exemplars: bool = False
) -> timeseries.Panel:
    """Returns lines over time, two charts in a row; `limit` is drawn as a dashed line."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(meaning)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .span(WIDTH // 2)
        .height(8)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if limit is not None:
        panel.thresholds(_above(limit))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    for query in _queries(queries):
        panel.with_target(query.range().exemplar(exemplars))
    return panel


def figure(title: str, meaning: str, unit: str, expr: str, limit: float | None = None) -> stat.Panel:
    """Returns a panel with the current value of one query, a quarter of a row wide; it is red from `limit` on."""
    panel = (
        stat.Panel()
        .title(title)
        .description(meaning)
        .datasource(SOURCE)
        .unit(unit)
        .span(WIDTH // 4)
        .height(4)
        .thresholds(_above(limit))
    )
    for query in _queries({title: expr}):
        panel.with_target(query.instant())
    return panel


def listing(title: str, meaning: str, expr: str, columns: Sequence[str], value: str) -> table.Panel:
    """Returns a table of the labels `columns` and the value of what a query returns now."""
    names = {"Value": value}
    shown = {name: index for index, name in enumerate([*columns, "Value"])}
    panel = table.Panel().title(title).description(meaning).datasource(SOURCE).span(WIDTH // 2).height(8)
    for query in _queries({title: expr}):
        panel.with_target(query.instant().format(PromQueryFormat.TABLE))
    return panel.with_transformation(
        DataTransformerConfig(
            id_val="organize",
            options={"excludeByName": {"Time": True}, "indexByName": shown, "renameByName": names},
        )
    )


def quantiles(metric: str, by: Sequence[str], where: str = "") -> Queries:
    """Returns the median and the 99th percentile of a histogram, for each combination of the labels `by`."""
    labels = ", ".join(by)
    legend = " ".join(f"{{{{{label}}}}}" for label in by)
    rate = f"sum by ({labels}, le) (rate({metric}_bucket{where}[$__rate_interval]))"
    return {
        f"{legend} {name}": f"histogram_quantile({share}, {rate})"
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


def _queries(queries: Queries) -> list[prometheus.Dataquery]:
    return [
        prometheus.Dataquery()
        .datasource(SOURCE)
        .ref_id(chr(ord("A") + index))
        .expr(expr)
        .legend_format(legend)
        for index, (legend, expr) in enumerate(queries.items())
    ]


def _above(limit: float | None) -> dashboard.ThresholdsConfig:
    steps = [Threshold(value=None, color="green")]
    if limit is not None:
        steps.append(Threshold(value=limit, color="red"))
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
