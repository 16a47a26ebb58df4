#!/bin/bash
# A study on a real Slurm: munged, slurmctld and slurmd on the loopback of this machine, from Debian's packages (those
# that are installed, else unpacked into a temporary folder). An array of 4 workers, of which one is requeued, one is killed
# and one is told that its time is nearly over; then the same array again. The results are those of a sweep on this machine, to the byte. Needs root. Takes
# about 4 minutes, half of which Slurm holds the requeued task back. Speaks TAP. Usage: tests/slurm.sh [BUILD_DIR];
# SETS in the environment: the study's settings
set -u
export ISOFLOP=$(realpath "${1:-build}")/isoflop
T=$(mktemp -d)
n=0 pids=
trap '[ -n "$pids" ] && kill $pids 2>/dev/null; sleep 1; rm -rf "$T"' EXIT
ok() {  # ok NAME COMMAND...: passes if the command does
  n=$((n + 1)); local name=$1; shift
  if "$@" >"$T/why" 2>&1; then echo "ok $n - $name"; else echo "not ok $n - $name"; sed 's/^/# /' "$T/why"; fi
}
skip() { echo "1..0 # SKIP $1"; exit 0; }
within() {  # within SECONDS COMMAND...: waits until the command passes
  local left=$(($1 * 5)); shift
  while ! "$@" >/dev/null 2>&1; do left=$((left - 1)); [ $left -gt 0 ] || return 1; sleep 0.2; done
}

# ---- Slurm itself
[ "$(id -u)" -eq 0 ] || skip "slurmd needs root"
plugins=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu)/slurm-wlm suffix=
if ! command -v slurmctld slurmd munged sbatch >/dev/null; then
  packages=$(apt-get install -s --no-install-recommends slurmctld slurmd slurm-client munge 2>/dev/null |
    awk '/^Inst/ { print $2 }')
  [ -n "$packages" ] || skip "slurmctld, slurmd, slurm-client and munge are missing, and apt-get knows no such packages"
  mkdir "$T/deb" && (cd "$T/deb" && apt-get download $packages) >"$T/log" 2>&1 || skip "cannot download $packages"
  for deb in "$T"/deb/*.deb; do dpkg -x "$deb" "$T/root"; done
  plugins=$T/root$plugins suffix=-wlm
  export PATH=$T/root/usr/sbin:$T/root/usr/bin:$PATH LD_LIBRARY_PATH=${plugins%/*}:$plugins
fi
host=$(hostname -s)
mkdir -p "$T/munge" "$T/state" "$T/spool" && chmod 0755 "$T" "$T/munge"
head -c 1024 /dev/urandom >"$T/munge/key" && chmod 0400 "$T/munge/key"
cat >"$T/slurm.conf" <<END
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$T/munge/socket
CredType=cred/munge
PluginDir=$plugins
StateSaveLocation=$T/state
SlurmdSpoolDir=$T/spool
SlurmctldPidFile=$T/slurmctld.pid
SlurmdPidFile=$T/slurmd.pid
SlurmctldLogFile=$T/slurmctld.log
SlurmdLogFile=$T/slurmd.log
SlurmctldPort=26817
SlurmdPort=26818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
sed -i "1i SlurmdParameters=config_overrides" "$T/slurm.conf"  # 4 CPUs, whatever there are: all workers at a time
export SLURM_CONF=$T/slurm.conf
munged --foreground --force --key-file="$T/munge/key" --socket="$T/munge/socket" --pid-file="$T/munge/pid" \
  --log-file="$T/munge/log" --seed-file="$T/munge/seed" >/dev/null 2>&1 & pids="$pids $!"
within 10 [ -S "$T/munge/socket" ]
slurmctld$suffix -D -f "$SLURM_CONF" >/dev/null 2>&1 & pids="$pids $!"
stepd=${suffix:+-d $T/root/usr/sbin/slurmstepd-wlm}
slurmd$suffix -D -f "$SLURM_CONF" $stepd >/dev/null 2>&1 & pids="$pids $!"
idle() { [ "$(sinfo -h -o %T)" = idle ]; }
ok "a node is there" within 30 idle

# ---- The study
SETS=${SETS:-budgets=1e10,3e10 params_range=9000,30000 sizes_per_budget=6 checkpoint_seconds=0.2}
STUDY="--config configs/smoke.ini $(for set in $SETS; do echo "--set $set"; done)"
"$ISOFLOP" sweep $STUDY --out "$T/laptop" --workers 2 >/dev/null 2>&1
ok "the laptop's sweep" [ $? -eq 0 ]
"$ISOFLOP" plan $STUDY --out "$T/cluster" >/dev/null 2>&1
ok "the cluster's folder" [ $? -eq 0 ]
array() { sbatch --parsable --array=1-4 --output="$T/log-%A_%a" scripts/slurm/worker.sh "$T/cluster"; }
job=$(array)
ok "an array of 4 workers is queued" [ -n "$job" ]
claims() { ls "$T"/cluster/runs/*/*/claim 2>/dev/null; }
running() { [ "$(squeue -h -t R -r -j $1 | wc -l)" -ge $2 ]; }
two() { [ "$(claims | wc -l)" -ge 2 ]; }
ok "tasks run side by side" within 60 two
owner_of() {  # the worker process of an array task, by its environment
  local p
  for p in $(grep -lz '^worker$' /proc/[0-9]*/cmdline 2>/dev/null | tr -dc '0-9\n'); do
    tr '\0' '\n' <"/proc/$p/environ" >"$T/environ" 2>/dev/null
    [ "$(grep -cxE "SLURM_ARRAY_(TASK_ID=$1|JOB_ID=$job)" "$T/environ")" -eq 2 ] && echo $p
  done
}
victim=$(owner_of 2)
ok "one is killed" kill -9 $victim
ok "one is requeued" scontrol requeue "${job}_1"
ok "one is told that its time is nearly over" scancel --batch --signal=USR1 "${job}_3"
done_with() { [ -z "$(squeue -h -r -j $1)" ]; }
ok "all of the array end" within 400 done_with $job
restarted() { scontrol -o show job "${job}_$1" | grep -q ' Restarts=1 '; }
ok "the requeued one was started again" restarted 1
ok "whose time was nearly over queued itself again" restarted 3
again=$(array)
ok "the same array again" within 200 done_with $again
results() { cut -d, -f 1-19,21- "$1/runs.csv"; }
same_results() { results "$T/laptop" >"$T/a" && results "$T/cluster" >"$T/b" && diff "$T/a" "$T/b"; }
same_models() {
  for run in $(ls "$T/laptop/runs"); do
    for file in model.bin curve.tsv; do cmp "$T/laptop/runs/$run/$file" "$T/cluster/runs/$run/$file" || return 1; done
  done
}
ok "the results are the laptop's" same_results
ok "the models and curves are the laptop's" same_models
ok "nothing is damaged" "$ISOFLOP" verify "$T/cluster"
bytes() { cut -d, -f 1-19,21- "$1/runs.csv" && cat "$1"/runs/*/model.bin "$1"/runs/*/curve.tsv; }
hash_of() { bytes "$1" | sha256sum | cut -c1-32; }
echo "# hash $(hash_of "$T/laptop") laptop"
echo "# hash $(hash_of "$T/cluster") Slurm"
echo "1..$n"
