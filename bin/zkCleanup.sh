#!/usr/bin/env bash
# Removes old snapshots and logs of the server that zoo.cfg describes: zkCleanup.sh -n 3

ZOOBINDIR="$(cd "$(dirname "${BASH_SOURCE-$0}")" && pwd)"
. "$ZOOBINDIR/zkEnv.sh"

ZOODATADIR="$(grep "^[[:space:]]*dataDir=" "$ZOOCFG" | sed -e 's/.*=//')"
ZOODATALOGDIR="$(grep "^[[:space:]]*dataLogDir=" "$ZOOCFG" | sed -e 's/.*=//')"

if [ -z "$ZOODATALOGDIR" ]; then
  exec "$OSTLER" cleanup "$ZOODATADIR" "$@"
else
  exec "$OSTLER" cleanup "$ZOODATALOGDIR" "$ZOODATADIR" "$@"
fi
