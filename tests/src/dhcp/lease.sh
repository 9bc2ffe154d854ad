#!/bin/sh
# Called by busybox's udhcpc with the event; the lease is in the environment, as udhcpc's own documentation names it.
[ "$1" = bound ] || exit 0

routes() {
    # RFC 3442: who understands classless static routes ignores the router option.
    if [ -n "$staticroutes" ]; then
        set -- $staticroutes
        while [ $# -ge 2 ]; do
            echo "route replace $1 via $2 dev $interface metric $METRIC"
            shift 2
        done
    elif [ -n "$router" ]; then
        echo "route replace default via ${router%% *} dev $interface metric $METRIC"
    fi
}

{
    echo "addr replace $ip/$mask dev $interface"
    routes
} | ip -batch -
