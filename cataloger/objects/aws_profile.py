"""Profiles of ~/.aws/config and ~/.aws/credentials, which obstore does not read by itself."""

import configparser
import os
from collections.abc import Mapping
from pathlib import Path

from cataloger.errors import UsageError

KEYS = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
BY_PROGRAMS = ("role_arn", "sso_session", "sso_start_url", "credential_process", "source_profile")


def read_profile() -> dict[str, str]:
    """Return the settings of the profile that is chosen, or of the default one, for obstore.

    What the environment says comes first. Raises UsageError for a profile that is missing, that cannot be read, or
    whose keys are made by other programs.
    """
    named = os.environ.get("AWS_PROFILE")
    name = named or "default"
    values = {**_section("AWS_CONFIG_FILE", "config", name), **_section("AWS_SHARED_CREDENTIALS_FILE", "", name)}
    if named and not values:
        raise UsageError(f"AWS_PROFILE={named}: no such profile in ~/.aws/config and ~/.aws/credentials")
    settings = _keys(named, values)
    if "region" in values and not _is_set("AWS_REGION", "AWS_DEFAULT_REGION"):
        settings["region"] = values["region"]
    if "endpoint_url" in values and not _is_set("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        settings["endpoint"] = values["endpoint_url"]
    return settings


def _keys(named: str | None, values: Mapping[str, str]) -> dict[str, str]:
    if _is_set("AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"):
        return {}
    found = {key.removeprefix("aws_"): values[key] for key in KEYS if key in values}
    programs = [key for key in BY_PROGRAMS if key in values]
    if named and programs and "access_key_id" not in found:
        raise UsageError(
            f"AWS_PROFILE={named} gets its keys by {programs[0]}, which is not read here: unset AWS_PROFILE, and let "
            "`aws configure export-credentials --format env` give the keys"
        )
    return found


def _is_set(*names: str) -> bool:
    return any(os.environ.get(name, "").lower() not in ("", "0", "false") for name in names)


def _section(variable: str, kind: str, name: str) -> dict[str, str]:
    """Return a section of one of the two files; {} where there is none."""
    path = Path(os.environ.get(variable) or Path.home() / ".aws" / (kind or "credentials")).expanduser()
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        # Without its message, which holds the line.
        raise UsageError(f"{path} cannot be read as a file of profiles ({type(error).__name__})") from None
    section = f"profile {name}" if kind and name != "default" else name
    return dict(parser[section]) if parser.has_section(section) else {}
