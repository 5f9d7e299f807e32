#!/bin/sh
#SBATCH --job-name=scorer
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@180
# Scores on the nodes of a Slurm job with Ray. sbatch slurm.sh run.toml
# The output folder is on a file system that all nodes have, or in a bucket. Three minutes before its time limit, or when it is
# preempted, the job goes back into the queue, and the next start resumes; what was in flight then is asked again.
set -eu
run_file=$1
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 20000))
workers=$((SLURM_JOB_NUM_NODES * SLURM_CPUS_PER_TASK))
RAY_AUTH_MODE=token
RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')}
export RAY_AUTH_MODE RAY_AUTH_TOKEN

srun ray symmetric-run --address "$head:$port" --min-nodes "$SLURM_JOB_NUM_NODES" --num-cpus "$SLURM_CPUS_PER_TASK" -- \
  scorer run "$run_file" --engine ray --address "$head:$port" --workers "$workers" --log-format json &
step=$!
# To srun, which ends the processes on all nodes.
trap 'kill -TERM "$step"' TERM INT
code=0
wait "$step" || code=$?
while kill -0 "$step" 2> /dev/null; do # a signal ended the first wait
  code=0
  wait "$step" || code=$?
done
case $code in
  0) exit 0 ;;
  5 | 7 | 130 | 143) exec scontrol requeue "$SLURM_JOB_ID" ;;
  *) exit "$code" ;; # a person has to look
esac
