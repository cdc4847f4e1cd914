#!/usr/bin/env bash
# The shell, with the command line of zkCli.sh of Apache ZooKeeper.
ZOOBINDIR="$(cd "$(dirname "${BASH_SOURCE-$0}")" && pwd)"
. "$ZOOBINDIR/zkEnv.sh"
exec "$OSTLER" cli "$@"
