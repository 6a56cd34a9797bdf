"""Every error ICS raises, by the name that people read in the console, in a row's `reason` or in an alert.

IcsError
├── RequestError            the run, or evaluation, cannot be planned; nothing was classified
│   ├── InvalidRequest      the request itself: unknown key, two sources, bad threshold
│   ├── SourceNotFound      no such bucket, or no such manifest
│   ├── SourceForbidden     ICS has no right to list or read the source
│   ├── SourceUnsafe        the source is a bucket that ICS writes to
│   ├── EmptySource         the source holds no image, or an evaluation's no file
│   ├── InvalidManifest     a manifest's line cannot be understood; the message names the line
│   ├── InvalidPolicy       the routing policy cannot be understood; the message names the key
│   ├── RunTooLarge         more images than one run can hold
│   ├── EvaluationTooLarge  more labels and predictions than one evaluation can hold
│   ├── TooManyVersions     predictions of more versions of a model than one evaluation tells apart
│   ├── RunNotFound         there is no run of this name to resume
│   ├── RunExpired          the run's working files, without which it cannot be resumed, are gone
│   └── RunStillRunning     the run, or an earlier resume of it, has not ended
├── ImageError              one image cannot be classified; its row is `failed` with this name
│   ├── EmptyObject         zero bytes
│   ├── NotAnImage          the content is no known image format, whatever the key says
│   ├── UnsupportedFormat   an image, but of a format ICS does not read
│   ├── TruncatedImage      the content ends too early
│   ├── CorruptImage        the content cannot be decoded
│   ├── TooManyPixels       larger than the pixel limit, read from the header before decoding
│   ├── ImageTooSmall       fewer pixels a side than Rekognition takes; nothing is scaled up
│   ├── ObjectTooLarge      more bytes than ICS reads for one image
│   ├── ObjectNotFound      deleted between plan and read, or never there
│   ├── ObjectChanged       overwritten between plan and read
│   ├── ObjectArchived      in an archive storage class: it must be restored before it can be read
│   ├── AccessDenied        ICS has no right to read the object
│   ├── ReadFailed          S3 did not answer, after retries
│   ├── BrokenShard         a tar cannot be read to its end; members before the break are images of their own
│   ├── EmptyShard          a tar without a picture
│   ├── CompressedShard     a compressed tar: nothing can be read from its middle
│   ├── UnreadableMember    a picture in a tar that is a link or a sparse file, or whose name is too long
│   ├── ClaimedElsewhere    another batch or run is having it classified, and did not in time (skip_classified)
│   ├── ModelRefused        the model refuses this image and no other of its body
│   ├── QuarantineFailed    the image should be hidden, but its tag could not be set: it is readable still
│   └── TagFailed           accepted, but its label could not be set as its tag
├── BatchError              a whole batch cannot be classified; its rows are `failed` with this name
│   │                       (an endpoint is whatever classifies: SageMaker's, or Rekognition)
│   ├── EndpointThrottled   the endpoint is over capacity (retried)
│   ├── EndpointUnavailable the endpoint is down, broken or timing out (retried)
│   ├── EndpointRefused     the endpoint refuses the request: missing, misnamed, no right
│   └── InvalidAnswer       the endpoint, or the net in a function, answered, but not in its format (retried)
├── InvalidBody             a request to the model server cannot be understood; names the line
├── InvalidCapture          a line of a capture file is not what SageMaker writes
├── InvalidArtifact         a model folder is not what its model.json says
├── InvalidEvent            a message is no event of an upload
├── StartFailed             Step Functions did not answer, after retries, or refused to start a run
├── NotPublished           SNS did not take a message
├── TableUnavailable        DynamoDB did not answer, after retries, or refused
├── RoleUnavailable         STS did not give the role that reads what is in quarantine
├── ReleaseFailed           an image could not be released from quarantine: it is hidden still
├── ApiError                a request to the HTTP API is refused; each has its HTTP status
│   ├── BadRequest          400: the body is not what the route takes
│   ├── PastTheFrontDoor    403: the request did not come through CloudFront
│   ├── RoleNeeded          403: the caller's groups have no role that may do this
│   ├── NoSuchRoute         404: nothing is there
│   ├── NoSuchModel         404: the environment has no model of this name, or none for this
│   ├── NoSuchImage         404: no image of this id is known
│   ├── NotEvaluated        404: the model's accuracy was never measured
│   ├── NoUploads           409: the environment classifies no uploads by itself
│   ├── MethodNotAllowed    405: the route is there, but not for this method
│   ├── BodyTooLarge        413: more bytes than the route takes
│   └── InvalidParameter    422: a parameter, or a field of the body, is not what it may be
├── FunctionFailed          another function did not answer, or ended with an error that is not of these
├── InvalidLabels           a line of a file of truth labels cannot be understood; names the line
├── InvalidPrices           a price list lacks a price, or has one that is none
├── InvalidDefinition       a state machine's definition is not one whose cost `ics plan` can predict
├── CountsMissing           a shard or a partition of an evaluation was not counted
├── RunResumed              a run was resumed before it was summarized: the resume's summary counts
└── NotReconciled           planned differs from accepted + uncertain + flagged + failed
"""


