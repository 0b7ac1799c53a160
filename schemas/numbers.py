"""Avro's int and long, as types with bounds for validation, and as checks of what is written and read.

fastavro itself would cut 1.5 to 1, and write and read numbers that no other reader of the same schema accepts.
"""

from operator import index
from typing import Annotated

from pydantic import Field

Int32 = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]


def int32(number: int) -> int:
    """Returns the number. Raises OverflowError if it does not fit into 32 bits, TypeError if it is not an integer."""
    if not -(2**31) <= index(number) < 2**31:
        raise OverflowError(f"{number} does not fit into 32 bits")
    return number


def int64(number: int) -> int:
    """Returns the number. Raises OverflowError if it does not fit into 64 bits, TypeError if it is not an integer."""
    if not -(2**63) <= index(number) < 2**63:
        raise OverflowError(f"{number} does not fit into 64 bits")
    return number
