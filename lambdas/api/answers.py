"""What the API takes and gives, as JSON: frozen dataclasses, of which `/openapi.json` is made."""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Problem:
    """A refusal (RFC 9457). `type` leads to what it means; its fragment is the error's name."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


@dataclass(frozen=True)
class Alternative:
    """Another label, or a character that was read."""

    label: str
    confidence: float


@dataclass(frozen=True)
class Box:
    """A detected object, relative to the upright picture."""

    label: str
    confidence: float
    left: float
    top: float
    width: float
    height: float


Decision = Literal["accepted", "uncertain", "flagged", "failed"]


@dataclass(frozen=True)
class Verdict:
    """What a model says of a picture, and whether it is trusted. Of a failed one there is no label."""

    image_id: str
    model: str
    model_version: str
    decision: Decision
    reason: str | None
    label: str | None
    confidence: float | None
    alternatives: list[Alternative]
    boxes: list[Box]
    text: str | None
    threshold: float
    decided_at: str
    name: str


@dataclass(frozen=True)
class Classified(Verdict):
    """A verdict, and where it will be found again."""

    self: str


@dataclass(frozen=True)
class ImageBody:
    """A picture's bytes in base64."""

    image: str


@dataclass(frozen=True)
class Read:
    """A line of text, and how sure the model is of it, from 0 to 1."""

    result: str
    confidence: float


@dataclass(frozen=True)
class Upload:
    """A form to POST to `url` as multipart/form-data: all `fields` first, and last the picture as `file`.

    `id` is what /v1/images/{id} knows it by, once it is there.
    """

    id: str
    url: str
    fields: dict[str, str]
    max_bytes: int
    expires_in: int
    self: str


@dataclass(frozen=True)
class Label:
    """A truth label; null withdraws what the same person said before."""

    label: str | None
    by: str
    at: str


@dataclass(frozen=True)
class Image:
    """What is known of a picture. `state` is waiting until it is classified; only then are there a verdict and labels.

    `picture` is a short-lived URL of it; of one in quarantine only reviewers get one. `truth` are the labels that
    count: two are a conflict.
    """

    id: str
    state: Literal["waiting", "classified"]
    verdict: Verdict | None
    picture: str | None
    quarantined: bool
    labels: list[Label]
    truth: list[str]


@dataclass(frozen=True)
class LabelBody:
    """The truth about a picture, or null to withdraw one's own label."""

    label: str | None


@dataclass(frozen=True)
class QuarantineBody:
    """Whether a picture is hidden from all but reviewers, and why: a text of 1 to 1,000 characters."""

    quarantined: bool
    because: str


@dataclass(frozen=True)
class Waiting:
    """A picture that waits for a reviewer."""

    image_id: str
    s3_uri: str | None
    label: str | None
    confidence: float | None
    decision: Decision
    reason: str | None
    decided_at: str | None


@dataclass(frozen=True)
class Reviews:
    """Pictures that are now the caller's to look at, the worst first, for `lease_seconds`; `next` asks for more."""

    model: str
    items: list[Waiting]
    lease_seconds: int
    next: str | None


@dataclass(frozen=True)
class Started:
    """A run that has begun."""

    run: str
    self: str


@dataclass(frozen=True)
class Run:
    """A run in a list; counts are null until it has a summary."""

    run: str
    status: str
    started: str
    ended: str | None
    planned: int | None
    accepted: int | None
    uncertain: int | None
    flagged: int | None
    failed: int | None


@dataclass(frozen=True)
class Runs:
    """Runs, the latest first."""

    items: list[Run]
    next: str | None


@dataclass(frozen=True)
class Progress:
    """Children of the run's Map: how many there are, and how many have ended."""

    children: int
    done: int


@dataclass(frozen=True)
class Alert:
    """What people were told, as an e-mail says it."""

    at: str
    subject: str
    text: str


@dataclass(frozen=True)
class RunDetail:
    """How a run stands. `sheet` is a short-lived URL of its contact sheet; it and `summary` come at the run's end.

    `alerts` are the first that were sent about watched labels, and at the end the run's digest; `more_alerts` says
    whether there were more.
    """

    run: str
    status: str
    started: str
    ended: str | None
    planned: int | None
    progress: Progress | None
    summary: dict[str, Any] | None
    sheet: str | None
    alerts: list[Alert]
    more_alerts: bool


@dataclass(frozen=True)
class Model:
    """One of the environment's models. `version` is null where it is known only afterwards."""

    name: str
    default: bool
    version: str | None
    kind: Literal["endpoint", "lambda", "rekognition"]
    threshold: float
    policy: str


@dataclass(frozen=True)
class Models:
    """The environment's models; `text` is the one of /getPrediction, `uploads` whether /v1/uploads is there."""

    items: list[Model]
    text: str | None
    uploads: bool