class IcsError(Exception):
    """Anything that ICS itself raises."""


class RequestError(IcsError):
    """The run cannot be planned."""


class InvalidRequest(RequestError):
    """The request's JSON is not what its schema in `statemachine/` describes."""


class SourceNotFound(RequestError):
    """The source's bucket or manifest does not exist."""


class SourceForbidden(RequestError):
    """The source may not be listed or read."""


class SourceUnsafe(RequestError):
    """The source is a bucket that ICS itself writes to."""


class EmptySource(RequestError):
    """The source holds no image, or an evaluation's no file."""


class InvalidManifest(RequestError):
    """A manifest's line cannot be understood."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


class InvalidPolicy(RequestError):
    """The routing policy, `policy.toml`, cannot be understood."""


class RunTooLarge(RequestError):
    """More images than one run can hold."""


class EvaluationTooLarge(RequestError):
    """More labels and predictions than one evaluation can hold."""


class TooManyVersions(RequestError):
    """Predictions of more versions of a model than one evaluation tells apart."""


class RunNotFound(RequestError):
    """There is no run of this name to resume."""


class RunExpired(RequestError):
    """The working files of the run to resume are gone."""


class RunStillRunning(RequestError):
    """The run to resume, or an earlier resume of it, has not ended."""


class ImageError(IcsError):
    """One image cannot be classified. The class name becomes the row's `reason`."""

    @property
    def reason(self) -> str:
        """The name that a row's `reason` holds."""
        return type(self).__name__


def image_error(reason: str) -> ImageError:
    """The image error that a row's `reason` names."""
    return next(kind for kind in ImageError.__subclasses__() if kind.__name__ == reason)()


class EmptyObject(ImageError):
    """Zero bytes."""


class NotAnImage(ImageError):
    """The content is no known image format."""


class UnsupportedFormat(ImageError):
    """An image of a format ICS does not read."""


class TruncatedImage(ImageError):
    """The content ends too early."""


class CorruptImage(ImageError):
    """The content cannot be decoded."""


class TooManyPixels(ImageError):
    """Larger than the pixel limit."""


class ImageTooSmall(ImageError):
    """Fewer pixels a side than Rekognition takes."""


class ObjectTooLarge(ImageError):
    """More bytes than ICS reads for one image."""


class ObjectNotFound(ImageError):
    """No such object (any more)."""


class ObjectChanged(ImageError):
    """Overwritten since the run was planned."""


class ObjectArchived(ImageError):
    """In an archive storage class, and not restored."""


class AccessDenied(ImageError):
    """The object may not be read."""


class ReadFailed(ImageError):
    """S3 did not answer, after retries."""


class BrokenShard(ImageError):
    """A tar that cannot be read to its end."""


class EmptyShard(ImageError):
    """A tar without a picture."""


class CompressedShard(ImageError):
    """A compressed tar."""


class UnreadableMember(ImageError):
    """A member of a tar that is not simply a file there."""


