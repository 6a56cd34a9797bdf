"""CloudFront: an HTTP API as origin, by its own host name.

MiniStack answers 502 for an origin at a host of AWS's, but for load balancers and Function URLs, and takes `*` in a
path pattern for all but line breaks ("0 or more characters", "Path pattern" in the guide below); this hands such a
request on to the API inside the emulator, with the origin's custom headers, as CloudFront sends it (Amazon CloudFront
Developer Guide, "Use an Amazon API Gateway as origin" and "Add custom headers to origin requests").
"""

import asyncio
import http.client
import re
from typing import Any
from urllib.parse import parse_qs, unquote

from ministack import app
from ministack.services import cloudfront

HOST = re.compile(r"([a-z0-9]+)\.execute-api\.[a-z0-9-]+\.amazonaws\.com")


def apply() -> None:
    """Answer for such origins, and leave all others to the emulator."""
    fetch = cloudfront._fetch_from_origin

    async def fetched(
        origin: dict[str, Any], method: str, uri: str, query: str, headers: dict[str, Any], body: bytes, *rest: Any
    ) -> tuple[Any, ...]:
        host = cloudfront._normalize_origin_host(origin["domain_name"])
        found = HOST.fullmatch(host)
        if found is None:
            answer: tuple[Any, ...] = await fetch(origin, method, uri, query, headers, body, *rest)
            return answer
        _over_tls, client_ip, forwarded_for, _arn = rest
        sent = cloudfront._origin_request_headers(origin, headers, client_ip, forwarded_for)
        path = (origin.get("origin_path") or "") + uri
        asked = app._handle_execute_api_request(
            f"{found[1]}.execute-api.localhost", unquote(path), method, {n.lower(): v for n, v in sent.items()},
            body or b"", parse_qs(query, keep_blank_values=True), raw_path=path, raw_query_string=query,
        )  # fmt: skip
        try:
            status, given, content = await asyncio.wait_for(asked, origin.get("read_timeout", 30))
        except TimeoutError as error:
            raise cloudfront.OriginTimeout(f"no response of {host}") from error
        pairs = [(name, one) for name, some in given.items() for one in (some if isinstance(some, list) else [some])]
        return status, http.client.responses.get(status, ""), cloudfront._multidict_from_pairs(pairs), content

    cloudfront._fetch_from_origin = fetched
    regex = cloudfront._glob_to_regex
    cloudfront._glob_to_regex = lambda pattern: re.compile(regex(pattern).pattern, re.DOTALL)
