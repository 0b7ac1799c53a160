"""Orders and money: the objective, what is settled and how late, revenue, and what fires."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.observability.dashboards.panels import board, chart, figure, listing

OBJECTIVE = 0.99
BUDGET = f"(1 - {OBJECTIVE})"


def orders() -> Dashboard:
    """Returns the dashboard "Orders and money"."""
    return (
        board("orders", "Orders and money", "99 % of orders are settled within 30 s, over 30 days.")
        .with_panel(
            figure(
                "Settled within 30 s, 30 days",
                "The objective is 99 %: confirmed or cancelled within 30 s.",
                "percentunit",
                "1 - fanout:orders_late:ratio_rate30d",
            )
        )
        .with_panel(
            figure(
                "Error budget left",
                "What is left of the 1 % that may be late in 30 days. Below 0 the objective is missed.",
                "percentunit",
                f"1 - fanout:orders_late:ratio_rate30d / {BUDGET}",
            )
        )
        .with_panel(
            figure(
                "Oldest order that is not settled",
                "Its age. An invoice waits for its customer's payment.",
                "s",
                "fanout_orders_unsettled_oldest_seconds",
            )
        )
        .with_panel(
            figure(
                "Parked messages",
                "Dead letters that wait for a decision: fanout dlq ls.",
                "short",
                'sum(fanout_dead_letters{status="parked"}) or vector(0)',
                limit=1,
            )
        )
        .with_panel(
            chart(
                "Orders settled per minute",
                "All of them, and those within 30 s. The distance between both spends the error budget.",
                "short",
                {
                    "all": '60 * sum(rate(fanout_orders_settled_total{within="all"}[$__rate_interval]))',
                    "within 30 s": '60 * sum(rate(fanout_orders_settled_total{within="30s"}[$__rate_interval]))',
                },
            )
        )
        .with_panel(
            chart(
                "Burn rate of the error budget",
                "At 1 the budget lasts for just 30 days. OrdersSloFastBurn and OrdersSloSlowBurn watch it.",
                "short",
                {
                    window: f"fanout:orders_late:ratio_rate{window} / {BUDGET}"
                    for window in ("5m", "1h", "6h", "3d")
                },
                limit=14.4,
            )
        )
        .with_panel(
            chart(
                "Orders by status",
                "All orders that are kept.",
                "short",
                {"{{status}}": "sum by (status) (fanout_orders)"},
            )
        )
        .with_panel(
            chart(
                "Revenue per minute",
                "Of confirmed orders, in minor units of each currency: cents, but whole yen.",
                "short",
                {
                    "{{currency}}": "60 * sum by (currency) (rate(fanout_revenue_cents_total[$__rate_interval]))"
                },
            )
        )
        .with_panel(
            listing(
                "Alerts",
                "What fires or is about to. Each has a page in docs/runbooks.",
                "sum by (alertname, alertstate, severity) (ALERTS)",
                ("alertname", "alertstate", "severity"),
                "how many",
            )
        )
    )
