"""Consumers: lag in seconds, headroom, verdicts, throughput, duplicates, what is parked or held."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.observability.dashboards.panels import board, chart, choice, listing, quantiles

GROUP = '{group=~"$group"}'
CONSUMER = '{consumer=~"$group"}'


def consumers() -> Dashboard:
    """Returns the dashboard "Consumers"."""
    return (
        board("consumers", "Consumers", "How far each group is behind, and what became of its events.")
        .with_variable(choice("group", "kafka_consumergroup_group_members"))
        .with_panel(
            chart(
                "Seconds behind",
                "Age of the oldest event that is not processed. Above 30 s for a minute ConsumerLagHigh pages.",
                "s",
                {"{{group}}": f"max by (group) (kafka_consumergroup_group_max_lag_seconds{GROUP})"},
                limit=30,
            )
        )
        .with_panel(
            chart(
                "Messages behind",
                "Events that the group has not processed, over all partitions.",
                "short",
                {"{{group}}": f"sum by (group) (kafka_consumergroup_group_lag{GROUP})"},
            )
        )
        .with_panel(
            listing(
                "Verdicts",
                "What fanout lag says of each group.",
                f"fanout_lag_verdict{GROUP} == 1",
                ("group", "verdict"),
                "holds",
            )
        )
        .with_panel(
            chart(
                "Headroom",
                "Until Kafka may delete the oldest event that is not read. Nothing is drawn while all is read.",
                "s",
                {
                    "{{group}} {{topic}}": "min by (group, topic) "
                    f"(kafka_consumergroup_group_retention_margin_seconds{GROUP})"
                },
            )
        )
        .with_panel(
            chart(
                "Events per second",
                "By what became of them. A duplicate was ignored; a skipped one lay before the stored offset.",
                "short",
                {
                    "{{consumer}} {{outcome}}": "sum by (consumer, outcome) "
                    f"(rate(fanout_events_total{CONSUMER}[$__rate_interval]))"
                },
            )
        )
        .with_panel(
            chart(
                "From event to effect",
                "Time from when an event happened to the commit of what it did.",
                "s",
                quantiles("fanout_event_age_seconds", ["consumer"], CONSUMER),
                exemplars=True,
            )
        )
        .with_panel(
            chart(
                "Duration of a batch",
                "From its first read to its commit.",
                "s",
                quantiles("fanout_batch_duration_seconds", ["consumer"], CONSUMER),
                exemplars=True,
            )
        )
        .with_panel(
            chart(
                "Duplicates",
                "Events that were delivered again and had no second effect, since the group exists.",
                "short",
                {"{{consumer}}": f"sum by (consumer) (fanout_inbox_duplicates_total{CONSUMER})"},
            )
        )
        .with_panel(
            chart(
                "Dead letters",
                "By reason and by what was decided.",
                "short",
                {
                    "{{consumer}} {{reason}} {{status}}": "sum by (consumer, reason, status) "
                    f"(fanout_dead_letters{CONSUMER})"
                },
            )
        )
        .with_panel(
            chart(
                "Redrives",
                "How often dead letters were sent to their consumer again.",
                "short",
                {"{{consumer}}": f"sum by (consumer) (fanout_redrives_total{CONSUMER})"},
            )
        )
        .with_panel(
            chart(
                "Messages lost",
                "Deleted by Kafka before the group read them. fanout resend --lost sends them again.",
                "short",
                {
                    "{{group}} {{topic}}": "sum by (group, topic) "
                    '(kafka_consumergroup_group_messages_lost{job="exporter", group=~"$group"})'
                },
                limit=1,
            )
        )
        .with_panel(
            chart(
                "Partitions held or waiting",
                "Held: the next record cannot be read. Waiting: Postgres, Kafka or the registry does not answer.",
                "short",
                {
                    "{{consumer}} held": f"sum by (consumer) (fanout_partition_held{CONSUMER})",
                    "{{consumer}} waiting": f"sum by (consumer) (fanout_consumer_holding{CONSUMER})",
                },
            )
        )
        .with_panel(
            chart(
                "Workers in the group",
                "Members that Kafka knows. At 0 ConsumerStopped warns.",
                "short",
                {"{{group}}": f"sum by (group) (kafka_consumergroup_group_members{GROUP})"},
            )
        )
        .with_panel(
            chart(
                "Memory of a worker",
                "Resident memory of each process.",
                "bytes",
                {"{{job}}": 'sum by (job) (process_resident_memory_bytes{job=~".+-worker.*"})'},
            )
        )
    )
