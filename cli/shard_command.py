"""`ics shard`: a folder of pictures as .tar shards, of which a thousand images cost one request to read."""

from pathlib import Path
from typing import Annotated

import typer

from cli import show
from cli.deployment import LOCAL, connect
from cli.options import Env, Json, app, env_option, print_json, state
from cli.outcome import progress
from cli.sharding import Bucket, Folder, Place, cut, pack, pictures_in
from ics.batches import MAX_BATCH_IMAGES
from ics.request import split_uri


@app.command()
def shard(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Pictures, also in folders below.")],
    out: Annotated[str, typer.Option(metavar="PLACE", help="A folder, or s3://bucket/prefix/.")],
    images_per_shard: Annotated[
        int, typer.Option(min=1, help=f"At most so many; a batch reads up to {MAX_BATCH_IMAGES:,} at once.")
    ] = MAX_BATCH_IMAGES,
    env: Env = LOCAL,
    json_: Json = False,
) -> None:
    """Pack pictures into .tar shards, in WebDataset's layout; a shard that is there already is not packed again.

    The same pictures make the same bytes. A shard has at most 256 MB, so that it can be read at once.

    Example: `ics shard photos/ --out /tmp/shards/`
    """
    try:
        pictures, others = pictures_in(folder)
        place = _place(out, env)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    if not pictures:
        raise typer.BadParameter(f"no picture in {folder}", param_hint="FOLDER")
    if others and not json_:
        show.err.print(f"Left out {others:,} files that are no pictures by their names, or hidden.", style="dim")
    groups = list(cut(pictures, images_per_shard))
    with progress() as bar:
        task = bar.add_task("Packing", total=len(pictures))
        try:
            made, kept = pack(groups, folder.resolve().name, place, lambda count: bar.advance(task, count))
        except OSError as error:
            raise typer.BadParameter(str(error)) from error
    if json_:
        print_json({"images": len(pictures), "shards": len(groups), "made": made, "kept": kept, "skipped": others})
        return
    show.out.print(
        f"{len(pictures):,} images in {len(groups):,} shards in {out}: {made:,} packed, {kept:,} there already"
    )
    if out.startswith("s3://"):
        following = f"Next: {show.COMMAND} start --prefix {out}{env_option(env)} --wait"
        show.out.print(following, style="dim", soft_wrap=True)


def _place(out: str, env: str) -> Place:
    if not out.startswith("s3://"):
        return Folder(Path(out))
    bucket, prefix = split_uri(out)
    return Bucket(connect(env, state()).s3, bucket, prefix if prefix.endswith("/") or not prefix else f"{prefix}/")
