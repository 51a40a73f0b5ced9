"""Calls of other servers over HTTP: every answer within a bound of bytes, every call within one deadline.

The deadline counts from before the connection to the last byte, whatever the peer does meanwhile: it may drip its
headers or its body, send interim answers (1xx) without end, or take the request byte by byte. Bytes are counted after
they are unpacked. No body follows a redirect, and no redirect leads to another host. Nothing is taken from the
environment but a proxy, and that only where the caller says so.
"""

from __future__ import annotations

import json
import socket
import time
import zlib
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ssl import SSLContext, create_default_context
from typing import Any
from urllib.parse import unquote
from urllib.request import getproxies, proxy_bypass

import httpcore
import httpx

from npc_contour.errors import CallError

MAX_REDIRECTS = 3
PIECE = 65536
WRITTEN_AT_ONCE = 16384
JSON_BYTES = 16 * 2**20
"""Of an answer that tells of a few objects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one call may cost.

    Attributes:
        timeout_s: for connecting, and for each wait for the peer.
        whole_s: for all of the call.
        max_bytes: of the answer's body, unpacked.
    """

    timeout_s: float
    whole_s: float
    max_bytes: float = JSON_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a server is reached.

    Attributes:
        ca_file: file with the certificates that it is judged by; "" takes the system's.
        addresses: to connect to, one after another; empty asks the resolver for those of the URL's host.
        proxies: whether a proxy that the environment names is used.
    """

    ca_file: str = ""
    addresses: Sequence[str] = ()
    proxies: bool = False


class Reply:
    """The answer to a call, whose body is read while its block runs.

    Attributes:
        status: of HTTP.
        content_type: as the peer wrote it.
    """

    def __init__(self, response: httpcore.Response, max_bytes: float) -> None:
        self._response = response
        self._max_bytes = max_bytes
        self._headers = httpx.Headers(response.headers)
        self.status = int(response.status)
        self.content_type = str(self._headers.get("content-type", ""))

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in small letters; "" where the peer names none."""
        return self.content_type.partition(";")[0].strip().lower()

    @property
    def words(self) -> str:
        """The status in words; of a redirect also where it leads."""
        text = f"HTTP {self.status} {httpx.codes.get_reason_phrase(self.status)}".rstrip()
        if 300 <= self.status < 400 and (to := self._headers.get("location")):
            return f"{text} to {to[:200]!r}, which is not followed"
        return text

    def check(self) -> None:
        """Raise CallError unless the status is one of success."""
        if not 200 <= self.status < 300:
            raise CallError(f"it answered {self.words}")

    def pieces(self) -> Iterator[bytes]:
        """The body, unpacked, piece by piece.

        Raises:
            CallError: it is larger than the bound, packed in a way that was not asked for, or damaged.
        """
        came = 0
        for piece in _unpacked(self._response.iter_stream(), self._headers.get("content-encoding", "")):
            came += len(piece)
            if came > self._max_bytes:
                raise CallError(f"the answer has more than {self._max_bytes / 2**20:g} MiB")
            yield piece

    def body(self) -> bytes:
        """The whole body; raises CallError as `pieces`."""
        return b"".join(self.pieces())

    def json(self) -> Any:  # noqa: ANN401 - whatever the peer sends
        """What the body says in JSON; raises CallError where it is none, and as `pieces`."""
        body = self.body()
        try:
            return json.loads(body)
        except (ValueError, RecursionError) as error:
            raise CallError(f"the answer ({self.media_type or 'no content type'}) is not JSON") from error


@contextmanager
def call(
    method: str,
    url: str,
    limits: Limits,
    *,
    headers: Mapping[str, str] | None = None,
    params: Iterable[tuple[str, str]] = (),
    content: bytes = b"",
    way: Way | None = None,
) -> Iterator[Reply]:
    """Send one request and give its answer, whatever its status.

    Args:
        method: of HTTP.
        url: http or https.
        limits: what the call may cost.
        headers: beside Host and Content-Length.
        params: appended to the query of the URL.
        content: the body.
        way: how the server is reached; None takes what the system offers.

    Raises:
        CallError: there was no answer, or one beyond the limits; also while its body is read.
    """
    way = way or Way()
    try:
        target = httpx.URL(url).copy_merge_params(list(params)) if params else httpx.URL(url)
        sent = {"User-Agent": "npc-autocontour", "Accept-Encoding": "identity", **_login(target), **(headers or {})}
        with _pool(target, way, _Meter(limits)) as pool:
            for _ in range(MAX_REDIRECTS + 1):
                request = httpx.Request(method, target, headers=sent, content=content or None)
                with pool.stream(
                    method, _core_url(request.url), headers=request.headers.raw, content=content or None
                ) as response:
                    onward = _onward(method, target, response)
                    if onward is None:
                        yield Reply(response, limits.max_bytes)
                        return
                    target = onward
        raise CallError(f"more than {MAX_REDIRECTS} redirects")
    except httpcore.TimeoutException as error:
        raise CallError("no answer in time") from error
    except httpcore.ConnectError as error:
        raise CallError(f"cannot be reached: {error}") from error
    except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError) as error:
        raise CallError(f"the connection failed: {str(error) or type(error).__name__}") from error
    except (httpx.InvalidURL, httpcore.UnsupportedProtocol) as error:
        raise CallError(f"{url!r} cannot be called: {error}") from error


