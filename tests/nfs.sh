#!/bin/bash
# Claims on a real NFS: a virtual machine whose kernel serves a disk, and two machines a and b in it (namespaces of
# network, mounts, processes and host name), whose NFS clients share no cache. Each mounts the disk with the options that
# anybody has and starts two workers on one study. A worker of a is killed, and b loses its network until a has taken over
# one of its cells; then a loses its network and is switched off, and b, which has overslept, does the rest. The results
# are those of the local disk, to the byte. All that with NFS 4.2, then 3. Needs root, x86-64 and Debian's mirror: the
# kernel, and what is not installed, are unpacked into a temporary folder. Emulated (ACCEL=kvm in the environment is
# quicker where that works) it takes 6 to 7 minutes of one core. Speaks TAP. Usage: tests/nfs.sh [BUILD_DIR]
set -u
here=$(cd "$(dirname "$0")/.." && pwd)

# ---- In the virtual machine: one of the two machines, whose init this is
if [ "${1:-}" = machine ]; then  # NAME SERVER VERSION LOG
  hostname "$2"
  case $4 in 3) path=/disk options=vers=3,nolock ;; *) path=/ options=vers=$4 ;; esac  # there is no statd; we lock nothing
  mount.nfs "$3:$path" /mnt -o $options || exit 1
  grep ' /mnt nfs' /proc/mounts
  for i in 1 2; do
    ("$ISOFLOP" worker --dir "/mnt/nfs$4" --set heartbeat=1 --set checkpoint_seconds=0.2 >"$5$i" 2>&1; echo $? >"$5$i.code") &
  done
  wait
  exit
fi

