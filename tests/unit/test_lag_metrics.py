"""The exporter's metrics: every name is there, and a source that does not answer has no figures, not old ones."""

from collections import Counter
from uuid import uuid4

import pytest
import typer
from prometheus_client.parser import text_string_to_metric_families

from fanout.commands import lag as lag_command
from fanout.commands.lag import View, command, judged
from fanout.errors import NotRunning, Unreachable
from fanout.lag import metrics as described
from fanout.lag import slo
from fanout.lag.business import DeadLetterFigures, OrderFigures
from fanout.lag.exporter import rendered
from fanout.lag.kafka import KafkaFacts
from fanout.lag.measure import KAFKA, Measurement
from fanout.lag.metrics import Figures, metrics
from fanout.lag.partitions import PartitionLag
from fanout.lag.services import Outbox, ServiceFacts, StoredPosition
from fanout.lag.verdicts import GroupLag

PLACE = ("orders", 0)
SERVICES = ["fraud", "orders"]
DOWN = Unreachable("Kafka", "localhost:8021")


def group(**changes: object) -> GroupLag:
    values = {"messages": 3, "lost": 2, "seconds": 40.0, "margin_seconds": 600.0} | changes
    part = PartitionLag("fraud", *PLACE, offset=7, **values)  # type: ignore[arg-type]
    return GroupLag("fraud", [part], 1, "falling_behind", 0.5)


FRAUD = ServiceFacts(
    "fraud",
    Outbox("fraud", 4, 31.0, 1),
    frozenset({("fraud", "orders")}),
    {("fraud", PLACE): StoredPosition(7, uuid4(), 2, 5)},
    {("fraud", PLACE): "corrupt"},
    False,
)
KAFKA_FACTS = KafkaFacts(1, {}, {PLACE: 2}, {PLACE: 10}, {}, {})
FIGURES = Figures(
    Measurement([group()], [FRAUD], KAFKA_FACTS),
    OrderFigures(10, 9, Counter(EUR=2_980), {"placed": 1}, 45.0),
    DeadLetterFigures({("fraud", "orders", "undecodable", "parked"): 2}, Counter(fraud=1)),
)
AT = 'group="fraud",partition="0",topic="orders"'
EXPECTED = f"""
kafka_consumergroup_group_lag{{{AT}}} 3
kafka_consumergroup_group_lag_seconds{{{AT}}} 40
kafka_consumergroup_group_offset{{{AT}}} 7
kafka_consumergroup_group_messages_lost{{{AT}}} 2
kafka_consumergroup_group_retention_margin_seconds{{{AT}}} 600
kafka_consumergroup_group_max_lag{{group="fraud"}} 3
kafka_consumergroup_group_max_lag_seconds{{group="fraud"}} 40
kafka_consumergroup_group_members{{group="fraud"}} 1
kafka_partition_latest_offset{{partition="0",topic="orders"}} 10
kafka_partition_earliest_offset{{partition="0",topic="orders"}} 2
kafka_topic_partitions{{topic="orders"}} 1
kafka_brokers 1
fanout_lag_verdict{{group="fraud",verdict="falling_behind"}} 1
fanout_lag_verdict{{group="fraud",verdict="keeping_up"}} 0
fanout_lag_trend{{group="fraud"}} 0.5
fanout_partition_held{{consumer="fraud",partition="0",topic="orders"}} 1
fanout_outbox_unsent{{service="fraud"}} 4
fanout_outbox_oldest_unsent_seconds{{service="fraud"}} 31
fanout_outbox_set_aside{{service="fraud"}} 1
fanout_dead_letters{{consumer="fraud",reason="undecodable",status="parked",topic="orders"}} 2
fanout_redrives_total{{consumer="fraud"}} 1
fanout_inbox_duplicates_total{{consumer="fraud"}} 5
fanout_orders{{status="placed"}} 1
fanout_orders{{status="shipped"}} 0
fanout_orders_settled_total{{within="30s"}} 9
fanout_orders_settled_total{{within="all"}} 10
fanout_orders_unsettled_oldest_seconds 45
fanout_revenue_cents_total{{currency="EUR"}} 2980
fanout_exporter_up 1
fanout_exporter_error{{source="kafka"}} 0
fanout_exporter_error{{source="orders"}} 0
"""


def samples(figures: Figures) -> dict[str, float]:
    text = rendered(metrics(figures, SERVICES)).decode()
    return {
        sample.name + (f"{{{labels}}}" if labels else ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        for labels in [",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))]
    }


def test_every_metric_says_what_was_measured() -> None:
    found = samples(FIGURES)
    for line in EXPECTED.strip().splitlines():
        name, value = line.rsplit(" ", 1)
        assert found.get(name) == float(value), line


def test_the_description_names_every_metric() -> None:
    names = {name.split("{")[0] for name in samples(FIGURES) if not name.startswith("process_")}
    text = described.__doc__ or ""
    missing = {name for name in names if name not in text and f"_{name.rsplit('_group_')[-1]}" not in text}
    assert missing <= {"kafka_partition_latest_offset", "fanout_exporter_up"}


def test_without_kafka_there_are_no_figures_of_groups_but_those_of_services() -> None:
    found = samples(Figures(Measurement(services=[FRAUD], errors={KAFKA: DOWN})))
    assert found['fanout_exporter_error{source="kafka"}'] == 1
    assert found['fanout_outbox_unsent{service="fraud"}'] == 4
    assert not [name for name in found if name.startswith(("kafka_", "fanout_lag", "fanout_orders"))]


def test_a_service_that_does_not_answer_has_no_figures() -> None:
    found = samples(Figures(Measurement([group()], [], KAFKA_FACTS, {"fraud": DOWN})))
    assert found['fanout_exporter_error{source="fraud"}'] == 1
    assert not [name for name in found if name.startswith("fanout_outbox")]
    assert found[f"kafka_consumergroup_group_lag{{{AT}}}"] == 3, "of the offsets in Kafka"


def test_the_age_of_a_message_that_kafka_does_not_deliver_is_absent_and_not_zero() -> None:
    found = samples(Figures(Measurement([group(seconds=None, margin_seconds=None)], [FRAUD], KAFKA_FACTS)))
    assert f"kafka_consumergroup_group_lag_seconds{{{AT}}}" not in found
    assert 'kafka_consumergroup_group_max_lag_seconds{group="fraud"}' not in found


def test_nothing_unread_is_no_second_behind() -> None:
    found = samples(Figures(Measurement([group(messages=0, seconds=None)], [FRAUD], KAFKA_FACTS)))
    assert found[f"kafka_consumergroup_group_lag_seconds{{{AT}}}"] == 0


def test_the_goal_cannot_be_judged_if_a_server_does_not_answer() -> None:
    found = judged(View([group()], [], [DOWN]), 30.0)
    assert found.exit_code == slo.UNKNOWN and "Kafka does not answer" in found.sentence


def test_the_goal_cannot_be_judged_if_nothing_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def not_running() -> None:
        raise NotRunning

    monkeypatch.setattr(lag_command, "running", not_running)
    with pytest.raises(typer.Exit) as ended:
        command(check_slo=True, within=30.0)
    assert ended.value.exit_code == slo.UNKNOWN
    assert capsys.readouterr().out == "cannot tell: not running: fanout up\n"