class _Meter:
    """Keeps the time of one call."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._end = time.monotonic() + limits.whole_s

    def left_s(self) -> float:
        """How long the next wait may last."""
        left_s = self._end - time.monotonic()
        if left_s <= 0:
            raise CallError(f"not done after {self._limits.whole_s:g} s")
        return min(left_s, self._limits.timeout_s)


class _Stream(httpcore.NetworkStream):
    """A connection each of whose waits ends with the call."""

    def __init__(self, inner: httpcore.NetworkStream, meter: _Meter) -> None:
        self._inner = inner
        self._meter = meter

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - ours counts
        return self._inner.read(max_bytes, self._meter.left_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        # In pieces: a peer that takes the request byte by byte holds no more than one of them beyond the deadline.
        for start in range(0, len(buffer), WRITTEN_AT_ONCE):
            self._inner.write(buffer[start : start + WRITTEN_AT_ONCE], self._meter.left_s())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._meter.left_s()), self._meter)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's
        return self._inner.get_extra_info(info)


@dataclass(slots=True)
class _Backend(httpcore.NetworkBackend):
    """Connects within the call's time, to the addresses that are given."""

    meter: _Meter
    addresses: Sequence[str]
    inner: httpcore.SyncBackend = field(default_factory=httpcore.SyncBackend)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in self.addresses or _resolved(host, port):
            try:
                stream = self.inner.connect_tcp(address, port, self.meter.left_s(), local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _Stream(stream, self.meter)
        raise failure


def _resolved(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"no address of {host}: {error}") from error
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _pool(url: httpx.URL, way: Way, meter: _Meter) -> httpcore.ConnectionPool:
    trusted = create_default_context(cafile=way.ca_file or None) if url.scheme == "https" else None
    backend = _Backend(meter, way.addresses)
    if way.proxies and not proxy_bypass(url.host):
        named = getproxies()
        if address := named.get(url.scheme) or named.get("all"):
            proxy = httpx.Proxy(address)
            return httpcore.HTTPProxy(
                _core_url(proxy.url), proxy_auth=proxy.raw_auth, ssl_context=trusted, network_backend=backend
            )
    return httpcore.ConnectionPool(ssl_context=trusted, network_backend=backend)


def _core_url(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


def _login(url: httpx.URL) -> dict[str, str]:
    """What a name and a password in the URL mean (RFC 7617)."""
    if not url.userinfo:
        return {}
    return {"Authorization": "Basic " + b64encode(unquote(url.userinfo.decode()).encode()).decode()}


def _onward(method: str, url: httpx.URL, response: httpcore.Response) -> httpx.URL | None:
    """Where a redirect leads that may be followed: without a body, and to the same server."""
    if method != "GET" or response.status not in {301, 302, 303, 307, 308}:
        return None
    to = httpx.Headers(response.headers).get("location", "")
    onward = url.join(to) if to else url
    same = (onward.scheme, onward.host, onward.port) == (url.scheme, url.host, url.port)
    return onward if to and same else None


def _unpacked(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Undo gzip or deflate piece by piece: no piece grows beyond `PIECE`."""
    if encoding.strip().lower() in {"", "identity"}:
        yield from pieces
        return
    if encoding.strip().lower() not in {"gzip", "x-gzip", "deflate"}:
        raise CallError(f"the answer is packed as {encoding[:40]!r}, which was not asked for")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        for piece in pieces:
            out = unpacker.decompress(piece, PIECE)
            while out:
                yield out
                out = unpacker.decompress(unpacker.unconsumed_tail, PIECE)
    except zlib.error as error:
        raise CallError(f"the answer is packed as {encoding[:40]!r}, and damaged") from error
    if not unpacker.eof:
        raise CallError("the answer is cut off")
