"""Guards aiokafka's reading of what Kafka sent: a batch that cannot be read concerns its own partition only.

aiokafka raises such errors out of `getmany`, without the partition, and a consumer that has raised must be replaced.
Here the records of the partition end with an UnreadableBatch instead, and its position stays before that batch.
A header's name that is not UTF-8 makes no batch unreadable: it is read with a replacement character in it. And no
batch is unpacked that becomes larger than LARGEST_UNPACKED_BYTES: a small gzip can be hundreds of megabytes.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import Any

import cramjam
from aiokafka import ConsumerRecord, codec
from aiokafka.consumer import fetcher
from aiokafka.record import _crecords, default_records, legacy_records
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from chassis.consumer.held import UnreadableBatch
from chassis.events.record import Record

LARGEST_UNPACKED_BYTES = 8 * 2**20
GZIP = 31

Unpack = Callable[[Any], bytes]


class TooLarge(Exception):
    def __init__(self) -> None:
        super().__init__(f"the batch is larger than {LARGEST_UNPACKED_BYTES} bytes when it is unpacked")


def install() -> None:
    """Makes aiokafka 0.14 use what is defined here; it offers no other way."""
    fetcher.MemoryRecords = _Batches
    fetcher.PartitionRecords = _Records
    for module in (default_records, legacy_records, _crecords.default_records, _crecords.legacy_records):
        for name, unpack in UNPACK.items():
            if hasattr(module, name):
                setattr(module, name, unpack)


def record_of(got: ConsumerRecord) -> Record:
    return Record(got.topic, got.partition, got.offset, got.timestamp, got.key, got.value, got.headers)


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is untyped
    """The records of one partition in one answer of the broker."""

    _records: Any

    def _unpack_records(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except UnicodeDecodeError:
            self._records = _TolerantBatches(self._records.from_current_batch())
            yield from self._unpack_tolerantly()
        except Exception as error:
            yield UnreadableBatch(self.next_fetch_offset, error)

    def _unpack_tolerantly(self) -> Iterator[Any]:
        try:
            yield from super()._unpack_records()
        except Exception as error:
            yield UnreadableBatch(self.next_fetch_offset, error)


class _Batches(_MemoryRecordsPy):  # type: ignore[misc]
    """Batches one after the other; each is parsed by aiokafka's extension in C."""

    _current = 0

    def next_batch(self) -> Any:
        self._current = self._pos - len(self._next_slice or b"")
        return super().next_batch()

    def from_current_batch(self) -> bytes:
        return bytes(memoryview(self._buffer)[self._current :])


class _TolerantBatches(_MemoryRecordsPy):  # type: ignore[misc]
    def next_batch(self) -> Any:
        current = self._next_slice
        batch = super().next_batch()
        return _TolerantBatch(current) if isinstance(batch, default_records.DefaultRecordBatch) else batch


class _TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """Parsed in Python: slower, and rare."""

    _buffer: Any

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _TolerantBytes(self._buffer)


class _TolerantBytes(bytearray):
    def __getitem__(self, place: Any) -> Any:
        found = super().__getitem__(place)
        return found if isinstance(found, int) else _TolerantBytes(found)

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


def _gunzip(payload: Any) -> bytes:
    unpacked, rest = b"", bytes(payload)
    while rest:
        member = zlib.decompressobj(GZIP)
        unpacked += member.decompress(rest, LARGEST_UNPACKED_BYTES + 1 - len(unpacked))
        if len(unpacked) > LARGEST_UNPACKED_BYTES:
            raise TooLarge
        if not member.eof:
            raise EOFError("the gzip ends too early")
        rest = member.unused_data
    return unpacked


def _unsnap(payload: Any) -> bytes:
    """Also in the blocks of Java's Snappy: 16 bytes of header, then each block after its length."""
    size, at = 0, 16
    if not codec._detect_xerial_stream(payload):
        size = cramjam.snappy.decompress_raw_len(payload)
    else:
        while at < len(payload):
            length = int.from_bytes(payload[at : at + 4], "big")
            size += cramjam.snappy.decompress_raw_len(payload[at + 4 : at + 4 + length])
            at += 4 + length
    if size > LARGEST_UNPACKED_BYTES:
        raise TooLarge
    return SNAPPY(payload)


def _into_buffer(unpack_into: Callable[[Any, bytearray], int]) -> Unpack:
    def unpack(payload: Any) -> bytes:
        unpacked = bytearray(LARGEST_UNPACKED_BYTES)  # its memory is taken only as far as it is filled
        size = unpack_into(payload, unpacked)
        return bytes(memoryview(unpacked)[:size])

    return unpack


SNAPPY: Unpack = codec.snappy_decode
UNPACK: dict[str, Unpack] = {
    "gzip_decode": _gunzip,
    "snappy_decode": _unsnap,
    "lz4_decode": _into_buffer(cramjam.lz4.decompress_into),
    "zstd_decode": _into_buffer(cramjam.zstd.decompress_into),
}
