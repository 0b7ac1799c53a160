"""Outbox and relay: what waits to be sent, for how long, and what cannot be sent."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.observability.dashboards.panels import board, chart, quantiles


def outbox() -> Dashboard:
    """Returns the dashboard "Outbox and relay"."""
    return (
        board("outbox", "Outbox and relay", "Events between a service's transaction and Kafka.")
        .with_panel(
            chart(
                "Oldest event that Kafka does not have",
                "Its age. Above 30 s OutboxOld pages: no consumer hears from this service.",
                "s",
                {"{{service}}": 'max by (service) (fanout_outbox_oldest_unsent_seconds{job="exporter"})'},
                limit=30,
            )
        )
        .with_panel(
            chart(
                "Rows to send",
                "Outbox rows that Kafka has not confirmed.",
                "short",
                {"{{service}}": 'max by (service) (fanout_outbox_unsent{job="exporter"})'},
            )
        )
        .with_panel(
            chart(
                "Time in the outbox",
                "From the insertion of an event to Kafka's confirmation.",
                "s",
                quantiles("fanout_outbox_seconds", ["service"]),
                exemplars=True,
            )
        )
        .with_panel(
            chart(
                "Events sent per second",
                "Rows that Kafka confirmed.",
                "short",
                {"{{service}}": "sum by (service) (rate(fanout_relayed_events_total[$__rate_interval]))"},
            )
        )
        .with_panel(
            chart(
                "Rows that cannot be sent",
                "Kafka or the contracts refuse them: fanout outbox ls.",
                "short",
                {"{{service}}": 'max by (service) (fanout_outbox_set_aside{job="exporter"})'},
                limit=1,
            )
        )
        .with_panel(
            chart(
                "Active relays",
                "One per database, whatever the number of workers. Another takes over within seconds.",
                "short",
                {"{{service}}": "sum by (service) (fanout_relay_active)"},
            )
        )
    )
