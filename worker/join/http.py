"""HTTP to the Rancher server for registration: trust, proxies, and errors without secrets.

Urls and headers of registration contain tokens. So no text of the HTTP library, which quotes urls,
leaves this module.
"""

import json
import ssl
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import should_bypass_proxies
from urllib3.exceptions import InsecureRequestWarning

from worker.errors import JoinError

CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 30.0
#: More is no answer of a registration.
MOST_ANSWER_BYTES = 4 * 1024 * 1024


class UnreachableError(JoinError):
    """Raised when no HTTP answer came: an outage, which may end."""


class UntrustedError(JoinError):
    """Raised when the server's certificate is not trusted, which does not end by waiting."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    #: After redirects.
    url: str
    headers: Mapping[str, str]
    text: str
    #: The JSON object in the body; empty for any other body.
    content: Mapping[str, Any]


class _TrustingAdapter(HTTPAdapter):
    """Trusts the authorities of the system, and those of a file."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        super().init_poolmanager(*arguments, ssl_context=self._context, **options)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401
        return super().proxy_manager_for(proxy, ssl_context=self._context, **options)


class Http:
    """A client for one Rancher server; not thread-safe."""

    def __init__(self, proxies: Mapping[str, str], ca_file: Path | None = None) -> None:
        self._proxies = proxies
        self._session = requests.Session()
        # Proxies and logins come from the settings only.
        self._session.trust_env = False
        self.trust(ca_file)

    def trust(self, ca_file: Path | None) -> None:
        """Trust the authorities in a PEM file, too.

        Errors: JoinError when the file has none.
        """
        context = ssl.create_default_context()
        if ca_file is not None:
            try:
                context.load_verify_locations(cafile=str(ca_file))
            except (OSError, ssl.SSLError) as error:
                raise JoinError(f"cannot read certificates from {ca_file}: {error}") from None
        self._session.mount("https://", _TrustingAdapter(context))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def get(
        self,
        url: str,
        *,
        login: tuple[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        follows: bool = False,
        verifies: bool = True,
    ) -> Answer:
        """GET an url; `follows` redirects only where no login is sent.

        Errors: UnreachableError, UntrustedError.
        """
        return self._send("GET", url, login, verifies=verifies, params=params, follows=follows)

    def post(self, url: str, body: Mapping[str, Any], *, login: tuple[str, str] | None) -> Answer:
        """POST a JSON object.

        Errors: UnreachableError, UntrustedError.
        """
        return self._send("POST", url, login, json=body)

    def _send(
        self,
        method: str,
        url: str,
        login: tuple[str, str] | None,
        *,
        verifies: bool = True,
        follows: bool = False,
        **parts: Any,  # noqa: ANN401 -- the query or the body
    ) -> Answer:
        server = shown_server(url)
        try:
            with (
                self._session_for(verifies=verifies) as session,
                session.request(
                    method,
                    url,
                    auth=login,
                    headers={"Accept": "application/json, text/plain, */*"},
                    proxies=self._proxies_for(url),
                    timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                    allow_redirects=follows,
                    verify=verifies,
                    stream=True,
                    **parts,
                ) as response,
            ):
                body = response.raw.read(MOST_ANSWER_BYTES + 1, decode_content=True)
                return _answer(response, body)
        except requests.exceptions.SSLError:
            raise UntrustedError(
                f"the certificate of {server} is not trusted; run the command of Rancher's page "
                "whole, which has CA_FINGERPRINT, or name its authority with CURL_CA_BUNDLE"
            ) from None
        except (requests.RequestException, OSError, ValueError) as error:
            reason = _reason(error)
            raise UnreachableError(f"{server} does not answer: {reason}") from None

    @contextmanager
    def _session_for(self, *, verifies: bool) -> Iterator[requests.Session]:
        if verifies:
            yield self._session
            return
        # The pool of the other session keeps what it trusts.
        with requests.Session() as session, warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureRequestWarning)
            session.trust_env = False
            yield session

    def _proxies_for(self, url: str) -> dict[str, str]:
        """The proxy of an url; an empty mapping would let the library read the environment."""
        scheme = urlsplit(url).scheme
        proxy = self._proxies.get(f"{scheme}_proxy")
        if not proxy or should_bypass_proxies(url, self._proxies.get("no_proxy", "")):
            return {}
        return {scheme: proxy if "://" in proxy else f"http://{proxy}"}


def shown_server(url: str) -> str:
    """Return the scheme, the host and the port of an url, for texts."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the server"
    return f"{parts.scheme}://{parts.hostname or ''}{port}"


def _answer(response: requests.Response, body: bytes) -> Answer:
    if len(body) > MOST_ANSWER_BYTES:
        raise ValueError("the answer is too long")
    text = body.decode(errors="replace")
    try:
        content = json.loads(text)
    except ValueError:
        content = {}
    return Answer(
        status=response.status_code,
        url=str(response.url),
        headers=response.headers,
        text=text,
        content=content if isinstance(content, dict) else {},
    )


def _reason(error: Exception) -> str:
    """Name the kind of a failure; texts of the library may quote urls."""
    match error:
        case requests.exceptions.ProxyError():
            return "the proxy refuses the connection"
        case requests.exceptions.ConnectTimeout():
            return f"no connection within {CONNECT_TIMEOUT_S:g} s"
        case requests.exceptions.Timeout():
            return f"no answer within {READ_TIMEOUT_S:g} s"
        case requests.exceptions.ConnectionError():
            return "the connection failed"
        case _:
            return type(error).__name__
