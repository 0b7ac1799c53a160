"""Makes a database and a login for the Go consumer in the local stack's Postgres, and prints the URL.

`fanout setup` makes databases for the folders under services/ only, and `fanout setup --prune` leaves this one alone.
With --drop, removes both, and the consumer group.
"""

import argparse
import asyncio
import sys

from confluent_kafka import KafkaError, KafkaException

from fanout.errors import FanoutError
from fanout.kafka_admin import admin
from fanout.local.topology import StackSpec
from fanout.provision import outside_database

LOGIN, DATABASE, GROUP = "go_totals", "customer_totals", "go-totals"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drop", action="store_true", help="remove database, login and consumer group")
    drop = parser.parse_args().drop
    try:
        spec = StackSpec.of_running()
        if drop:
            _remove_group(spec)
            asyncio.run(outside_database.drop(spec.servers(), LOGIN, DATABASE))
        else:
            print(asyncio.run(outside_database.make(spec.servers(), LOGIN, DATABASE)))
    except FanoutError as error:
        sys.exit(str(error))


def _remove_group(spec: StackSpec) -> None:
    try:
        admin(spec.ports).delete_consumer_groups([GROUP])[GROUP].result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.NON_EMPTY_GROUP:
            raise FanoutError(f"the group {GROUP} has members: stop the consumer first") from None
        if error.args[0].code() != KafkaError.GROUP_ID_NOT_FOUND:
            raise


if __name__ == "__main__":
    main()
