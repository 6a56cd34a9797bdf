"""What is allowed though no test makes the call, and why: one row a reason.

A row is whose right it is, the action, the resource pattern (each may hold wildcards), and who calls it when.
"""

from fnmatch import fnmatchcase

from stacks.config import load_config

ON_AWS = sorted({model for environment in ("dev", "staging", "prod") for model in load_config(environment).endpoints})
MODELS = sorted({*ON_AWS, *load_config("local").endpoints})
LAMBDA_LOGS = "Lambda itself writes a function's log as its role; the emulator keeps logs without a call"
SAGEMAKER_LOGS = "SageMaker's host writes the container's log and metrics; the stand-in's server writes a file"
IMAGE_PULL = "SageMaker pulls the image from ECR; the local environment has none"
TRAINING_JOB = "SageMaker trains on AWS only; its Developer Guide lists what the role of CreateTrainingJob needs"
TWICE = "only where the queue delivers an alert again"
WAITING = "only where alerts come faster than they may be mailed"
REVIEWER = "people assume it through `ics quarantine`, in a session whose calls are not recorded as the role's"
UNVERSIONED = "an image whose version nobody knows, as in a source bucket without versions; the images bucket has them"
LOG_DELIVERY = "Step Functions sets up the delivery of its log; the emulator delivers none"
POLLER = "Lambda itself polls a function's queue as its role; the emulator hands messages over without a call"
DELETED = "an image that is deleted after it was read is told as missing, not as forbidden, when it is to be tagged"
MISSING = "a file that is not there is told as missing, not as forbidden; what these functions read is there in any run"
FIRST_TRY = "only a second try looks for predictions that may not be there; here the first one succeeds"
MANY_FILES = "only where what follows tens of thousands of files turns out to be missing"
OWN_REDRIVE = "granted with Stop and Describe; whoever redrives the run itself does so with rights of their own"

BY_FORM = "by the form of an upload, which a browser sends to S3: the emulator's record does not look into forms"
API_TAGS = "only where the policy tags what is accepted, and where an image without a version is to be hidden"

UNUSED = (
    ("*", "logs:CreateLogStream", "*:log-group:/aws/lambda/*", LAMBDA_LOGS),
    ("*", "logs:PutLogEvents", "*:log-group:/aws/lambda/*", LAMBDA_LOGS),
    *(
        row
        for model in MODELS
        for row in (
            (model, "logs:*", "*:log-group:/aws/sagemaker/Endpoints/*", SAGEMAKER_LOGS),
            (model, "cloudwatch:PutMetricData", "*", SAGEMAKER_LOGS),
        )
    ),
    *((model, "ecr:*", "*", IMAGE_PULL) for model in ON_AWS),
    ("training", "*", "*", TRAINING_JOB),
    ("reviewer", "*", "*", REVIEWER),
    ("pace-mail", "sqs:[DGR]*", "*", POLLER),
    ("pace-mail", "sqs:ChangeMessageVisibility", "*", WAITING),
    ("pace-mail", "dynamodb:GetItem", "*", TWICE),
    *(
        row
        for machine in ("classify-images", "evaluate")
        for row in (
            (machine, "logs:*", "*", LOG_DELIVERY),
            (machine, "states:RedriveExecution", "*:execution:*:[*]", OWN_REDRIVE),
        )
    ),
    ("start-run", "sqs:*", "*:ics-*-uploads", POLLER),
    ("plan-evaluation", "s3:AbortMultipartUpload", "*:::Working/evaluations/[*]", MANY_FILES),
    ("serialize-image-data", "s3:ListBucket", "*:::Working", MISSING),
    ("filter-low-confidence", "s3:ListBucket", "*:::Working", MISSING),
    ("filter-low-confidence", "s3:ListBucket", "*:::Images", DELETED),
    ("classify-in-lambda-*", "s3:ListBucket", "*:::Working", FIRST_TRY),
    ("classify-with-rekognition", "s3:ListBucket", "*:::Working", FIRST_TRY),
    ("make-contact-sheet", "s3:ListBucket", "*", MISSING),
    ("make-contact-sheet", "s3:GetObject", "*:::Images/[*]", UNVERSIONED),
    ("filter-low-confidence", "s3:*ObjectTagging", "*:::Images/[*]", UNVERSIONED),
    ("api", "s3:PutObject", "*:::Images/incoming/[*]", BY_FORM),
    ("api", "s3:*ObjectTagging", "*:::Images/[*]", API_TAGS),
    ("api", "s3:GetObject", "*:::Images/[*]", UNVERSIONED),
)


def reason(who: str, action: str, resource: str) -> str | None:
    """Why this right is there, None where nobody says."""
    return next(
        (
            why
            for *row, why in UNUSED
            if all(fnmatchcase(value, pattern) for value, pattern in zip((who, action, resource), row, strict=True))
        ),
        None,
    )
