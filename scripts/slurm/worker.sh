#!/bin/bash
# One worker of a Slurm array; all of them share the cells of a study folder. In the project's folder, once
# `isoflop plan --out DIR` has made it:
#   sbatch --array=1-16 --time=4:00:00 scripts/slurm/worker.sh DIR
# The array may be submitted again at any time, also while it runs: what is done is never done again. 120 seconds before
# its time is over a worker saves a checkpoint and queues itself again. docs/cluster.md has more.
#SBATCH --job-name=isoflop
#SBATCH --array=1-8
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@120
#SBATCH --output=isoflop-%A_%a.log
dir=${1:?the folder of the study}
threads=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}

again=
stop() { kill -TERM "$worker" 2>/dev/null; }
trap 'again=1; stop' USR1  # the time is nearly over
trap stop TERM             # requeued or pre-empted: Slurm queues the job itself
"${ISOFLOP:-build/isoflop}" worker --dir "$dir" --set threads="$threads" &
worker=$!
# A signal ends `wait` before the worker ends.
while wait "$worker"; code=$?; kill -0 "$worker" 2>/dev/null; do :; done
[ $code -le 128 ] || { wait "$worker"; code=$?; }  # it may have ended between the two: the shell remembers how
if [ $code -eq 143 ] || [ $code -eq 130 ]; then code=75; fi
if [ -n "$again" ] && [ $code -eq 75 ]; then
  # By its own id: the plain one would queue the whole array.
  scontrol requeue "${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}${SLURM_ARRAY_TASK_ID:+_$SLURM_ARRAY_TASK_ID}"
fi
exit $code
