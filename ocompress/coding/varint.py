"""Unsigned integers of any size in few bytes, as protobuf and archives have them."""


def varint(number: int) -> bytes:
    """Encode an unsigned integer, seven bits a byte, lowest first."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)
