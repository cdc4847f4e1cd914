"""The Python side of `cargo xtask interop recipes`: kazoo. agent.py host:port what directory id count"""

import os
import sys
import time

from kazoo.client import KazooClient
from kazoo.recipe.lock import Lock
from kazoo.recipe.queue import Queue


class JoiningLock(Lock):
    """kazoo's lock under the name that Curator sorts by, among those that have it too."""

    _NODE_NAME = "-lock-"
    _EXCLUDE_NAMES = ["-lock-"]


def lock(zk, directory, count):
    path = os.path.join(directory, "holder")
    for _ in range(count):
        held = JoiningLock(zk, "/interop/lock", extra_lock_patterns=["-lock-"])
        with held:
            # Fails if it is there: two holders.
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.unlink(path)


def put(zk, count):
    queue = Queue(zk, "/interop/queue-python")
    for number in range(count):
        queue.put(str(number).encode())


def take(zk, count):
    queue = Queue(zk, "/interop/queue-ostler")
    for number in range(count):
        deadline = time.time() + 30
        value = queue.get()
        while value is None and time.time() < deadline:
            time.sleep(0.01)
            value = queue.get()
        assert value == str(number).encode(), (value, number)
    assert len(queue) == 0


def main():
    server, what, directory, _, count = sys.argv[1:]
    zk = KazooClient(server, timeout=30)
    zk.start(30)
    if what == "lock":
        lock(zk, directory, int(count))
    elif what == "put":
        put(zk, int(count))
    elif what == "take":
        take(zk, int(count))
    else:
        raise SystemExit(what)
    zk.stop()
    print(count)


main()
