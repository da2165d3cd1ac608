"""What clients say that they have seen."""

import pytest

from tradewind.platform import consistency


@pytest.mark.parametrize(
    ("headers", "position"),
    [
        ({}, 0),
        ({b"consistency-token": b"1f"}, 31),
        ({b"consistency-token": b"0"}, 0),
        ({b"consistency-token": b"ffffffffffffffff"}, 2**64 - 1),
        ({b"consistency-token": b"10000000000000000"}, 0),
        ({b"consistency-token": b"0x1f"}, 0),
        ({b"consistency-token": b"-1"}, 0),
        ({b"consistency-token": b""}, 0),
        ({b"consistency-token": b"1f\n"}, 0),
        ({b"consistency-token": b"\xd9\xa1"}, 0),
        ({b"cookie": b"consistency=1f"}, 31),
        ({b"cookie": b"a=b; consistency=1f; c=d"}, 31),
        ({b"cookie": b"a=b;consistency=1f"}, 31),
        ({b"cookie": b"inconsistency=1f"}, 0),
        ({b"cookie": b"consistency=1fz"}, 0),
        ({b"cookie": b"consistency=1; consistency=2"}, 2),
        ({b"cookie": b"consistency=2", b"consistency-token": b"3"}, 3),
        ({b"cookie": b"consistency=4", b"consistency-token": b"3"}, 4),
    ],
)
def test_tokens(headers: dict[bytes, bytes], position: int) -> None:
    """The greatest of header and cookie counts; what is no token is none."""
    consistency.enter(headers)
    assert consistency.needed_position() == position


def test_a_token_comes_back_as_it_was_given() -> None:
    """Whatever its size."""
    for position in (0, 1, 2**40 + 7, 2**64 - 1):
        consistency.enter({b"consistency-token": consistency.write_token(position)})
        assert consistency.needed_position() == position
    consistency.enter({})
