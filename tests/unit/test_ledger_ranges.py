"""Ranges of event ids: together they hold every id once, and retention cuts between two of them."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

from uuid_utils.compat import uuid7

from fanout.verify.ranges import GREATEST, IdRange, all_ids, first_id_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def id_at(at: datetime, rest: int = 0) -> UUID:
    return UUID(int=first_id_of(at) | 0x7 << 76 | 0x8 << 60 | rest)


def assert_without_gaps(ranges: list[IdRange], first: int, last: int) -> None:
    assert (ranges[0].first, ranges[-1].last) == (first, last)
    assert all(one.last + 1 == following.first for one, following in pairwise(ranges))


def test_every_id_is_in_one_range() -> None:
    ranges = all_ids([id_at(NOON), id_at(NOON + timedelta(hours=1))], [], parts=16)
    assert ranges[0] == IdRange(0, GREATEST, timed=False)
    assert_without_gaps(ranges[1:], 0, GREATEST)
    assert 16 <= len(ranges) <= 20


def test_ids_without_a_time_do_not_spread_the_ranges() -> None:
    assert all_ids([id_at(NOON), uuid4()], [], parts=4) == all_ids([id_at(NOON)], [], parts=4)


def test_no_range_has_ids_from_before_and_after_a_cut() -> None:
    cut = NOON + timedelta(minutes=17, milliseconds=3)
    ranges = all_ids([id_at(NOON), id_at(NOON + timedelta(hours=1))], [cut], parts=4)
    assert [each.is_before(cut) for each in ranges] == [
        each.timed and each.last < first_id_of(cut) for each in ranges
    ]
    assert first_id_of(cut) in {each.first for each in ranges}
    assert not any(each.is_before(cut) for each in ranges[0].split(256)), (
        "ids without a time are never left out"
    )


def test_a_range_is_split_into_adjacent_ones() -> None:
    whole = IdRange(7, 106)
    assert_without_gaps(whole.split(32), 7, 106)
    assert len(whole.split(32)) >= 32
    assert IdRange(5, 5).split(32) == [IdRange(5, 5)]


def test_a_new_id_is_in_the_range_of_its_time() -> None:
    before, made, after = datetime.now(UTC), uuid7(), datetime.now(UTC) + timedelta(milliseconds=1)
    assert first_id_of(before) <= made.int < first_id_of(after + timedelta(milliseconds=1))
