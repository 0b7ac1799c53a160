"""What became of a set of orders, by what the services state about them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from fanout.verify.records import Facts

STAGES = ("placed", "confirmed", "shipped", "cancelled")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Each order is counted in exactly one of these."""

    shipped: int
    confirmed: int
    declined: int
    out_of_stock: int
    otherwise_cancelled: int
    undecided: int

    def lines(self) -> list[str]:
        named = {
            "shipped": self.shipped,
            "confirmed, not yet shipped": self.confirmed,
            "cancelled, payment declined": self.declined,
            "cancelled, out of stock": self.out_of_stock,
            "cancelled, other reasons": self.otherwise_cancelled,
            "not decided": self.undecided,
        }
        return [f"{count:>6}  {name}" for name, count in named.items() if count]


def outcomes(order_ids: Collection[str], facts: Facts) -> Outcomes:
    """A cancelled order that was both declined and out of stock counts as declined."""
    mine = set(order_ids)
    shipped = mine & facts["orders.shipped"].keys()
    confirmed = (mine & facts["orders.confirmed"].keys()) - shipped
    cancelled = mine & facts["orders.cancelled"].keys()
    declined = cancelled & facts["payments.declined"].keys()
    out_of_stock = (cancelled & facts["inventory.rejected"].keys()) - declined
    return Outcomes(
        shipped=len(shipped),
        confirmed=len(confirmed),
        declined=len(declined),
        out_of_stock=len(out_of_stock),
        otherwise_cancelled=len(cancelled - declined - out_of_stock),
        undecided=len(mine - shipped - confirmed - cancelled),
    )


SHOWN = {*(f"orders.{stage}" for stage in STAGES), "fraud.assessed"}
"""The facts that `consumer_offsets` is made of."""


def progress(order_ids: Sequence[str], facts: Facts) -> str:
    mine = set(order_ids)
    counts = {stage: len(mine & facts[f"orders.{stage}"].keys()) for stage in STAGES}
    counts["assessed by fraud"] = len(mine & facts["fraud.assessed"].keys())
    return ", ".join(f"{stage} {count}" for stage, count in counts.items())
