"""The experiments of `fanout compare`: a mail server in several states, and more and more listeners."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import monotonic

from fanout.compare.child import web_app
from fanout.compare.conditions import Level
from fanout.compare.listeners import kafka_listeners, taken_by_all
from fanout.compare.mails import Mails
from fanout.compare.measure import EFFECT_SECONDS, POLL_SECONDS, Payer, until_mailed
from fanout.compare.prepare import Invoice, cancel, place_invoices
from fanout.compare.samples import SIDES, Row, Sample, Side, figures
from fanout.compare.setting import EXAMPLE, Setting
from fanout.local.mail_fault import MailState, mail_fault
from fanout.local.smtp_server import DELAY_IS_READ_SECONDS

SENDER_PAUSE = 0.5
"""Between two rounds of our sender."""

Tell = Callable[[str], None]


def interval(state: MailState, listeners: int = 1) -> float:
    """Returns the seconds from one pair to the next, such that no mail has to wait for the one before it.

    Our sender delivers one mail at a time, and has two about a paid order: paid, and shipped.
    """
    seconds = state.seconds or 0.0
    return max(2, listeners) * seconds + SENDER_PAUSE


async def over_levels(used: Setting, levels: Sequence[Level], pairs: int, tell: Tell) -> list[Row]:
    """Measures the same payments with the mail server in one state after the other, and then all states once more.

    So a time in which the machine is busy falls on every state.
    """
    sizes = pairs - pairs // 2, pairs // 2
    rounds = [
        (f"round {number} of {len(sizes)}, mail server {level.name}", level, size)
        for number, size in enumerate(sizes, 1)
        for level in levels
    ]
    samples: dict[tuple[str, Side], list[Sample]] = {
        (each.name, side): [] for each in levels for side in SIDES
    }
    with used.synchronous_service([]) as url:
        async with _invoices(used, [size for _, _, size in rounds], tell) as (shares, mails):
            for (about, level, _), invoices in zip(rounds, shares, strict=True):
                run = Run(url, invoices, level.state, interval(level.state), about)
                for side, found in (await _measure(used, run, mails, tell)).items():
                    samples[level.name, side] += found
    return [Row(name, side, figures(found, mails.paid[side])) for (name, side), found in samples.items()]


async def over_listeners(
    used: Setting, counts: Sequence[int], takes: float, pairs: int, tell: Tell
) -> list[Row]:
    """Measures with more and more listeners, the notifier among them; the effect is that all of them have it."""
    rows: list[Row] = []
    state, home = MailState(takes), str(used.directory.path)
    with web_app(f"{EXAMPLE}.listener:app", {"TAKES_SECONDS": str(takes)}, used.folder) as further:
        async with _invoices(used, [pairs] * len(counts), tell) as (shares, mails):
            for count, invoices in zip(counts, shares, strict=True):
                with (
                    used.synchronous_service([f"{further}/{n}" for n in range(2, count + 1)]) as url,
                    kafka_listeners(count - 1, takes, home, used.folder) as printed,
                ):
                    run = Run(url, invoices, state, interval(state, count), f"listeners: {count}")
                    samples = await _measure(used, run, mails, tell)
                    effects = await _at_all_listeners(samples, mails, printed, count - 1)
                rows += [Row(str(count), side, figures(samples[side], effects[side])) for side in SIDES]
    return rows


@dataclass(frozen=True, slots=True)
class Run:
    """Payments under one condition. The first invoice only opens connections and is not counted."""

    synchronous_url: str
    invoices: Sequence[Invoice]
    state: MailState
    interval: float
    about: str


async def _measure(used: Setting, run: Run, mails: Mails, tell: Tell) -> dict[Side, list[Sample]]:
    """Pays with the mail server in the run's state; a stopped one is back before the mails are waited for."""

    def tell_of(what: str) -> None:
        tell(f"{run.about}: {what}")

    first, *counted = run.invoices
    async with Payer.of(used.addresses, run.synchronous_url) as payer, AsyncExitStack() as ill:
        for side in SIDES:
            await payer.pay(side, first)
        ill.enter_context(mail_fault(used.directory.mail_fault, run.state))
        await asyncio.sleep(
            2 * DELAY_IS_READ_SECONDS
        )  # so long the mail server may go by what it read before
        samples = await payer.pay_all(
            counted, run.interval, lambda number: tell_of(f"payment {number + 1} of {len(counted)}")
        )
        if run.state.is_stopped:
            await ill.aclose()
        await until_mailed(mails, samples["events"], tell_of)
    return samples


@asynccontextmanager
async def _invoices(
    used: Setting, sizes: Sequence[int], tell: Tell
) -> AsyncIterator[tuple[list[list[Invoice]], Mails]]:
    """Yields a share of invoices for each run: so many, and one more to open connections with.

    However the block ends, no mail of the synchronous side stays; if it is interrupted, unpaid orders are cancelled.
    """
    mails, wanted = Mails(used.directory.mail), [size + 1 for size in sizes]
    uses = f"{sum(sizes)} to pay and time, {len(sizes)} to open connections with"
    placed = await place_invoices(used.addresses, sum(wanted), uses, mails, tell)
    remaining = iter(placed)
    try:
        yield [list(islice(remaining, size)) for size in wanted], mails
    except BaseException:
        await cancel(used.addresses, placed)
        raise
    finally:
        mails.remove_of_synchronous()


async def _at_all_listeners(
    samples: Mapping[Side, Sequence[Sample]], mails: Mails, printed: Path, further: int
) -> dict[Side, dict[str, float]]:
    """Returns when the last listener had each payment: as the synchronous service answers, and as ours report it."""
    paid = mails.paid["events"]
    deadline = monotonic() + EFFECT_SECONDS
    while True:
        taken = taken_by_all(printed, further) if further else paid
        if all(each.order_id in taken for each in samples["events"] if each.is_accepted):
            break
        if monotonic() > deadline:
            break
        await asyncio.sleep(POLL_SECONDS)
    return {
        "synchronous": {
            each.order_id: each.asked_at + each.seconds for each in samples["synchronous"] if each.is_accepted
        },
        "events": {order_id: max(at, taken[order_id]) for order_id, at in paid.items() if order_id in taken},
    }
