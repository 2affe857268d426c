"""What a container needs of this machine to reach an object store as its user does."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_core.errors import ConfigError

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
    """Variables to set, and files to mount at the same path, which is absolute.

    Args:
        caller: Environment of this process.

    Example:
        >>> store_access({"AWS_REGION": "eu-west-1", "PATH": "/bin", "HOME": "/nowhere"})
        ({'AWS_REGION': 'eu-west-1'}, [])
    """
    environment = {name: caller[name] for name in VARIABLES if name in caller}
    files = []
    for name, usual in _FILES.items():
        place = re.sub(r"^~(?=/)", lambda _: caller.get("HOME", "/nonexistent"), caller.get(name) or usual)
        if place and Path(place).is_file():
            # A container has another working directory.
            environment[name] = os.path.abspath(place)
            files.append(Path(environment[name]))
    return environment, files


def check_readable(files: Sequence[Path], user: str, caller_uid: int) -> None:
    """Find out before the first step whether the containers' user can read what is mounted.

    Containers have no capabilities, so root, too, needs the permission bits.

    Args:
        files: What is mounted; directories are not looked at.
        user: ``uid:gid`` of the containers; names are left to the engine.
        caller_uid: User of this process.

    Raises:
        ConfigError: A file that the user cannot read.
    """
    numbers = re.fullmatch(r"(\d+)(?::(\d+))?", user)
    if numbers is None:
        return
    uid, gid = int(numbers[1]), int(numbers[2] or 0)
    if uid == 0 and caller_uid != 0:
        return  # a rootless engine takes the caller for its root
    for file in filter(Path.is_file, files):
        status = file.stat()
        bit = (stat.S_IRUSR if status.st_uid == uid else
               stat.S_IRGRP if status.st_gid == gid else stat.S_IROTH)
        if not status.st_mode & bit:
            raise ConfigError(
                str(file), f"a file that the containers' user {uid}:{gid} can read",
                f"mode {stat.S_IMODE(status.st_mode):04o}, owner {status.st_uid}:{status.st_gid}",
                f"chgrp {gid} it and chmod g+r, pass --docker user={status.st_uid}:{status.st_gid}, or put "
                "the credentials into environment variables in place of the file")
