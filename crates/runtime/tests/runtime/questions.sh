# Asks, from inside of a container, what a process there is, sees and may do. Prints `key|answer` lines.
# Nothing here may change the machine even if the container holds nothing back: what is not namespaced is
# opened, never written.
say() { echo "$1|$2"; }
may() { key=$1; shift; if ("$@") >/dev/null 2>&1; then say "$key" yes; else say "$key" no; fi; }
status() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status | sed 's/[[:space:]]*$//'; }

say id "$(id)"
for field in Groups CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp SigBlk SigIgn Umask; do
    say "status $field" "$(status $field)"
done
say oom_score_adj "$(cat /proc/self/oom_score_adj)"
say pwd "$(pwd)"
say hostname "$(hostname)"
may "lead a session" test "$(cut -d' ' -f6 /proc/$$/stat)" = $$
say pid1 "$(tr '\0' ' ' </proc/1/cmdline | cut -c1-8)"
env | grep -vE '^(_|SHLVL|OLDPWD|PWD)=' | sort | while IFS='=' read -r name value; do say "env $name" "$value"; done
sed 1d /proc/self/limits | while read -r line; do say "limit ${line%%  *}" "${line#*  }"; done
say descriptors "$(ls /proc/self/fd | tr '\n' ' ')"

for node in /dev/*; do
    say "node $node" "$(stat -c '%F %a %u %g %t:%T' "$node" 2>&1)$(readlink "$node")"
done
while read -r _ target type options _; do
    case $target in /|/dev/null|/dev/zero|/dev/full|/dev/random|/dev/urandom|/dev/tty) continue ;; esac
    rights=$(echo "$options" | tr , '\n' | grep -xE 'ro|rw|nosuid|nodev|noexec' | tr '\n' ' ')
    say "mount $target" "$type $rights"
done </proc/mounts

for path in /proc/asound /proc/acpi /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/timer_list \
    /proc/sched_debug /proc/scsi /sys/firmware /sys/devices/virtual/powercap; do
    if [ -d $path ]; then say "read $path" "$(ls $path | wc -l) entries"
    elif [ -e $path ]; then say "read $path" "$(head -c 100 $path 2>/dev/null | wc -c) bytes"
    else say "read $path" absent; fi
done
for path in /proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward /proc/sysrq-trigger /sys/kernel/uevent_helper \
    /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/cgroup.procs; do
    [ -e $path ] || continue
    may "write $path" sh -c ": >>$path"
done
for path in / /etc /tmp /dev /dev/shm /sys /sys/fs/cgroup /proc/irq; do may "create in $path" touch "$path/made"; done
for limit in memory/memory.limit_in_bytes pids/pids.max cpu/cpu.shares memory.max pids.max; do
    [ -e /sys/fs/cgroup/$limit ] && say "cgroup $limit" "$(cat /sys/fs/cgroup/$limit)"
done
say "cgroup here" "$(cat /sys/fs/cgroup/memory/cgroup.procs 2>/dev/null | head -n1)"

may "change the mode of a device" sh -c 'chmod 666 /dev/null'
may "make a device" mknod /tmp/kmsg c 1 11
may "open a made device" sh -c ': </tmp/kmsg'
may "open a made device in dev" sh -c 'mknod /dev/kmsg2 c 1 11 && : </dev/kmsg2'
may "make a pipe" mkfifo /tmp/pipe
may mount mount -t tmpfs none /tmp
may unshare unshare -m true
may "unshare user" unshare -U true
may chroot chroot / true
may "change owner" chown 1:1 /tmp/owned
may "become another" su web -c true
may "set host name" hostname other
may "load keys" sh -c 'cat /proc/keys | grep -q .'
may "set priority" nice -n -5 true
may "raise limit" sh -c 'ulimit -Hn 1048577'
may "signal pid 1" kill -0 1
may "use a terminal" sh -c ': </dev/tty'
may "make a terminal" sh -c ': </dev/ptmx'
