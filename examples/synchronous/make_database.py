"""Makes a database and a login for the synchronous service in the local stack's Postgres, and prints the URL.

With --drop, removes both.
"""

import argparse
import asyncio
import sys

from fanout.errors import FanoutError
from fanout.local.topology import StackSpec
from fanout.provision import outside_database

LOGIN, DATABASE = "synchronous", "synchronous_payments"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drop", action="store_true", help="remove database and login")
    wanted = parser.parse_args()
    try:
        servers = StackSpec.of_running().servers()
        if wanted.drop:
            asyncio.run(outside_database.drop(servers, LOGIN, DATABASE))
        else:
            print(asyncio.run(outside_database.make(servers, LOGIN, DATABASE)))
    except FanoutError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
