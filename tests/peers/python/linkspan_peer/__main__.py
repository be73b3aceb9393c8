"""
Enrols if there is no key file yet, then runs until SIGTERM.

    python -m linkspan_peer --core URL --token-file FILE --keys FILE --amqp URL --platform DIRECTORY
"""

import argparse
import signal
import threading
import uuid
from pathlib import Path

from pika.exceptions import AMQPError

from .daemon import Daemon, Settings
from .enrolment import Keys, enrol, read_keys
from .errors import LeaseLost, Refused
from .log import log


def main() -> int:
    parser = argparse.ArgumentParser(prog="linkspan_peer")
    parser.add_argument("--core", required=True, help="HTTP address of the core")
    parser.add_argument("--token-file", type=Path, required=True, help="file with the one-time token")
    parser.add_argument("--keys", type=Path, required=True, help="file that keeps what enrolment gave")
    parser.add_argument("--amqp", required=True, help="RabbitMQ, with the namespace as its vhost")
    parser.add_argument("--platform", type=Path, required=True, help="directory of the echo platform")
    parser.add_argument("--instance", default="primary")
    parser.add_argument("--die-after-saying", help="ends at once after saying this text, as a crash would")
    given = parser.parse_args()
    try:
        keys = read_keys(given.keys)
        if keys is None:
            keys = enrol(given.core, given.token_file.read_text().strip(), given.keys)
            log("daemon.enrolled", kid=keys.signer.kid)
        settings = Settings(given.amqp, given.instance, given.platform, given.die_after_saying)
        live(settings, keys)
    except Refused as error:
        log("daemon.failed", code=error.code, detail=error.detail)
        return 1
    return 0


def live(settings: Settings, keys: Keys) -> None:
    """Term after term, under one boot id, until SIGTERM."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    boot_id = str(uuid.uuid4())
    while not stop.is_set():
        try:
            Daemon(settings, keys, boot_id, stop.is_set).run()
        except LeaseLost:
            log("lease.lost")
        except Refused as error:
            log("term.failed", code=error.code, detail=error.detail)
            stop.wait(1)
        except AMQPError as error:
            log("bus.lost", kind=type(error).__name__)
            stop.wait(1)


if __name__ == "__main__":
    raise SystemExit(main())
