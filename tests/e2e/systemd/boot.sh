# Runs a script under a real systemd, in namespaces of its own: nothing of the machine is changed.
#
#   boot.sh PROGRAM DIR UNIT SCRIPT
#
# SCRIPT runs as root where DIR/srv is /srv, DIR/etc is laid over /etc, PROGRAM is installed as /usr/bin/strata with
# its mount helper, and systemd has no units but its targets, its journal, what DIR/etc/fstab makes, and those in
# DIR/etc/systemd/system, of which UNIT is enabled unless it is empty. After SCRIPT systemd shuts down. Ends with what
# SCRIPT ended with; with 77 where there can be no such systemd, having said why.
set -eu

program=$1 dir=$2 unit=$3 script=$4
systemd=/lib/systemd/systemd
units=/lib/systemd/system
cannot() { echo "$1" >&2; exit 77; }

# The second time, in the namespaces: becomes systemd.
if [ "${5:-}" = boot ]; then
    root=$dir/root
    mkdir "$dir/scratch" "$root"
    mount -t tmpfs tmpfs "$dir/scratch"
    mkdir "$dir/scratch/upper" "$dir/scratch/work"
    mount -t overlay -o "lowerdir=/,upperdir=$dir/scratch/upper,workdir=$dir/scratch/work" overlay "$root"
    cd "$root"
    mount -t proc proc proc
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs dev
    for device in null zero full random urandom fuse autofs; do
        : >"dev/$device"
        mount --bind "/dev/$device" "dev/$device"
    done
    mkdir dev/shm dev/pts
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs tmpfs tmp
    mkdir -p srv mnt/data mnt/pets run/units/sockets.target.wants run/generators run/old
    mount --bind "$dir/srv" srv
    rm -rf etc/systemd/system
    cp -r "$dir/etc/." etc
    mkdir -p etc/systemd/system
    rm -f usr/bin/strata
    : >usr/bin/strata
    mount --bind "$program" usr/bin/strata
    ln -sf ../bin/strata usr/sbin/mount.fuse.strata
    for target in basic final local-fs local-fs-pre multi-user paths poweroff remote-fs remote-fs-pre shutdown slices \
        sockets swap sysinit timers umount; do
        cp "$units/$target.target" run/units
    done
    cp "$units/systemd-poweroff.service" "$units/systemd-journald.service" "$units/systemd-journald.socket" \
        "$units/systemd-journald-dev-log.socket" run/units
    ln -s ../systemd-journald.socket ../systemd-journald-dev-log.socket run/units/sockets.target.wants
    ln -s /lib/systemd/system-generators/systemd-fstab-generator run/generators
    pivot_root . run/old
    umount -l /run/old
    [ -z "$unit" ] || systemctl --quiet --root=/ enable "$unit"
    path=/etc/systemd/system:/run/systemd/generator:/run/units
    exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=strata SYSTEMD_UNIT_PATH=$path \
        SYSTEMD_GENERATOR_PATH=/run/generators $systemd --system --unit=multi-user.target --log-target=journal \
        --show-status=no --crash-reboot=no --default-standard-output=journal
fi

[ -x $systemd ] || cannot "there is no $systemd"
[ -e /dev/fuse ] && [ -e /dev/autofs ] || cannot "/dev/fuse and /dev/autofs are wanted"
groups=$(findmnt -n -o TARGET -t cgroup2 | head -n 1)
[ -n "$groups" ] || cannot "there are no control groups of version 2"
group=$groups/strata-test-$$
mkdir "$group" 2>/dev/null || cannot "no control group can be made in $groups"
outer=
# What is in the namespaces ends with the first of its processes, and that with unshare.
end() {
    [ -z "$outer" ] || kill -KILL "$outer" 2>/dev/null || true
    while [ -s "$group/cgroup.procs" ] || ! find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; do
        [ -d "$group" ] || break
        sleep 0.05
    done
}
trap end EXIT
namespaces="--mount --pid --cgroup --ipc --uts --net"
(
    echo 0 >"$group/cgroup.procs"
    exec unshare $namespaces --fork --kill-child --propagation private sh "$0" "$program" "$dir" "$unit" "$script" boot
) >"$dir/boot.log" 2>&1 </dev/null &
outer=$!

inside() {
    nsenter --target "$first" --mount --pid --ipc --uts --net --cgroup --root --wd \
        env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin SYSTEMD_PAGER= "$@"
}
state=
tries=0
until [ "$state" = running ] || [ "$state" = degraded ]; do
    tries=$((tries + 1))
    [ $tries -lt 300 ] && kill -0 "$outer" 2>/dev/null ||
        cannot "systemd does not start in namespaces of its own: $state $(cat "$dir/boot.log")"
    sleep 0.1
    first=$(pgrep -P "$outer" -x systemd) || continue
    state=$(inside systemctl is-system-running 2>&1) || true
done
code=0
inside sh -euc "$script" || code=$?
inside systemctl --no-block --job-mode=replace-irreversibly start poweroff.target
wait "$outer" || true
outer=
exit $code
