"""HTTP: the golden signals of each API: traffic, errors, latency, saturation."""

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.observability.dashboards.panels import board, chart, choice, quantiles

JOB = '{job=~"$job"}'


def http() -> Dashboard:
    """Returns the dashboard "HTTP"."""
    return (
        board("http", "HTTP", "Traffic, errors, latency and saturation of the APIs.")
        .with_variable(choice("job", "fanout_refused_requests_total"))
        .with_panel(
            chart(
                "Requests per second",
                "By route, without those that admission control refuses.",
                "reqps",
                {
                    "{{job}} {{method}} {{route}}": "sum by (job, method, route) "
                    f"(rate(fanout_http_request_duration_seconds_count{JOB}[$__rate_interval]))"
                },
            )
        )
        .with_panel(
            chart(
                "Share of failed requests",
                "5xx and refusals, over five minutes. Above 5 % for two minutes ApiErrorsHigh pages.",
                "percentunit",
                {"{{job}}": f"fanout:http_errors:rate5m{JOB} / (fanout:http_requests:rate5m{JOB} > 0)"},
                limit=0.05,
            )
        )
        .with_panel(
            chart(
                "Duration of requests",
                "A request is meant to be answered within a second. A point is one request and leads to its trace.",
                "s",
                quantiles("fanout_http_request_duration_seconds", ["job", "method", "route"], JOB),
                limit=1,
                exemplars=True,
            )
        )
        .with_panel(
            chart(
                "Requests by status",
                "Per second.",
                "reqps",
                {
                    "{{job}} {{status}}": "sum by (job, status) "
                    f"(rate(fanout_http_request_duration_seconds_count{JOB}[$__rate_interval]))"
                },
            )
        )
        .with_panel(
            chart(
                "Refused requests per second",
                "503 with Retry-After: more requests than can be answered within a second.",
                "reqps",
                {
                    "{{job}} {{reason}}": "sum by (job, reason) "
                    f"(rate(fanout_refused_requests_total{JOB}[$__rate_interval]))"
                },
            )
        )
        .with_panel(
            chart(
                "Requests in a transaction",
                "Mean number of POSTs that are committed together. It grows with load, and the price of each falls.",
                "short",
                {
                    "{{job}}": f"sum by (job) (rate(fanout_group_commit_size_sum{JOB}[$__rate_interval]))"
                    f" / (sum by (job) (rate(fanout_group_commit_size_count{JOB}[$__rate_interval])) > 0)"
                },
            )
        )
        .with_panel(
            chart(
                "Processor",
                "Seconds of CPU per second, of each API.",
                "percentunit",
                {"{{job}}": f"sum by (job) (rate(process_cpu_seconds_total{JOB}[$__rate_interval]))"},
            )
        )
        .with_panel(
            chart(
                "Memory",
                "Resident memory of each API.",
                "bytes",
                {"{{job}}": f"sum by (job) (process_resident_memory_bytes{JOB})"},
            )
        )
    )