class ClaimedElsewhere(ImageError):
    """Another batch or run is having it classified, and its answer did not come in time."""


class ModelRefused(ImageError):
    """The model refuses this image alone."""


class QuarantineFailed(ImageError):
    """The image should be in quarantine, but its tag or its record could not be written."""


class TagFailed(ImageError):
    """The image is accepted, but its label could not be written as its tag."""


class BatchError(IcsError):
    """A whole batch cannot be classified. Step Functions matches these names in Retry and Catch."""


class EndpointThrottled(BatchError):
    """The endpoint is over capacity; worth another try."""


class EndpointUnavailable(BatchError):
    """The endpoint is down, broken or timing out; worth another try."""


class EndpointRefused(BatchError):
    """The endpoint refuses the request; another try would end the same."""


class InvalidAnswer(BatchError):
    """The endpoint's answer is not in the wire format."""


class InvalidBody(IcsError):
    """A request body cannot be understood.

    `line` counts from 1 in a JSON Lines body and is None for a body that is one image. `status` is the HTTP status
    that says so: 400 for a malformed line, 413 for too much, 415 for a wrong content type, 422 for a bad image.
    """

    def __init__(self, status: int, code: str, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")
        self.status, self.code, self.line = status, code, line


class InvalidCapture(IcsError):
    """A line of a capture file is not in SageMaker's capture format."""


class InvalidArtifact(IcsError):
    """A model folder is not what its model.json says."""


class InvalidEvent(IcsError):
    """A message is no event of an upload to where uploads are classified."""


class StartFailed(IcsError):
    """Step Functions did not answer, after retries, or refused to start a run."""


class NotPublished(IcsError):
    """SNS did not take a message, or did not answer."""


class TableUnavailable(IcsError):
    """DynamoDB did not answer, after retries, or refused."""


class RoleUnavailable(IcsError):
    """STS did not give the role that reads what is in quarantine."""


class ReleaseFailed(IcsError):
    """The image could not be released from quarantine: it is hidden still."""


class ApiError(IcsError):
    """A request to the HTTP API is refused, with the HTTP status `status`."""

    status = 400


class BadRequest(ApiError):
    """The body is not what the route takes."""


class PastTheFrontDoor(ApiError):
    """The request did not come through CloudFront."""

    status = 403


class RoleNeeded(ApiError):
    """The caller is signed in, but is in no group that may do this."""

    status = 403


class NoSuchRoute(ApiError):
    """Nothing is there."""

    status = 404


class NoSuchModel(ApiError):
    """The environment has no model of this name, or none that does this."""

    status = 404


class NoSuchImage(ApiError):
    """No image of this id is known."""

    status = 404


class NotEvaluated(ApiError):
    """The model's accuracy was never measured."""

    status = 404


class MethodNotAllowed(ApiError):
    """The route is there, but not for this method. `allowed` are those it is for."""

    status = 405

    def __init__(self, problem: str, allowed: str) -> None:
        super().__init__(problem)
        self.allowed = allowed


class NoUploads(ApiError):
    """The environment has no `[events]`: what is uploaded is not classified by itself."""

    status = 409


class BodyTooLarge(ApiError):
    """More bytes than the route takes."""

    status = 413


class InvalidParameter(ApiError):
    """A parameter, or a field of the body, is not what it may be."""

    status = 422


class FunctionFailed(IcsError):
    """Another function did not answer, or ended with an error that has no name of ours."""


class InvalidLabels(IcsError):
    """A line of a file of truth labels cannot be understood."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


class InvalidPrices(IcsError):
    """A price list is not one that a cost can be computed with."""


class InvalidDefinition(IcsError):
    """A state machine's definition is not one whose cost can be predicted."""


class CountsMissing(IcsError):
    """A shard or a partition of an evaluation was not counted: figures of the others would be wrong."""


class RunResumed(IcsError):
    """The run was resumed meanwhile, and summarized: an earlier attempt's summary would no longer be true."""


class NotReconciled(IcsError):
    """planned differs from accepted + uncertain + flagged + failed."""
