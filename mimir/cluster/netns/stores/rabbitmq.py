"""RabbitMQ: the broker in the pod, AMQP 0-9-1 by clients on pamqp's frames.

A publisher opens a channel, declares its exchange, publishes and closes the channel, as Spring's template does; the broker
pushes to consumers by itself and they acknowledge. A message is as long as the request for its publication needs, so what is
delivered follows from what was published.
"""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from contextlib import suppress
from itertools import count
from typing import Any, TypeVar

from pamqp import commands, frame
from pamqp.body import ContentBody
from pamqp.exceptions import PAMQPException
from pamqp.header import ContentHeader, ProtocolHeader
from pamqp.heartbeat import Heartbeat

from mimir.cluster.netns.lines import Streams
from mimir.cluster.netns.stores.driver import StoreLine
from mimir.cluster.netns.tasks import BROKEN
from mimir.cluster.netns.wire import BACKGROUND, Call, filler

T = TypeVar("T")
_PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_HOME, _CONFIG = "/run/rabbit", "/run/rabbit/rabbitmq"
_EXCHANGE, _QUEUE, _KEY = "shipping-task-exchange", "shipping-task", "shipping-task"
_PROPERTIES = commands.Basic.Properties(
    content_type="application/json", delivery_mode=2, headers={"__TypeId__": "Shipment"}
)
_MOST_CHANNELS, _FRAME_MOST, _READ = 2047, 131_072, 65536


