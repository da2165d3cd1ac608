"""One try of a call over HTTP; one rule: how it ended says whether it may have been carried out.

Whoever answers 4xx has carried nothing out; whatever else is no answer may have been. Nothing of a
request's headers or of an answer's body is ever in what is said of a failure: a token stands in the
one, and what people wrote in the other.
"""

import aiohttp
import msgspec

_OK, _REFUSED, _FAILED = 200, 400, 500
_BAD_REQUEST, _TOO_LARGE, _NOT_FOUND = 400, 413, 404
_ANSWER_LIMIT_BYTES = 64 * 1024 * 1024
_KEPT_OPEN_SECONDS = 5.0
"""The other side closes a connection that was idle for 10: a call must not meet that moment."""
_KNOCK_SECONDS = 0.5
_LONGEST_CODE = 60
LEAVING_HEADER = "x-leaving"


class NeverArrived(Exception):
    """A try of which nothing was carried out."""


class MayHaveArrived(Exception):
    """A try that ended without an answer, and may have been carried out."""


class TookTooLong(MayHaveArrived):
    """The same, for nobody answered in time."""


class NotUnderstood(Exception):
    """The other side does not understand the call, and never will; nothing was carried out."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """The outcome of each call, still to be decoded; `leaving`: it is the instance's last word."""

    outcomes: list[msgspec.Raw]
    leaving: bool


class Sender:
    """Connections to the instances of one service, opened when they are needed."""

    def __init__(self, connect_seconds: float) -> None:
        self._connect_seconds = connect_seconds
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def close(self) -> None:
        """Closes the connections; whoever comes later is told so."""
        self._closed = True
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, url: str, body: bytes, headers: dict[str, str], seconds: float) -> Answer:
        """The outcomes of calls; raises one of the errors of this module."""
        try:
            async with self._opened().post(
                url,
                data=body,
                headers=headers,
                timeout=self._limits(seconds),
                allow_redirects=False,  # where a call goes, its token goes
            ) as response:
                text = await _whole(response)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise NeverArrived(_plainly(error)) from None
        except TimeoutError:
            raise TookTooLong(f"no answer in {seconds:.3g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise MayHaveArrived(_plainly(error)) from None
        if response.status != _OK:
            raise _refusal(response.status, text)
        try:
            outcomes = msgspec.json.decode(text, type=list[msgspec.Raw])
        except (msgspec.DecodeError, RecursionError):  # the other is of nesting without end
            raise MayHaveArrived("it answered what is no answer") from None
        return Answer(outcomes, LEAVING_HEADER in response.headers)

    async def knock(self, url: str) -> bool | None:
        """Whether an instance says that it may have traffic; None where it is about to end."""
        try:
            async with self._opened().get(
                f"{url}/readyz", timeout=self._limits(_KNOCK_SECONDS), allow_redirects=False
            ) as response:
                return None if response.status == _NOT_FOUND else response.status == _OK
        except (NeverArrived, aiohttp.ClientError, TimeoutError, OSError):
            return False

    def _limits(self, seconds: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=seconds, sock_connect=self._connect_seconds)

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise NeverArrived("this process is about to end")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, keepalive_timeout=_KEPT_OPEN_SECONDS, ttl_dns_cache=5
                ),
                # Bodies are ours, and there is no cookie between services.
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    """The body, unless it has no end."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_any():
        size += len(part)
        if size > _ANSWER_LIMIT_BYTES:
            raise MayHaveArrived("its answer has no end")
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _refusal(status: int, text: bytes) -> Exception:
    said = f"{status} {_code(text)}".rstrip()
    if status in (_BAD_REQUEST, _TOO_LARGE):
        return NotUnderstood(said)
    return NeverArrived(said) if _REFUSED <= status < _FAILED else MayHaveArrived(said)


class _Problem(msgspec.Struct):
    code: str = ""


def _code(text: bytes) -> str:
    """What a problem document says in one word; nothing of any other body."""
    try:
        code = msgspec.json.decode(text, type=_Problem).code
    except (msgspec.DecodeError, RecursionError):
        return ""
    return code if code.isidentifier() and len(code) < _LONGEST_CODE else ""


def _plainly(error: Exception) -> str:
    """Without what `repr` has to say: the request's headers."""
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{type(error).__name__}: {error.message!r:.100}"
    return f"{type(error).__name__}: {error}"
