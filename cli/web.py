"""The web side of an environment: where page and HTTP API are, who may sign in here, and what the page is made of."""

import contextlib
import json
import mimetypes
import secrets
import string
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from cli.deployment import LOCAL, ROOT, Deployment, EnvironmentUnavailable
from local import control

ROLES = ("viewer", "reviewer", "operator")
PASSWORDS = "passwords.json"
"""In the state folder: what the local users' passwords are."""

PAGE = ROOT / "web" / "dist"
"""The page's files, as `make` builds them."""

CONFIG = "config.json"
"""Beside the page: where and as what it signs people in."""


@dataclass(frozen=True)
class Web:
    """`page` is where people go, `api` what programs put before `/v1/...`: the same origin."""

    page: str
    api: str
    site_bucket: str
    distribution: str
    user_pool: str
    client: str


def find(deployment: Deployment, state: Path) -> Web:
    """The web side of an environment.

    Raises:
        EnvironmentUnavailable: it has none.
    """
    formation = deployment.session.client("cloudformation", endpoint_url=deployment.endpoint_url)
    try:
        (stack,) = formation.describe_stacks(StackName=f"ics-{deployment.name}-web")["Stacks"]
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        raise EnvironmentUnavailable(
            f"Environment {deployment.name!r} has no page: add [web] to environments/{deployment.name}.toml and deploy"
        ) from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    running = control.status(state) if deployment.name == LOCAL else None
    page = running.page_url if running else f"https://{outputs['PageDomain']}"
    return Web(
        page=f"{page}/",
        api=page,
        site_bucket=outputs["SiteBucketName"],
        distribution=outputs["DistributionId"],
        user_pool=outputs["UserPoolId"],
        client=outputs["UserPoolClientId"],
    )


def build() -> None:
    """Build the page, where its sources are newer than what is there.

    Raises:
        EnvironmentUnavailable: it cannot be built; what the tools said has been shown.
    """
    if subprocess.run(["make", "--silent", "web/dist/built"], cwd=ROOT, check=False).returncode:
        raise EnvironmentUnavailable("The page cannot be built: see above")


def publish(deployment: Deployment, web: Web, folder: Path = PAGE) -> int:
    """Put the page's files where CloudFront serves them from, and have it forget the old ones; how many there are.

    Files with a hash in their name (`assets/`) are kept by browsers for ever, all others are asked for each time.
    The page itself comes last, when all that it names is there. Names that start with a dot, and stamps, stay here.
    """
    named = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix}
    contents = {key: path.read_bytes() for key, path in named.items() if path.is_file()}
    contents[CONFIG] = json.dumps(_sign_in(deployment, web)).encode()
    for key in sorted(contents, key=lambda key: (not key.startswith("assets/"), key == "index.html", key)):
        kind = mimetypes.guess_type(key)[0] or "application/octet-stream"
        deployment.s3.put_object(
            Bucket=web.site_bucket,
            Key=key,
            Body=contents[key],
            ContentType=f"{kind}; charset=utf-8" if kind.startswith("text/") else kind,
            CacheControl="public, max-age=31536000, immutable" if key.startswith("assets/") else "no-cache",
        )
    if deployment.endpoint_url is None:  # the emulator's caches nothing
        client = deployment.session.client("cloudfront")
        paths = {"Quantity": 1, "Items": ["/*"]}
        client.create_invalidation(
            DistributionId=web.distribution, InvalidationBatch={"Paths": paths, "CallerReference": secrets.token_hex(8)}
        )
    return len(contents)


def _sign_in(deployment: Deployment, web: Web) -> dict[str, str]:
    """What the page must know of its environment: nothing of it is secret."""
    region = deployment.session.region_name
    endpoint = deployment.endpoint_url or f"https://cognito-idp.{region}.amazonaws.com"
    found = {"environment": deployment.name, "region": region, "user_pool": web.user_pool, "client": web.client}
    return {**found, "sign_in": endpoint}


def local_token(deployment: Deployment, web: Web, role: str, state: Path) -> str:
    """Sign in as the local user of a role, who is made on first use, and give the access token: it lasts an hour.

    Raises:
        EnvironmentUnavailable: the environment is not the local one.
    """
    if deployment.name != LOCAL:
        raise EnvironmentUnavailable("Users of an environment on AWS sign in on its page; this is for the local one")
    pool = deployment.session.client("cognito-idp", endpoint_url=deployment.endpoint_url)
    answer = pool.admin_initiate_auth(
        UserPoolId=web.user_pool,
        ClientId=web.client,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": role, "PASSWORD": _local_user(pool, web, role, state)},
    )
    return str(answer["AuthenticationResult"]["AccessToken"])


def _local_user(pool: Any, web: Web, role: str, state: Path) -> str:
    """The password of the local user of a role."""
    file = state / PASSWORDS
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    name = f"{web.user_pool}/{role}"
    if name in known:
        return known[name]
    letters = string.ascii_letters + string.digits
    known[name] = "".join(secrets.choice(letters) for _ in range(24)) + "aA1!"
    user = {"UserPoolId": web.user_pool, "Username": role}
    with contextlib.suppress(pool.exceptions.UsernameExistsException):
        pool.admin_create_user(**user, MessageAction="SUPPRESS", TemporaryPassword=known[name])
    pool.admin_set_user_password(**user, Password=known[name], Permanent=True)
    pool.admin_add_user_to_group(**user, GroupName=role)
    file.touch(mode=0o600, exist_ok=True)
    file.chmod(0o600)
    file.write_text(json.dumps(known))
    return known[name]