class AmqpLine(StoreLine):
    """A client's connection: channels beside each other, and heartbeats."""

    def __init__(self, reader: StreamReader, writer: StreamWriter, heartbeat_s: int):
        super().__init__(reader, writer)
        self._heartbeat_s, self._waiting = heartbeat_s, dict[int, asyncio.Queue[Any]]()
        self._numbers, self._consumes, self._tag, self._rest = count(), False, 0, 0
        self._tasks: list[asyncio.Task[None]] = []
        self._left = b""

    @property
    def open(self) -> bool:
        """Has neither side closed it?"""
        return super().open and not (self._tasks and self._tasks[0].done())

    async def begin(self) -> AmqpLine:
        """Shake hands. ConnectionError when the broker refuses."""
        inbox = self._waiting[0] = asyncio.Queue()
        self._tasks = [asyncio.get_running_loop().create_task(self._listen())]
        self.writer.write(ProtocolHeader().marshal())
        await self._next(inbox, commands.Connection.Start)
        start_ok = commands.Connection.StartOk({"product": "mimir"}, response="\0guest\0guest")
        tune = await self._ask(0, start_ok, commands.Connection.Tune)
        self._send(
            0, commands.Connection.TuneOk(min(tune.channel_max, _MOST_CHANNELS), tune.frame_max, self._heartbeat_s)
        )
        await self._ask(0, commands.Connection.Open("/"), commands.Connection.OpenOk)
        self._tasks.append(asyncio.get_running_loop().create_task(self._beat()))
        return self

    async def ask(self, call: Call) -> int:
        """Publish; or see to it that deliveries come, if the endpoint is pushed. Heartbeats go of their own accord."""
        if call.endpoint == BACKGROUND:
            return 0
        if call.action == "basic.deliver":
            await self.consume()
            return 0
        number = 1 + next(self._numbers) % (_MOST_CHANNELS - 1)
        inbox = self._waiting[number] = asyncio.Queue()
        try:
            asked: list[Any] = [
                commands.Channel.Open(), commands.Exchange.Declare(exchange=_EXCHANGE, exchange_type="topic", durable=True),
            ]  # fmt: skip
            close = commands.Channel.Close(200, "OK", 0, 0)
            head = ContentHeader(properties=_PROPERTIES)
            publish = commands.Basic.Publish(exchange=_EXCHANGE, routing_key=_KEY)
            await self._ask(number, asked[0], commands.Channel.OpenOk)
            await self._ask(number, asked[1], commands.Exchange.DeclareOk)
            known = sum(len(frame.marshal(one, number)) for one in [*asked, publish, close, head])
            room = call.size - known
            self._publish(number, publish, max(0, room - 8 * -(-room // _FRAME_MOST)))
            await self._ask(number, close, commands.Channel.CloseOk)
        finally:
            if self._waiting.get(number) is inbox:
                del self._waiting[number]
        self.used_s, self.exchanges = asyncio.get_running_loop().time(), self.exchanges + 1
        return call.wanted

    async def prepare(self) -> None:
        """Exchange, queue and what binds them, so that no message is lost before somebody consumes."""
        number = _MOST_CHANNELS
        self._waiting.setdefault(number, asyncio.Queue())
        await self._ask(number, commands.Channel.Open(), commands.Channel.OpenOk)
        exchange = commands.Exchange.Declare(exchange=_EXCHANGE, exchange_type="topic", durable=True)
        await self._ask(number, exchange, commands.Exchange.DeclareOk)
        await self._ask(number, commands.Queue.Declare(queue=_QUEUE, durable=True), commands.Queue.DeclareOk)
        bind = commands.Queue.Bind(queue=_QUEUE, exchange=_EXCHANGE, routing_key=_KEY)
        await self._ask(number, bind, commands.Queue.BindOk)

    async def consume(self) -> None:
        """Have the queue's messages pushed, once."""
        async with self.lock:
            if self._consumes:
                return
            await self.prepare()
            consume = commands.Basic.Consume(queue=_QUEUE, consumer_tag="c")
            await self._ask(_MOST_CHANNELS, consume, commands.Basic.ConsumeOk)
            self._consumes = True

    def close(self) -> None:
        """Close it; calls that still wait fail."""
        for task in self._tasks:
            task.cancel()
        super().close()

    def _publish(self, channel: int, publish: commands.Basic.Publish, size: int) -> None:
        header = ContentHeader(body_size=size, properties=_PROPERTIES)
        parts = [frame.marshal(publish, channel), frame.marshal(header, channel)]
        most = _FRAME_MOST - 8
        parts += [frame.marshal(ContentBody(filler(min(most, size - at))), channel) for at in range(0, size, most)]
        self.writer.write(b"".join(parts))

    def _send(self, channel: int, what: Any) -> None:
        self.writer.write(frame.marshal(what, channel))

    async def _ask(self, channel: int, what: Any, reply: type[T]) -> T:
        self._send(channel, what)
        return await self._next(self._waiting[channel], reply)

    async def _next(self, inbox: asyncio.Queue[Any], kind: type[T]) -> T:
        if not self.open:
            raise ConnectionError("the AMQP connection was closed")
        got = await inbox.get()
        if not isinstance(got, kind):
            raise ConnectionError(f"AMQP: {getattr(got, 'reply_text', got)!s} instead of {kind.__name__}")
        return got

    async def _listen(self) -> None:
        try:
            while data := await self.reader.read(_READ):
                self._left += data
                while len(self._left) >= 8 and len(self._left) >= 8 + int.from_bytes(self._left[3:7]):
                    used, channel, what = frame.unmarshal(self._left)
                    self._left = self._left[used:]
                    self._heard(channel, what)
        except (*BROKEN, PAMQPException):
            pass
        finally:
            for inbox in self._waiting.values():
                inbox.put_nowait(None)

    def _heard(self, channel: int, what: Any) -> None:
        if isinstance(what, commands.Basic.Deliver):
            self._tag = int(what.delivery_tag or 0)
        elif isinstance(what, ContentHeader):
            self._rest = int(what.body_size or 0)
            self._acknowledge(channel)
        elif isinstance(what, ContentBody):
            self._rest -= len(what.value)
            self._acknowledge(channel)
        elif not isinstance(what, Heartbeat) and channel in self._waiting:
            self._waiting[channel].put_nowait(what)

    def _acknowledge(self, channel: int) -> None:
        if self._rest == 0:
            self._send(channel, commands.Basic.Ack(self._tag))

    async def _beat(self) -> None:
        """Half the time that the broker would wait."""
        with suppress(*BROKEN):
            while self.open:
                await asyncio.sleep(self._heartbeat_s / 2)
                self._send(0, Heartbeat())


class RabbitMq:
    """The driver."""

    user = "rabbitmq"

    def __init__(self, heartbeat_s: int):
        self._heartbeat_s = heartbeat_s

    def job(self, port: int) -> dict[str, Any]:
        """One listener, guests from other pods, no plug-ins; everything the broker writes lies in one folder."""
        files = {
            f"{_CONFIG}.conf": f"listeners.tcp.1 = 0.0.0.0:{port}\nloopback_users = none\n",
            f"{_HOME}/plugins": "[].\n",
        }
        folders = [_HOME, f"{_HOME}/log", f"{_HOME}/mnesia"]
        return {"commands": {"rabbitmq-server": [_PROGRAM]}, "files": files, "folders": folders, "env": _environment()}

    async def speak(self, streams: Streams) -> StoreLine:
        """AMQP 0-9-1, as a guest."""
        return await AmqpLine(*streams, self._heartbeat_s).begin()


def _environment() -> dict[str, str]:
    """RabbitMQ's own; Erlang's name server listens on the loopback only."""
    return {
        "HOME": _HOME, "RABBITMQ_NODENAME": "mimir@localhost", "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": _CONFIG, "RABBITMQ_ADVANCED_CONFIG_FILE": f"{_HOME}/advanced",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{_HOME}/plugins", "RABBITMQ_MNESIA_BASE": f"{_HOME}/mnesia",
        "RABBITMQ_LOG_BASE": f"{_HOME}/log", "RABBITMQ_LOGS": "-", "RABBITMQ_FEATURE_FLAGS_FILE": f"{_HOME}/flags",
        "RABBITMQ_PID_FILE": f"{_HOME}/pid", "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RUNNING_UNDER_SYSTEMD": "true",  # no shell between us and the broker
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",  # one thread, which sleeps
    }  # fmt: skip
