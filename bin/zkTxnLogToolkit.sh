#!/usr/bin/env bash
# Looks at a transaction log, with the command line of Java's TxnLogToolkit.
ZOOBINDIR="$(cd "$(dirname "${BASH_SOURCE-$0}")" && pwd)"
. "$ZOOBINDIR/zkEnv.sh"
exec "$OSTLER" log toolkit "$@"
