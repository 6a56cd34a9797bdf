"""`ics plan`: what a run will need and cost on AWS, before it is started."""

import math
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from cli import runs, show
from cli.deployment import LOCAL, connect
from cli.options import Json, Model, SkipClassified, app, complete_environment, print_json, state
from cli.synthesized import Synthesized, synthesized
from ics.artifact import InputSpec
from ics.batches import MAX_BATCH_IMAGES, USUAL_BATCH_IMAGES, BatchCutter, even_batches
from ics.contracts import ImageRef
from ics.errors import EmptySource, InvalidPrices, InvalidRequest, SourceForbidden, SourceNotFound, SourceUnsafe
from ics.forecast import Forecast, forecast, naive
from ics.manifests import parse_manifest
from ics.prices import Prices, prices_from
from ics.request import MANIFEST_ENDINGS, split_uri
from ics.shards import is_compressed, is_shard, picture_of
from ics.tar import BrokenArchive, entries
from ics.work import Load, Times

PRICES = Path(__file__).with_name("prices.toml")

HEADERS = 128 * 1024
"""Bytes of a shard that are read at once: headers of small images lie close together."""

SHARD = 1_000
"""Images of a .tar shard, where `--shards` counts with them."""

PRODUCTION = "prod"
"""The environment of a run whose images are nowhere on AWS yet: the local one costs nothing."""

PlannedEnv = Annotated[
    str | None,
    typer.Option(
        "--env",
        envvar="ICS_ENV",
        metavar="NAME",
        help=f"The environment, else {LOCAL} for a source in S3, and {PRODUCTION} for all others.",
        autocompletion=complete_environment,
    ),
]

Sized = Iterator[tuple[ImageRef, int]]


