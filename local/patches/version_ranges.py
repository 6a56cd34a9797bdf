"""S3: a range of a given version is answered as a range of the current one is.

API reference, GetObject: `Range` and `versionId` go together, and the answer is 206 with `Content-Range`, or 416.
MiniStack answers such a request with the whole version.
"""

from typing import Any

from ministack.services import s3


def apply() -> None:
    """Cut what the emulator answers to a GET that names a version and a range."""
    handle = s3.handle_request

    async def cut(method: str, path: str, headers: dict[str, str], body: bytes, query: Any, *rest: Any,
                  **options: Any) -> Any:  # fmt: skip
        status, given, content = await handle(method, path, headers, body, query, *rest, **options)
        wanted = headers.get("range", "")
        if not (method == "GET" and status == 200 and wanted and s3._qp(query, "versionId", "")):
            return status, given, content
        found = s3._parse_range(wanted, len(content))
        if found is None:
            refused = {"Content-Type": "application/xml", "Content-Range": f"bytes */{len(content)}"}
            return 416, refused, s3._xml_body(s3._range_error_xml(*s3._parse_bucket_key(path, headers)))
        start, end = found
        part = content[start : end + 1]
        part_of = f"bytes {start}-{end}/{len(content)}"
        return 206, {**given, "Content-Length": str(len(part)), "Content-Range": part_of}, part

    s3.handle_request = cut
