"""A model artifact as SageMaker takes it: `model.tar.gz`, which it unpacks into /opt/ml/model.

The archive is deterministic (sorted, undated, unowned) and kept under `build/`, so that an
unchanged model is not deployed again.
"""

import gzip
import hashlib
import io
import tarfile
import tempfile
from pathlib import Path

from stacks.config import ROOT

FILES = ("card.md", "model.json", "model.onnx")


def pack_artifact(folder: Path, build: Path = ROOT / "build") -> Path:
    """Pack the artifact in `folder`, `FILES` at the archive's root; raises FileNotFoundError where one is missing."""
    contents = {name: (folder / name).read_bytes() for name in FILES}
    key = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents.values())).hexdigest()[:16]
    archive = build / "models" / f"{folder.name}-{key}.tar.gz"
    if not archive.exists():
        archive.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.NamedTemporaryFile(dir=archive.parent, delete=False) as file,
            gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for name, content in contents.items():
                info = tarfile.TarInfo(name)  # mode 0644, no owner, dated 1970
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        Path(file.name).replace(archive)  # whole or not at all, whoever else is synthesizing
    return archive
