"""CloudFront: many viewers at once are served, some at a time.

MiniStack runs each request's edge function and Lambda function in a process of its own, as many as there are requests:
a hundred viewers at once are two hundred processes, which nothing survives on two cores. AWS has machines enough; here
the others wait their turn.
"""

import asyncio
from typing import Any

from ministack.core import cloudfront_js
from ministack.services import cloudfront

AT_ONCE = 8


def apply() -> None:
    """Serve so many at once, and keep as many processes for edge functions."""
    handle, turns = cloudfront.handle_viewer_request, asyncio.Semaphore(AT_ONCE)
    cloudfront_js._pool.max_idle = AT_ONCE

    async def handled(*request: Any, **options: Any) -> Any:
        async with turns:
            return await handle(*request, **options)

    cloudfront.handle_viewer_request = handled
