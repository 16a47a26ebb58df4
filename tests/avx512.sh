#!/bin/bash
# The AVX-512 kernels on a machine that has none: the tests of the row operations, and every STRIDEth case (default 7) of
# the products', on the Skylake-X of Bochs, which interprets x86, under Debian's kernel, from the image of a CD. Every
# tool that is not installed, and the kernel, are unpacked from Debian's mirror into a temporary folder. Takes 5 minutes
# of one core. Speaks TAP. Usage: [STRIDE=N] tests/avx512.sh [BUILD_DIR]
set -u
skip() { echo "1..0 # SKIP $*"; exit 0; }
[ "$(uname -m)" = x86_64 ] || skip "needs x86-64"
! grep -qw avx512f /proc/cpuinfo || skip "this CPU has AVX-512: make check tests it"
build=$(realpath "${1:-build}") T=$(mktemp -d) tests=(test_softmax test_vec checkkern)
trap 'pkill -KILL -f "$T/bochsrc"; rm -rf "$T"' EXIT
trap exit INT TERM
kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | awk '/Depends: linux-image/ { print $2; exit }')
packages=$(apt-get install -s --no-install-recommends bochs bochs-term xorriso 2>/dev/null | awk '/^Inst/ { print $2 }')
packages="bochs bochs-term bochsbios vgabios isolinux syslinux-common busybox-static $kernel $packages"
mkdir "$T/deb" && (cd "$T/deb" && apt-get download $packages) >"$T/log" 2>&1 || skip "cannot download" $packages
for deb in "$T"/deb/*.deb; do dpkg -x "$deb" "$T/root"; done
r=$T/root lib=$T/root/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu)

# ---- The CD: a boot loader, the kernel, and an initial ram disk with the programs and what they are linked with
mkdir -p "$T/init/lib64" "$T/cd/isolinux" && cd "$T/init" && mkdir bin lib proc dev
cp "$r/bin/busybox" "${tests[@]/#/$build/tests/}" bin/
cp -L $(ldd "${tests[@]/#/bin/}" | awk '/=> \// { print $3 }' | sort -u) lib/
cp -L /lib64/ld-linux-x86-64.so.2 lib64/
cat >init <<END
#!/bin/busybox sh
/bin/busybox mount -t proc none /proc; /bin/busybox mount -t devtmpfs none /dev
exec >/dev/ttyS0 2>&1
export LD_LIBRARY_PATH=/lib CMOCKA_MESSAGE_OUTPUT=TAP OMP_WAIT_POLICY=passive STRIDE=${STRIDE:-7}
codes=; for t in ${tests[*]}; do /bin/\$t avx512; codes=\$codes\$?; done  # the argument is checkkern's, its table
echo "exit codes \$codes"; while :; do echo; /bin/busybox sleep 1; done  # until it is switched off
END
chmod +x init
find . | bin/busybox cpio -o -H newc >"$T/cd/initrd" 2>/dev/null
cp "$r"/boot/vmlinuz-* "$T/cd/vmlinuz"
cp "$r/usr/lib/ISOLINUX/isolinux.bin" "$r/usr/lib/syslinux/modules/bios/ldlinux.c32" "$T/cd/isolinux/"
# clearcpuid: xsavec and xsaves, whose sizes this Bochs gets wrong. mitigations: some would switch AVX off.
cat >"$T/cd/isolinux/isolinux.cfg" <<END
default it
label it
kernel /vmlinuz
append initrd=/initrd console=ttyS0 quiet panic=-1 mitigations=off clearcpuid=321,323 no_timer_check lpj=1000000
END
export LD_LIBRARY_PATH=$lib LTDL_LIBRARY_PATH=$lib/bochs/plugins BXSHARE=$r/usr/share/bochs TERM=linux
"$r/usr/bin/xorriso" -as mkisofs -o "$T/cd.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
  -boot-load-size 4 -boot-info-table "$T/cd" >"$T/log" 2>&1 || skip "no CD image: $(tail -1 "$T/log")"

# ---- The computer
cat >"$T/bochsrc" <<END
cpu: model=corei7_skylake_x, ips=100000000, reset_on_triple_fault=0
memory: guest=512, host=512
romimage: file=$BXSHARE/BIOS-bochs-latest
vgaromimage: file=$BXSHARE/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=$T/cd.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$T/console
display_library: term
log: $T/bochs.log
panic: action=fatal
END
echo c >"$T/go"  # this Bochs has a debugger, which waits for that
: >"$T/console"
timeout 1800 script -qfc "$r/usr/bin/bochs-bin -q -rc $T/go -f $T/bochsrc" /dev/null >"$T/screen" 2>&1 </dev/null &
bochs=$!
disown  # lest the shell tell of its end
tail -n +1 -f --pid=$bochs "$T/console" | sed -u 's/\r//; /^exit codes/q'
grep -q '^exit codes 000' "$T/console" && exit
echo "not ok - the emulated machine ended early, or a test failed"; exit 1
