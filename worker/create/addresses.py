"""Addresses on which the host publishes ports."""

import ipaddress

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def bind_address(text: str) -> IpAddress | None:
    """Read the address that a port is bound to; None for empty text, the Engine's own default.

    The Engine binds to all addresses when it cannot read one, so every text is read here first.
    Blanks and brackets around the address are removed. An IPv4 address in IPv6 form becomes the
    IPv4 address, because the Engine reads it so.

    Errors: `ValueError` for names, networks, zone ids and all other text that is no IP address.
    """
    trimmed = text.strip()
    if not trimmed:
        return None
    if trimmed.startswith("[") and trimmed.endswith("]"):
        trimmed = trimmed[1:-1].strip()
    address = ipaddress.ip_address(trimmed)
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.scope_id is not None:
        raise ValueError("an address with a zone id cannot be bound")
    return address.ipv4_mapped or address


def overlap(one: IpAddress | None, other: IpAddress | None) -> bool:
    """Return whether one port cannot be bound at both addresses.

    Without an address the Engine binds all addresses of both families.
    """
    if one is None or other is None:
        return True
    if one.version != other.version:
        return False
    return one == other or one.is_unspecified or other.is_unspecified