@app.command()
def plan(
    source: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="s3://bucket/prefix, a manifest in S3, or a local folder.")
    ] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Instead of a source: so many images.")] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, max=MAX_BATCH_IMAGES, help="Images a batch, else as the environment says.")
    ] = None,
    shards: Annotated[
        bool, typer.Option("--shards", help=f"With --images: they lie in .tar shards of {SHARD:,}.")
    ] = False,
    model: Model = None,
    decode_ms: Annotated[float, typer.Option(min=0, help="Milliseconds to decode an image.")] = Times().decode,
    infer_ms: Annotated[float, typer.Option(min=0, help="Milliseconds of the model for an image.")] = Times().infer,
    doubted_percent: Annotated[
        float, typer.Option(min=0, max=100, help="Images of a hundred that need a person; they wait in the table.")
    ] = 2.0,
    skip_classified: SkipClassified = None,
    prices: Annotated[
        Path, typer.Option(metavar="FILE", help="A price list, else us-east-1's, cli/prices.toml.", show_default=False)
    ] = PRICES,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also what the usual design would cost: a Map, 3 functions an image.")
    ] = False,
    env: PlannedEnv = None,
    json_: Json = False,
) -> None:
    """Predict what a run needs and costs on AWS: batches, history, state, time, dollars. Nothing is started.

    Counted with the environment's own templates and a price list. A source is listed; of shards the headers are read.

    Example: `ics plan --images 1000000 --batch 1000`
    """
    if (source is None) == (images is None):
        raise typer.BadParameter("give exactly one of SOURCE or --images")
    if shards and images is None:
        raise typer.BadParameter("--shards goes with --images; the shards of a source are found by listing it")
    env = env or (LOCAL if source is not None and source.startswith("s3://") else PRODUCTION)
    with show.err.status("Synthesizing the templates"):
        made = synthesized(env, state())
    chosen = made.chosen(model)
    list_ = read_prices(prices)
    size = _sent_bytes(made.input_of(chosen))
    if images is not None:
        first = batch or made.batch_images(chosen)
        if shards and first >= USUAL_BATCH_IMAGES:
            first = SHARD
        batches = even_batches(images, first)
        objects = max(batches, -(-images // SHARD)) if shards else images
        load = Load(images=images, batches=batches, objects=objects, image_bytes=size, listed=objects)
    else:
        load = _load_of(str(source), made, batch or made.batch_images(chosen), size, env)
    skip = made.skips_classified(chosen, skip_classified)
    load = replace(load, doubted=doubted_percent / 100, skip_classified=skip)
    times = Times(decode=decode_ms, infer=infer_ms)
    design = made.design(chosen)
    found = forecast(design, load, times, list_)
    other = naive(design, load.images, times, list_) if compare else None
    if json_:
        told = _json(found, times, list_, other, chosen, env)
        print_json({**told, "doubted_percent": doubted_percent})
    else:
        show.forecast(found, chosen, list_, times, other, doubted_percent)


def read_prices(path: Path) -> Prices:
    """A price list in TOML.

    Raises:
        InvalidPrices: it cannot be read, or lacks a price.
    """
    try:
        return prices_from(tomllib.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise InvalidPrices(f"{path}: {error}") from error
    except InvalidPrices as error:
        raise InvalidPrices(f"{path}: {error}") from error


def _load_of(source: str, made: Synthesized, batch: int, size: int, env: str) -> Load:
    """Cut the source's images as PlanRun would.

    Raises:
        SourceNotFound, SourceForbidden, SourceUnsafe, EmptySource, InvalidManifest, InvalidRequest, RunTooLarge: as
            PlanRun does.
    """
    cutter, in_shards, objects = BatchCutter(batch, int(made.settings["BATCH_SOURCE_BYTES"])), Counter[str](), 0
    uploaded = Counter[str]()  # by bucket: under the upload prefix, of which only ours counts
    manifest = source.startswith("s3://") and source.lower().endswith(MANIFEST_ENDINGS)
    for ref, content in _images(source, env, manifest=manifest):
        cutter.add(ref, content)
        if made.upload_prefix and ref.key.startswith(made.upload_prefix):
            uploaded[ref.bucket] += 1
        if ref.member:
            in_shards[ref.key] += 1
        elif not ref.fault:  # nothing is read for what cannot be
            objects += 1
    if not cutter.images:
        raise EmptySource(f"{source} holds no image")
    listed = 0 if manifest else objects + len(in_shards)
    return Load(
        images=cutter.images,
        batches=len(cutter.spans()),
        objects=objects + sum(math.ceil(members / batch) for members in in_shards.values()),  # of a batch and a shard
        image_bytes=size,
        listed=listed,
        manifest=manifest,
        uploaded=uploaded[connect(env, state()).images_bucket] if uploaded and source.startswith("s3://") else 0,
    )


def _images(source: str, env: str, *, manifest: bool) -> Sized:
    if not source.startswith("s3://"):
        folder = Path(source)
        if not folder.exists():
            raise SourceNotFound(f"{source} does not exist; give s3://bucket/prefix, a manifest in S3, or a folder")
        yield from ((ImageRef("b", key), path.stat().st_size) for key, path in runs.find_pictures([folder])[0].items())
        return
    try:
        bucket, key = split_uri(source)
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    deployment = connect(env, state())
    own = (deployment.working_bucket, deployment.results_bucket)
    if bucket in own:
        raise SourceUnsafe(f"{bucket!r} holds ICS's own files; keep images in another bucket")
    s3 = deployment.s3
    try:
        for ref, size in _listed(s3, bucket, key, manifest=manifest):
            if ref.bucket in own:
                raise SourceUnsafe(f"{ref.uri!r} is a file of ICS's own; keep images in another bucket")
            if is_shard(ref.key):
                yield from _members(s3, ref)
            elif is_compressed(ref.key):
                yield replace(ref, fault="CompressedShard"), 0
            else:
                yield ref, size
    except ClientError as error:
        missing = error.response["Error"]["Code"] in ("NoSuchBucket", "NoSuchKey", "404")
        raise (SourceNotFound if missing else SourceForbidden)(f"{source}: {error}") from error


def _listed(s3: Any, bucket: str, key: str, *, manifest: bool) -> Sized:
    if manifest:
        yield from parse_manifest(key, s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1024 * 1024))
        return
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
        for item in page.get("Contents", ()):
            if not item["Key"].endswith("/"):
                yield ImageRef(bucket, item["Key"], item["ETag"].strip('"')), int(item["Size"])


def _members(s3: Any, shard: ImageRef) -> Sized:
    """The images in a shard, by its members' headers; with an image more, as in a run, where it is broken or has none.

    What of it cannot be read in a run is planned all the same.
    """
    total = int(s3.head_object(Bucket=shard.bucket, Key=shard.key)["ContentLength"])
    start, held = 0, b""

    def read(offset: int, length: int) -> bytes:
        nonlocal start, held
        if not start <= offset <= offset + length <= start + len(held):
            last = min(total, offset + max(length, HEADERS)) - 1
            part = s3.get_object(Bucket=shard.bucket, Key=shard.key, Range=f"bytes={offset}-{last}")
            start, held = offset, part["Body"].read()
        return held[offset - start : offset - start + length]

    found, fault = 0, ""
    try:
        for entry in entries(read, total):
            if (image := picture_of(shard, entry, entry.size)) is not None:
                found += 1
                yield image, entry.size
    except BrokenArchive:
        fault = "BrokenShard"
    if fault or not found:
        yield replace(shard, fault=fault or "EmptyShard"), 0


def _sent_bytes(spec: InputSpec | None) -> int:
    """Bytes of an image's line to the model: base64 of a PNG (at most a byte a channel) or JPEG (about one a pixel).

    A photograph of two megapixels, as Rekognition gets it, takes half a megabyte.
    """
    if spec is None:
        return 100 + 500_000 * 4 // 3
    pixels = spec.width * spec.height
    channels = 3 if spec.colour == "rgb" and max(spec.width, spec.height) <= 64 else 1
    return 100 + pixels * channels * 4 // 3


def _json(
    found: Forecast, times: Times, prices: Prices, other: float | None, model: str, env: str
) -> Mapping[str, Any]:
    """Everything that was predicted, and what it was predicted from."""
    fields = asdict(found)
    cost = fields.pop("cost")
    more = {} if other is None else {"naive_cost_usd": other}
    return {
        "environment": env,
        "model": model,
        "cost_usd": found.cost_usd,
        "cost_usd_per_million": found.cost_usd / found.images * 1e6,
        "cost_usd_by_service": cost,
        **fields,
        **more,
        "times_ms": asdict(times),
        "prices": {"source": prices.source, "date": prices.date, "region": prices.region},
    }
