"""What a container needs of this machine to reach an object store as its user does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

#: Variables that Google's and Amazon's clients and relrec's own transfers read. Those that hold a
#: secret reach the container's environment and no log.
VARIABLES = (
    "GOOGLE_CLOUD_PROJECT", "STORAGE_EMULATOR_HOST",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION",
    "AWS_DEFAULT_REGION", "AWS_ROLE_ARN", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3",
    "RELREC_STORAGE_DEADLINE_S", "RELREC_STORAGE_TIMEOUT_S", "RELREC_STORAGE_CHUNK_MIB",
    "RELREC_STORAGE_PARALLEL",
)

#: Variables that name a file, and where the clients look without it.
_FILES = {
    "GOOGLE_APPLICATION_CREDENTIALS": "~/.config/gcloud/application_default_credentials.json",
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "",
    "AWS_CA_BUNDLE": "",
    "REQUESTS_CA_BUNDLE": "",
}


def store_access(caller: Mapping[str, str]) -> tuple[dict[str, str], list[Path]]:
    """Variables to set, and files to mount at the same path.

    Args:
        caller: Environment of this process.

    Example:
        >>> store_access({"AWS_REGION": "eu-west-1", "PATH": "/bin", "HOME": "/nowhere"})
        ({'AWS_REGION': 'eu-west-1'}, [])
    """
    environment = {name: caller[name] for name in VARIABLES if name in caller}
    files = []
    for name, usual in _FILES.items():
        place = caller.get(name) or usual.replace("~", caller.get("HOME", "/nonexistent"))
        if place and Path(place).is_file():
            environment[name] = place
            files.append(Path(place))
    return environment, files
