"""A reverse proxy as hospitals put one in front: it writes down who asks, and ends what is idle or takes too long."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MAX_HEAD = 65536


class ReverseProxy:
    """Passes each request on over a connection of its own.

    Args:
        port: of the service on 127.0.0.1.
        idle_s: a connection on which nothing passes for so long is ended on both sides.
    """

    def __init__(self, port: int, idle_s: float) -> None:
        self._port = port
        self._idle_s = idle_s
        self.dropped = 0
        """Connections that were ended for being idle."""

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: one request, as the answer says that the connection ends with it."""
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), self._idle_s)
            upstream = await asyncio.open_connection("127.0.0.1", self._port)
            upstream[1].write(self._passed_on(head, str(writer.get_extra_info("peername")[0])))
            passed = [asyncio.get_running_loop().time()]
            there = asyncio.ensure_future(self._pump(reader, upstream[1], passed))
            back = asyncio.ensure_future(self._pump(upstream[0], writer, passed))
            try:
                await self._until_over(back, passed)
            finally:
                there.cancel()
                back.cancel()
                upstream[1].close()
        except TimeoutError:
            self.dropped += 1
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, or sent no request: there is nobody to tell
        finally:
            writer.close()

    def _passed_on(self, head: bytes, peer: str) -> bytes:
        first, *lines = head.split(b"\r\n")[:-2]
        kept = [line for line in lines if line.partition(b":")[0].lower() not in {b"connection", b"x-forwarded-proto"}]
        ours = (f"X-Forwarded-For: {peer}", "X-Forwarded-Proto: https", "Connection: close")
        return b"\r\n".join([first, *kept, *(line.encode() for line in ours)]) + b"\r\n\r\n"

    async def _until_over(self, back: asyncio.Future[None], passed: list[float]) -> None:
        """Wait for the end of the answer; raises TimeoutError when nothing passes either way."""
        while not back.done():
            await asyncio.wait({back}, timeout=0.25)
            if not back.done() and asyncio.get_running_loop().time() - passed[-1] > self._idle_s:
                raise TimeoutError
        back.result()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passed: list[float]) -> None:
        while data := await reader.read(65536):
            passed[-1] = asyncio.get_running_loop().time()
            writer.write(data)
            await writer.drain()


@contextmanager
def reverse_proxy(port: int, idle_s: float = 5.0) -> Iterator[tuple[int, ReverseProxy]]:
    """Run a proxy before a service while the block runs; gives its port."""
    proxy = ReverseProxy(port, idle_s)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(proxy.take, "127.0.0.1", 0, limit=MAX_HEAD))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def end() -> None:
        server.close()
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*others, return_exceptions=True)

    try:
        yield server.sockets[0].getsockname()[1], proxy
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
