#!/usr/bin/env bash
# Starts and stops a server: the verbs, messages, files and exit codes of zkServer.sh of Apache ZooKeeper.

ZOOBINDIR="$(cd "$(dirname "${BASH_SOURCE-$0}")" && pwd)"
. "$ZOOBINDIR/zkEnv.sh"

if [ -n "$JMXDISABLE" ] && [ "$JMXDISABLE" != "false" ]; then
  echo "JMX disabled by user request" >&2
else
  # There is no JMX; scripts that compare standard error know this line.
  echo "ZooKeeper JMX enabled by default" >&2
fi

# A bare name is looked for in the config directory, one with a directory is taken as it is.
if [ -n "$2" ]; then
  ZOOCFG="$ZOOCFGDIR/$2"
fi
if [ "$(dirname "$ZOOCFG")" != "$ZOOCFGDIR" ]; then
  ZOOCFG="$2"
fi
echo "Using config: $ZOOCFG" >&2

# The value of a key in zoo.cfg, without the blanks around it.
setting() {
  grep "^[[:space:]]*$1[^[:alpha:]]" "$ZOOCFG" 2>/dev/null | sed -e 's/.*=//' -e 's/^[[:space:]]*//' -e 's/[[:space:]]*$//'
}

ZOO_DATADIR="$(setting dataDir)"
ZOO_DATALOGDIR="$(setting dataLogDir)"

if [ -n "$ZOO_DATADIR_AUTOCREATE_DISABLE" ]; then
  if [ ! -d "$ZOO_DATADIR/version-2" ]; then
    echo "ZooKeeper data directory is missing at $ZOO_DATADIR fix the path or run initialize"
    exit 1
  fi
  if [ -n "$ZOO_DATALOGDIR" ] && [ ! -d "$ZOO_DATALOGDIR/version-2" ]; then
    echo "ZooKeeper txnlog directory is missing at $ZOO_DATALOGDIR fix the path or run initialize"
    exit 1
  fi
  SERVER_JVMFLAGS="-Dzookeeper.datadir.autocreate=false $SERVER_JVMFLAGS"
fi
export JVMFLAGS SERVER_JVMFLAGS

if [ -z "$ZOOPIDFILE" ]; then
  if [ -n "$ZOO_DATADIR" ] && [ ! -d "$ZOO_DATADIR" ]; then
    mkdir -p "$ZOO_DATADIR"
  fi
  ZOOPIDFILE="$ZOO_DATADIR/zookeeper_server.pid"
else
  mkdir -p "$(dirname "$ZOOPIDFILE")"
fi

USER="${USER:-$(id -un)}"
HOSTNAME="${HOSTNAME:-$(hostname)}"
_ZOO_DAEMON_OUT="$ZOO_LOG_DIR/zookeeper-$USER-server-$HOSTNAME.out"

case $1 in
start)
  [ -w "$ZOO_LOG_DIR" ] || mkdir -p "$ZOO_LOG_DIR"
  echo -n "Starting zookeeper ... "
  if [ -f "$ZOOPIDFILE" ] && kill -0 "$(cat "$ZOOPIDFILE")" >/dev/null 2>&1; then
    echo "already running as process $(cat "$ZOOPIDFILE")."
    exit 1
  fi
  nohup "$OSTLER" server "$ZOOCFG" >"$_ZOO_DAEMON_OUT" 2>&1 </dev/null &
  if [ $? -ne 0 ]; then
    echo SERVER DID NOT START
    exit 1
  fi
  pid=$!
  if ! echo -n "$pid" >"$ZOOPIDFILE"; then
    echo FAILED TO WRITE PID
    exit 1
  fi
  sleep 1
  if kill -0 "$pid" >/dev/null 2>&1; then
    echo STARTED
  else
    echo FAILED TO START
    exit 1
  fi
  ;;
start-foreground)
  if [ -n "$ZOO_NOEXEC" ]; then
    "$OSTLER" server "$ZOOCFG"
  else
    exec "$OSTLER" server "$ZOOCFG"
  fi
  ;;
print-cmd)
  echo "\"$OSTLER\" server \"$ZOOCFG\" > \"$_ZOO_DAEMON_OUT\" 2>&1 < /dev/null"
  ;;
stop)
  echo -n "Stopping zookeeper ... "
  if [ ! -f "$ZOOPIDFILE" ]; then
    echo "no zookeeper to stop (could not find file $ZOOPIDFILE)"
  else
    kill "$(cat "$ZOOPIDFILE")"
    rm "$ZOOPIDFILE"
    sleep 1
    echo STOPPED
  fi
  exit 0
  ;;
version)
  "$OSTLER" --version
  ;;
restart)
  shift
  ZOOCFGDIR="$ZOOCFGDIR" "$0" stop "$@"
  sleep 3
  ZOOCFGDIR="$ZOOCFGDIR" "$0" start "$@"
  ;;
status)
  clientPortAddress="$(setting clientPortAddress)"
  clientPortAddress="${clientPortAddress:-localhost}"
  clientPort="$(setting clientPort)"
  if ! [[ "$clientPort" =~ ^[0-9]+$ ]]; then
    clientPort=
    myid="$(cat "$ZOO_DATADIR/myid" 2>/dev/null)"
    if ! [[ "$myid" =~ ^[0-9]+$ ]]; then
      echo "myid could not be determined, will not able to locate clientPort in the server configs."
    else
      member="$(grep "^[[:space:]]*server.$myid=.*;.*" "$ZOOCFG" | sed -e 's/.*;//')"
      if [ -z "$member" ]; then
        echo "Client port not found in static config file. Looking in dynamic config file."
        dynamicConfigFile="$(setting dynamicConfigFile)"
        member="$(grep "^[[:space:]]*server.$myid=.*;.*" "$dynamicConfigFile" 2>/dev/null | sed -e 's/.*;//')"
      fi
      if [ -z "$member" ]; then
        echo "Client port not found in the server configs"
      else
        if [[ "$member" =~ \[.*\]:[0-9]+ ]]; then
          clientPortAddress="$(echo "$member" | sed -e 's|\[||' -e 's|\]:.*||')"
        elif [[ "$member" =~ ^.*:[0-9]+ ]]; then
          clientPortAddress="${member%:*}"
        fi
        clientPort="${member##*:}"
      fi
    fi
  fi
  if [ -z "$clientPort" ]; then
    # A member of an ensemble that is served on no plain port has a secure one, which this command cannot ask yet.
    echo "Client port not found. Looking for secureClientPort in the static config."
    secureClientPort="$(setting secureClientPort)"
    if [ -z "$secureClientPort" ]; then
      echo "Unable to find either secure or unsecure client port in any configs. Terminating."
      exit 1
    fi
    echo "Client port found: $secureClientPort. Client address: localhost. Client SSL: true."
    echo "Error contacting service. It is probably not running."
    exit 1
  fi
  echo "Client port found: $clientPort. Client address: $clientPortAddress. Client SSL: false."
  mode="$("$OSTLER" word "$clientPortAddress" "$clientPort" srvr 2>/dev/null | grep Mode)"
  if [ -z "$mode" ]; then
    echo "Error contacting service. It is probably not running."
    exit 1
  fi
  echo "$mode"
  exit 0
  ;;
*)
  echo "Usage: $0 [--config <conf-dir>] {start|start-foreground|stop|version|restart|status|print-cmd}" >&2
  ;;
esac
