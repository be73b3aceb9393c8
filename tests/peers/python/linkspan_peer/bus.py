"""RabbitMQ as DAEMONS.md describes it: one exchange, the daemon's queues, its reply queue."""

import contextlib
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

from .envelopes import routing_key, shard, sign
from .keys import ENVELOPE_TYPE, Signer

EXCHANGE = "bridge"
QUORUM = {"x-queue-type": "quorum"}
PREFETCH = 64
MAX_DETAIL = 1_000


@dataclass
class Delivery:
    """What arrived; it is settled once, by `ack`."""

    queue: str
    tag: int
    routing_key: str
    body: bytes
    kid: str | None
    sig: str | None
    message_id: str | None
    correlation_id: str | None
    reply_to: str | None
    redelivered: bool


class Bus:
    """One connection, used by one thread. Callbacks only collect; nothing is handled inside of one."""

    def __init__(self, url: str, service: str, instance: str, boot_id: str, partitions: int, signer: Signer) -> None:
        self._signer = signer
        self._partitions = partitions
        self._dead_key = f"bridge.dead.{service}.{shard(instance)}"
        self.reply_address = f"reply.{service}.{shard(instance)}.{boot_id}"
        self.inbox: deque[Delivery] = deque()
        self.replies: deque[Delivery] = deque()
        #: called before anything but `hello` is published; who does not hold the instance publishes nothing else
        self.before_publish: Callable[[], None] = lambda: None
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 10
        self._connection = pika.BlockingConnection(parameters)
        self._out = self._connection.channel()
        self._out.confirm_delivery()
        self._in = self._connection.channel()
        self._in.basic_qos(prefetch_count=PREFETCH)
        # The core declares the exchange; a daemon only makes sure that it is there.
        self._in.exchange_declare(EXCHANGE, passive=True)
        self._open_replies()

    def _open_replies(self) -> None:
        name = f"{self.reply_address}.{uuid.uuid4()}"
        self._in.queue_declare(name, exclusive=True, auto_delete=True)
        self._in.queue_bind(name, EXCHANGE, self.reply_address)
        self._in.basic_consume(name, self._collector(name, self.replies.append), auto_ack=True)

    def declare(self, name: str, keys: list[str], single: bool = True) -> None:
        """A durable quorum queue; `single`: it hands out to one consumer, and to the next when that is gone."""
        arguments = {**QUORUM, **({"x-single-active-consumer": True} if single else {})}
        self._in.queue_declare(name, durable=True, arguments=arguments)
        for key in keys:
            self._in.queue_bind(name, EXCHANGE, key)

    def declare_transient(self, name: str, keys: list[str]) -> None:
        self._in.queue_declare(name, exclusive=True, auto_delete=True)
        for key in keys:
            self._in.queue_bind(name, EXCHANGE, key)

    def consume(self, name: str) -> None:
        self._in.basic_consume(name, self._collector(name, self.inbox.append))

    def ack(self, delivery: Delivery) -> None:
        self._in.basic_ack(delivery.tag)

    def publish(self, envelope: dict, asks: bool = False) -> None:
        """
        Returns when the broker has confirmed it; by then it is stored.

        :raises pika.exceptions.UnroutableError: no queue takes it
        """
        if envelope["action"] != "hello":
            self.before_publish()
        body, sig = sign(envelope, self._signer)
        metadata = envelope["metadata"]
        properties = self._properties(envelope, sig)
        if asks:
            properties.reply_to = self.reply_address
            properties.correlation_id = metadata["message_id"]
        elif "in_reply_to" in metadata:
            properties.correlation_id = metadata["in_reply_to"]
        key = routing_key(envelope, self._partitions)
        self._out.basic_publish(EXCHANGE, key, body, properties, mandatory=True)

    def reply(self, request: Delivery, envelope: dict) -> None:
        """An answer goes to one process; one that is gone is not an error."""
        if request.reply_to is None:
            return
        self.before_publish()
        body, sig = sign(envelope, self._signer)
        properties = self._properties(envelope, sig)
        properties.correlation_id = request.correlation_id or envelope["metadata"]["in_reply_to"]
        self._out.basic_publish(EXCHANGE, request.reply_to, body, properties)

    def dead(self, delivery: Delivery, code: str, detail: str) -> None:
        """Hands over to the core what will never be accepted, with the bytes as they came."""
        headers = {
            "kid": delivery.kid,
            "sig": delivery.sig,
            "death-code": code,
            "death-detail": detail[:MAX_DETAIL],
            "death-queue": delivery.queue,
            "death-route": delivery.routing_key,
        }
        properties = BasicProperties(
            content_type=ENVELOPE_TYPE,
            delivery_mode=2,
            message_id=delivery.message_id,
            headers={name: value for name, value in headers.items() if value is not None},
        )
        self._out.basic_publish(EXCHANGE, self._dead_key, delivery.body, properties, mandatory=True)

    def wait(self, seconds: float) -> None:
        """Lets deliveries in, for so long or until there is one; also while others wait to be handled."""
        self._connection.process_data_events(time_limit=0 if self.replies else seconds)

    def close(self) -> None:
        """What was not acknowledged goes to the next consumer."""
        with contextlib.suppress(pika.exceptions.AMQPError):
            self._connection.close()

    def _properties(self, envelope: dict, sig: str) -> BasicProperties:
        return BasicProperties(
            content_type=ENVELOPE_TYPE,
            delivery_mode=2,
            message_id=envelope["metadata"]["message_id"],
            type=envelope["action"],
            app_id=envelope["metadata"]["issuer"],
            timestamp=int(time.time()),
            headers={"kid": self._signer.kid, "sig": sig},
        )

    def _collector(self, queue: str, collect: Callable[[Delivery], None]) -> Callable[..., None]:
        def on_message(
            _channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
        ) -> None:
            headers = properties.headers or {}
            collect(
                Delivery(
                    queue,
                    method.delivery_tag,
                    method.routing_key,
                    body,
                    _text(headers.get("kid")),
                    _text(headers.get("sig")),
                    properties.message_id,
                    properties.correlation_id,
                    properties.reply_to,
                    method.redelivered,
                )
            )

        return on_message


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
