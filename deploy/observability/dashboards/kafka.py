"""Kafka itself: brokers, what topics hold and take in, and how fast groups read."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.observability.dashboards.panels import board, chart, figure


def kafka() -> Dashboard:
    """Returns the dashboard "Kafka"."""
    return (
        board("kafka", "Kafka", "As the exporter sees it through Kafka's own protocol.")
        .with_panel(figure("Brokers", "That Kafka's metadata names.", "short", "kafka_brokers"))
        .with_panel(
            figure(
                "Topics",
                "Events, redrives and dead letters.",
                "short",
                "count(kafka_topic_partitions)",
            )
        )
        .with_panel(
            figure(
                "Partitions",
                "Of all topics.",
                "short",
                "sum(kafka_topic_partitions)",
            )
        )
        .with_panel(
            figure(
                "Records kept",
                "In all topics.",
                "short",
                "sum(kafka_partition_latest_offset - kafka_partition_earliest_offset)",
            )
        )
        .with_panel(
            chart(
                "Records written per second",
                "By topic.",
                "short",
                {"{{topic}}": "sum by (topic) (rate(kafka_partition_latest_offset[$__rate_interval]))"},
            )
        )
        .with_panel(
            chart(
                "Offsets processed per second",
                "By group. Below what is written, the group falls behind.",
                "short",
                {"{{group}}": "sum by (group) (rate(kafka_consumergroup_group_offset[$__rate_interval]))"},
            )
        )
        .with_panel(
            chart(
                "Records kept",
                "By topic, until retention deletes them; transaction markers included.",
                "short",
                {
                    "{{topic}}": "sum by (topic) (kafka_partition_latest_offset - kafka_partition_earliest_offset)"
                },
            )
        )
        .with_panel(
            chart(
                "What the exporter cannot ask",
                "1 if Kafka or a database does not answer; then its figures are missing.",
                "short",
                {"{{source}}": "max by (source) (fanout_exporter_error)"},
                limit=1,
            )
        )
        .with_panel(
            chart(
                "Processor of the exporter",
                "Seconds of CPU per second. It is meant to stay below 1 %.",
                "percentunit",
                {
                    "{{job}}": 'sum by (job) (rate(process_cpu_seconds_total{job="exporter"}[$__rate_interval]))'
                },
            )
        )
    )