# ---- In the virtual machine: the server, and what is checked. The root is the host's, read-only, under a layer of memory
if [ "${1:-} $$" = "server 1" ]; then  # as its init, and nowhere else: it ends by a reset
  mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
  mkdir -p /dev/shm /disk /var/lib/nfs/sm
  for dir in /run /dev/shm; do mount -t tmpfs none $dir; done
  mkdir /run/rpcbind; touch /var/lib/nfs/etab /var/lib/nfs/rmtab
  cp -rn "$UNPACKED/etc/." /etc 2>/dev/null  # netconfig of libtirpc
  grep -q ^_rpc: /etc/passwd || echo _rpc:x:42:65534::/:/bin/false >>/etc/passwd
  cd "$here" && . tests/lib.sh
  truncate -s 400M "$T/image" && mkfs.ext4 -q "$T/image" && mount -o loop "$T/image" /disk
  ip link set lo up; mount -t nfsd none /proc/fs/nfsd; rpcbind
  exportfs -o rw,sync,fsid=0,no_root_squash,no_subtree_check '*:/disk'
  rpc.mountd; rpc.nfsd --lease-time 10 --grace-time 10 8  # s: leases end while b is cut off
  ok "a disk is served" [ "$(cat /proc/fs/nfsd/threads)" -gt 0 ]
  echo "# Linux $(uname -r), nfsd $(cat /proc/fs/nfsd/versions), $(df --output=fstype /disk | tail -1), kernels $KERNELS"
  "$ISOFLOP" sweep $STUDY --out /disk/local --workers 1 >"$T/log" 2>&1
  ok "the study on the local disk" [ $? -eq 0 ]
  cells=$(ls /disk/local/runs | wc -l)
  for m in a:1 b:2; do
    name=${m%:*} net=10.0.${m#*:}
    ip netns add $name; ip link add link-$name type veth peer name eth0 netns $name
    ip addr add $net.1/24 dev link-$name; ip link set link-$name up
    ip -n $name addr add $net.2/24 dev eth0; ip -n $name link set eth0 up; ip -n $name link set lo up
  done
  boot() {  # boot NAME SERVER
    ip netns exec $1 unshare --uts --mount --pid --fork --mount-proc bash tests/nfs.sh machine $1 $2 $v "$T/$v$1" >"$T/$v$1" 2>&1 &
  }
  saved() { [ "$(ls -d $runs/*/$1-*/checkpoint.bin 2>/dev/null | wc -l)" -ge 2 ]; }  # saved MACHINE: its cells, both
  all_saved() { saved a && saved b; }
  gone() { for dir in $1; do [ -d $dir ] || return 0; done; return 1; }  # one of them is
  tell() { echo "# $(($(date +%s) - began)) s, $(ls $runs/*/run.ini 2>/dev/null | wc -l) of $cells cells done: $1"; }
  for v in 4.2 3; do
    began=$(date +%s) runs=/disk/nfs$v/runs
    "$ISOFLOP" plan $STUDY --out /disk/nfs$v >/dev/null 2>&1
    ip link set link-a up
    boot a 10.0.1.1; a=$!
    boot b 10.0.2.1; b=$!
    ok "NFS $v: two workers on each of two machines" within 60 all_saved
    sed 's/^/# /' "$T/${v}a" "$T/${v}b"
    worker=$(children $(children $(children $a) | head -1))
    ip link set link-b down; sleep 0.5
    theirs=$(ls -d $runs/*/b-*)
    kill -9 $worker
    tell "a worker of a killed, b cut off"
    ok "NFS $v: a takes over a cell of b, which is cut off" within 300 gone "$theirs"
    tell "b on the network again, a cut off and switched off"
    ip link set link-a down; kill -9 $(children $a); ip link set link-b up
    wait $b
    tell "b has ended"
    ok "NFS $v: b does the rest, exit codes 0" [ "$(cat "$T/${v}b1.code" "$T/${v}b2.code" | xargs)" = "0 0" ]
    for w in a1 a2 b1 b2; do sed "s/^/# $w  /" "$T/$v$w"; done
    column run_id /disk/nfs$v/runs.csv | sort >"$T/ids"
    ok "NFS $v: $cells rows, none missing or double" [ "$(wc -l <"$T/ids") $(sort -u "$T/ids" | wc -l)" = "$cells $cells" ]
    ok "NFS $v: no cell was run twice" [ "$(lines "$T/$v"[ab][12])" -le "$cells" ]
    ok "NFS $v: the results of the local disk" same_results /disk/local /disk/nfs$v
    ok "NFS $v: the models and curves of the local disk" same_models /disk/local /disk/nfs$v
    ok "NFS $v: nothing else is left" only_results /disk/nfs$v
    ok "NFS $v: nothing is damaged" "$ISOFLOP" verify /disk/nfs$v
  done
  echo "1..$n"
  sleep 1; echo b >/proc/sysrq-trigger; sleep 60
fi

# ---- Outside: the kernel, an initial ram disk that mounts the host's root, the virtual machine
skip() { echo "1..0 # SKIP $*"; exit 0; }
[ "$(id -u) $(uname -m)" = "0 x86_64" ] || skip "needs root, on x86-64"
T=$(mktemp -d) PATH=$PATH:/usr/sbin:/sbin
trap 'rm -rf "$T"' EXIT
kernel=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
[ -n "$kernel" ] || skip "apt-cache knows no linux-image-amd64"
missing=
for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static kmod:kmod ip:iproute2 mkfs.ext4:e2fsprogs \
  rpc.nfsd:nfs-kernel-server rpcbind:rpcbind; do
  command -v ${tool%:*} >/dev/null || missing="$missing ${tool#*:}"
done
[ -z "$missing" ] || missing=$(apt-get install -s --no-install-recommends $missing 2>/dev/null | awk '/^Inst/ { print $2 }')
mkdir "$T/deb" "$T/bin" && (cd "$T/deb" && apt-get download $kernel $missing) >"$T/log" 2>&1 ||
  skip "cannot download" $kernel $missing
for deb in "$T"/deb/*.deb; do dpkg -x "$deb" "$T/root"; done
r=$T/root lib=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu) version=${kernel#linux-image-}
export PATH=$T/bin:$PATH:$r/usr/sbin:$r/usr/bin:$r/sbin:$r/bin LD_LIBRARY_PATH=$r/usr/lib/$lib:$r/lib/$lib
for tool in depmod modprobe; do ln -s "$(command -v kmod)" "$T/bin/$tool"; done
depmod -b "$r" $version
mkdir -p "$T/init/modules" "$T/init/host" "$T/init/new" "$T/init/layer"
cp "$(command -v busybox)" "$T/init/busybox"
i=100
for file in $(for m in virtio_pci 9pnet_virtio 9p overlay loop ext4 veth nfsd nfsv3 nfsv4; do
  modprobe -d "$r" -S $version --show-depends $m; done | awk '/^insmod/ && !seen[$2]++ { print $2 }'); do
  i=$((i + 1)); cp "$file" "$T/init/modules/$i.ko"  # in the order in which they must come
done
export ISOFLOP=$(realpath "${1:-build}")/isoflop ISOFLOP_DATA=${ISOFLOP_DATA:-$here/data} KERNELS=${KERNELS:-scalar} UNPACKED=$r
export STUDY="--config configs/smoke.ini --set budgets=2e8,3e8,4e8 --set params_range=4000,30000 --set sizes_per_budget=4
  --set eval_tokens=2048 --set eval_points=1"
(cd "$here" && "$ISOFLOP" plan $STUDY) >"$T/log" 2>&1 || skip "$(tail -1 "$T/log")"  # the corpus is there after it
cat >"$T/init/init" <<END
#!/busybox sh
for m in /modules/*; do /busybox insmod \$m; done
/busybox mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=262144 host /host
/busybox mount -t tmpfs none /layer
/busybox mkdir /layer/upper /layer/work
/busybox mount -t overlay -o lowerdir=/host,upperdir=/layer/upper,workdir=/layer/work none /new
$(for v in PATH LD_LIBRARY_PATH ISOFLOP ISOFLOP_DATA KERNELS UNPACKED STUDY; do echo "export $v='${!v}'"; done)
exec /busybox switch_root /new /bin/bash $here/tests/nfs.sh server
END
chmod +x "$T/init/init"
(cd "$T/init" && find . | busybox cpio -o -H newc) >"$T/initrd" 2>/dev/null
timeout 3000 qemu-system-x86_64 -accel ${ACCEL:-tcg} -cpu max -smp 1 -m 1500 -L $r/usr/share/qemu -L $r/usr/share/seabios \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap -display none -monitor none -nic none \
  -no-reboot -kernel "$r/boot/vmlinuz-$version" -initrd "$T/initrd" -append "console=ttyS0 quiet panic=-1" -serial stdio \
  </dev/null 2>&1 | sed -u 's/\r//; /sysrq: Resetting/d' | tee "$T/console"
grep -q '^1\.\.' "$T/console" || echo "not ok - the virtual machine ended early"
