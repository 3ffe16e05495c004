"""What object stores answer when something is wrong, as one line that names the bucket, the cause and what to do.

The client's own texts are long and may hold signed addresses: of them only the code of the store (<Code> of Amazon,
Google and Azure) and the HTTP status are taken over.
"""

import re

from cataloger.errors import ImageError
from cataloger.utils import visible

_CODE = re.compile(r"<Code>([A-Za-z0-9_.]{2,60})</Code>")
_PATH = re.compile(r'Path "([^"]{1,1100})"', re.DOTALL)
_STATUS = re.compile(r"Server returned[^:]{0,60}: ([1-5]\d\d)\b")
_NO_CONTACT = re.compile(
    r"error sending request|connect error|connection|body error|dns error|error trying to connect", re.I
)
_TIMEOUT = re.compile(r"timed out|timedout|deadline", re.I)
_METADATA = re.compile(r"169\.254\.|metadata|instance credentials|InstanceCredential|computeMetadata", re.I)

NO_SUCH_STORE = ("NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted", "AccountIsDisabled")
KEYS = {
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "ExpiredToken": "the session token has expired",
    "InvalidToken": "the session token is not valid",
    "TokenRefreshRequired": "the session token has expired",
    "RequestTimeTooSkewed": "the clock of this machine is wrong",
    "AuthenticationFailed": "the key or token is wrong",
    "InvalidAuthenticationInfo": "the key or token is wrong",
    "NoAuthenticationInformation": "no key or token was given",
    "AuthenticationRequired": "no key or token was given",
    "UserProjectMissing": "it wants to know a project that pays",
}
"""Codes that say that nothing can be asked for with these credentials."""
REGION = (
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "TemporaryRedirect",
)
PASSING = ("SlowDown", "ServerBusy", "RequestTimeout", "InternalError", "OperationTimedOut", "rateLimitExceeded")
CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a public bucket AWS_SKIP_SIGNATURE=true",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS; for a public bucket GOOGLE_SKIP_SIGNATURE=true",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN",
}


class StoreError(ImageError):
    """What went wrong with an object store, or with one object. `code`: as of failures.

    is_of_store: it says something about the bucket, not about one object. is_passing: the same may work soon.
    """

    def __init__(self, code: str, message: str, *, is_of_store: bool = False, is_passing: bool = False) -> None:
        super().__init__(code, message)
        self.is_of_store = is_of_store
        self.is_passing = is_passing

    @property
    def is_unanswered(self) -> bool:
        """True when no store has answered at all."""
        return self.code in ("fetch.timeout", "fetch.connection")


def explained(error: Exception, store: str) -> StoreError:
    """Return what an error of the client means. store: "s3://bucket"."""
    kind, text = type(error).__name__, str(error)
    found = _CODE.search(text)
    code = found[1] if found else ""
    answered = _STATUS.search(text)
    status = int(answered[1]) if answered else None
    shown = f" ({code})" if code else f" ({status})" if status else ""
    return (
        _of_listing(kind, text, store)
        or _of_store(kind, code, text, store)
        or _passing(code, status, store, shown)
        or _of_object(kind, status, store, shown)
        or _unanswered(text, store)
        or StoreError("fetch.http_status", f"{store} refused the request{shown or f' ({kind})'}")
    )


def _of_listing(kind: str, text: str, store: str) -> StoreError | None:
    """Return why a key cannot be read: the client takes no page with it."""
    if kind != "InvalidPathError":
        return None
    found = _PATH.search(text)
    named = f", {visible(found[1])}" if found else ""
    return StoreError(
        "source.bad_value",
        f"{store} has a key that cannot be asked for{named}: an empty part ('//'), '.', '..' or a control character; "
        "rename this object, or name folders without it",
        is_of_store=True,
    )


def _of_store(kind: str, code: str, text: str, store: str) -> StoreError | None:
    """Return what is wrong with the bucket or the credentials."""
    ways, shown = CREDENTIALS[store.partition("://")[0]], f" ({code})" if code else ""
    if code in NO_SUCH_STORE:
        message = f"{store} does not exist there{shown}: check its name, the account and the endpoint"
    elif code in KEYS:
        message = f"{store}: {KEYS[code]}{shown}; set {ways}"
    elif code in REGION or "redirect without LOCATION" in text:
        message = f"{store} lies in another region{shown}: set AWS_REGION to that of the bucket"
    elif kind == "UnauthenticatedError":
        message = f"{store} does not accept the credentials{shown}: set {ways}"
    else:
        return None
    return StoreError("fetch.http_status", message, is_of_store=True)


def _passing(code: str, status: int | None, store: str, shown: str) -> StoreError | None:
    if code not in PASSING and (status is None or (status < 500 and status not in (408, 429))):
        return None
    what = "asks for fewer requests" if code in ("SlowDown", "ServerBusy") or status == 429 else "is not available"
    return StoreError("fetch.http_status", f"{store} {what} at the moment{shown}", is_of_store=True, is_passing=True)


def _of_object(kind: str, status: int | None, store: str, shown: str) -> StoreError | None:
    if kind in ("NotFoundError", "FileNotFoundError") or status in (404, 410):
        return StoreError("fetch.not_found", f"{store} does not have the object{shown}")
    if kind in ("PermissionDeniedError", "PermissionError") or status == 403:
        text = f"{store}: access denied{shown}; these credentials may not list, read or write there: ask its owner"
        return StoreError("fetch.http_status", text)
    return None


def _unanswered(text: str, store: str) -> StoreError | None:
    """Return what is wrong where no store has answered."""
    if _METADATA.search(text):
        ways = CREDENTIALS[store.partition("://")[0]]
        return StoreError("fetch.http_status", f"{store}: there are no credentials; set {ways}", is_of_store=True)
    if _TIMEOUT.search(text):
        return StoreError("fetch.timeout", f"{store} did not answer in time", is_of_store=True, is_passing=True)
    if _NO_CONTACT.search(text):
        message = f"no connection to {store}: check the network and the endpoint"
        return StoreError("fetch.connection", message, is_of_store=True, is_passing=True)
    return None
