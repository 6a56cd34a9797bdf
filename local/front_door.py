"""The page's own port: what is asked there is asked of the deployed CloudFront distribution.

MiniStack knows a distribution by the host name `<label>.cloudfront.localhost`, which browsers find on this machine, but
not every program does. A port needs no name, and `localhost` is a secure context, as cameras ask for.
"""

from collections.abc import MutableMapping
from typing import Any

from ministack.services import cloudfront


def addressed(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any] | None:
    """The request as it would come to the distribution by its name; None where none is deployed."""
    domains = [str(one["DomainName"]) for one in cloudfront._distributions.values()]
    if not domains:
        return None
    headers = [(name, value) for name, value in scope["headers"] if name != b"host"]
    return {**scope, "headers": [*headers, (b"host", domains[-1].encode())]}
