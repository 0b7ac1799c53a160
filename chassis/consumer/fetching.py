"""Patches aiokafka so that a batch it cannot read stops only that batch's partition.

aiokafka raises such an error out of `getmany`, which does not say for which partition and makes the client unusable.
With this patch the fetched records of the partition end with an UnreadableBatch instead, and the client's position
stays before that batch. A header name that is not UTF-8 is decoded with replacement characters, so its batch can be
read. Batches that unpack to more than LARGEST_UNPACKED_BYTES are unreadable: a small gzip can hold hundreds of
megabytes.
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
        super().__init__(f"the batch unpacks to more than {LARGEST_UNPACKED_BYTES} bytes")


def install() -> None:
    """Replaces parts of aiokafka 0.14, which has no hook for this. Call it before a client is created."""
    fetcher.MemoryRecords = _TrackedBatches
    fetcher.PartitionRecords = _Records
    for module in (default_records, legacy_records, _crecords.default_records, _crecords.legacy_records):
        for name, unpack in UNPACK.items():
            if hasattr(module, name):
                setattr(module, name, unpack)


def record_of(got: ConsumerRecord) -> Record:
    return Record(got.topic, got.partition, got.offset, got.timestamp, got.key, got.value, got.headers)


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]  # aiokafka is untyped
    """The fetched records of one partition."""

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


class _TrackedBatches(_MemoryRecordsPy):  # type: ignore[misc]
    """Iterates over batches, which aiokafka's C extension parses, and remembers where the current one begins."""

    _current = 0

    def next_batch(self) -> Any:
        self._current = self._pos - len(self._next_slice or b"")
        return super().next_batch()

    def from_current_batch(self) -> bytes:
        return bytes(memoryview(self._buffer)[self._current :])


class _TolerantBatches(_MemoryRecordsPy):  # type: ignore[misc]
    """Iterates over batches whose header names may be any bytes."""

    def next_batch(self) -> Any:
        current = self._next_slice
        batch = super().next_batch()
        return _TolerantBatch(current) if isinstance(batch, default_records.DefaultRecordBatch) else batch


class _TolerantBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """Parses a batch in Python: slower, but needed rarely."""

    _buffer: Any

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _TolerantBytes(self._buffer)


class _TolerantBytes(bytearray):
    """Bytes that decode with replacement characters, however they are sliced."""

    def __getitem__(self, key: Any) -> Any:
        item = super().__getitem__(key)
        return item if isinstance(item, int) else _TolerantBytes(item)

    def decode(self, encoding: str = "utf-8", errors: str = "replace") -> str:
        return super().decode(encoding, errors)


def _gzip_decode(payload: Any) -> bytes:
    unpacked, rest = b"", bytes(payload)
    while rest:
        member = zlib.decompressobj(GZIP)
        unpacked += member.decompress(rest, LARGEST_UNPACKED_BYTES + 1 - len(unpacked))
        if len(unpacked) > LARGEST_UNPACKED_BYTES:
            raise TooLarge
        if not member.eof:
            raise EOFError("the gzip data is truncated")
        rest = member.unused_data
    return unpacked


def _snappy_decode(payload: Any) -> bytes:
    """Unpacks plain Snappy and the block format of Java clients: a 16-byte header, then blocks with their lengths."""
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


def _decode_into_buffer(unpack_into: Callable[[Any, bytearray], int]) -> Unpack:
    def unpack(payload: Any) -> bytes:
        unpacked = bytearray(LARGEST_UNPACKED_BYTES)  # only pages that are written take memory
        size = unpack_into(payload, unpacked)
        return bytes(memoryview(unpacked)[:size])

    return unpack


SNAPPY: Unpack = codec.snappy_decode
UNPACK: dict[str, Unpack] = {
    "gzip_decode": _gzip_decode,
    "snappy_decode": _snappy_decode,
    "lz4_decode": _decode_into_buffer(cramjam.lz4.decompress_into),
    "zstd_decode": _decode_into_buffer(cramjam.zstd.decompress_into),
}
