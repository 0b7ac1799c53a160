"""Whole numbers as Avro stores them: fastavro would cut 1.5 to 1 and write an int that no other reader takes."""

from operator import index


def int32(number: int) -> int:
    if not -(2**31) <= index(number) < 2**31:
        raise OverflowError(f"{number} does not fit into 32 bits")
    return number


def int64(number: int) -> int:
    if not -(2**63) <= index(number) < 2**63:
        raise OverflowError(f"{number} does not fit into 64 bits")
    return number
