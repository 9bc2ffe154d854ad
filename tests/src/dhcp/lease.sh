#!/bin/sh
# Called by busybox's udhcpc with the event; the lease is in the environment, as udhcpc's own documentation names it.
# Addresses, routes and resolvers then stand where NetworkManager would leave them.

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

leases=/run/dhcp
mkdir -p $leases /run/NetworkManager
case $1 in
    deconfig) rm -f $leases/$interface ;;
    bound)
        {
            [ -z "$domain" ] || echo "search $domain"
            for resolver in $dns; do echo "nameserver $resolver"; done
        } > $leases/$interface
        {
            echo "addr replace $ip/$mask dev $interface"
            routes
        } | ip -batch - ;;
    *) exit 0 ;;
esac
cat $leases/* 2> /dev/null > /run/NetworkManager/no-stub-resolv.conf || true
