"""Far more orders than can be taken: each is answered within a second, and what could be taken still is."""

from tests.benchmarks.whole.ground import Ground, first_id
from tests.benchmarks.whole.open_loop import Offered
from tests.benchmarks.whole.row import Figures, Row

ABOVE_CAPACITY = (1_200, 1_600)
SATURATION_SECONDS = 5
FLOOD = 5_000
FLOOD_SECONDS = 10
GRACE_SECONDS = 1
CONNECTIONS = (200, 2_000)


async def flood(ground: Ground) -> Figures:
    await ground.top_up_stock()
    saturated = [await offered(ground, rate, SATURATION_SECONDS, 200) for rate in ABOVE_CAPACITY]
    saturation = max(each.accepted_per_second for each in saturated)
    figures: Figures = {"saturation": saturation}
    for connections in CONNECTIONS:
        flooded = await offered(ground, FLOOD, FLOOD_SECONDS, connections)
        figures |= {f"{name}_{connections}": value for name, value in of_flood(flooded, saturation).items()}
    figures["lost"], figures["doubled"] = await ground.ledger()
    return figures


async def offered(ground: Ground, rate: int, seconds: int, connections: int) -> Offered:
    """Returns when all that was accepted is settled, so that runs do not disturb each other."""
    first = first_id()
    found = await ground.post(rate, ground.scaled(rate * seconds), connections, GRACE_SECONDS)
    await ground.settled(first, found.accepted)
    await ground.mailed()
    return found


def of_flood(offered: Offered, saturation: float) -> Figures:
    refused, not_sent = offered.outcomes.get("503", 0), offered.outcomes.get("not sent", 0)
    return {
        "late_sent": offered.late_from_sent,
        "late_due": offered.late_from_due,
        "sent_late": offered.sent_late,
        "accepted": offered.accepted,
        "refused": refused,
        "not_sent": not_sent,
        "other": offered.offered - offered.accepted - refused - not_sent,
        "ratio": offered.accepted_per_second / saturation,
        "cpu_s": offered.cpu_seconds,
    }


def said(connections: int) -> str:
    text = (
        "over {c}: {late_sent_c:.0f} late from sent, {late_due_c:.0f} from due of those sent in time "
        "({sent_late_c:.0f} were not: all connections busy), 201 {accepted_c:.0f}, 503 {refused_c:.0f}, "
        "not sent {not_sent_c:.0f}, other {other_c:.0f}, accepted ÷ saturation {ratio_c:.2f}, "
        "client {cpu_s_c:.1f} s CPU"
    )
    return text.replace("{c}", f"{connections}").replace("_c:", f"_{connections}:")


ROWS = [
    Row(
        "flood",
        "5,000/s offered for 10 s over 200 and over 2,000 connections: answers later than 1 s; "
        "accepted ÷ saturation rate; lost or doubled",
        "0 (201 or 503); ≥ 0.9; 0",
        "saturation {saturation:.0f}/s; "
        + "; ".join(map(said, CONNECTIONS))
        + "; lost {lost:.0f}, doubled {doubled:.0f}",
        flood,
    )
]
