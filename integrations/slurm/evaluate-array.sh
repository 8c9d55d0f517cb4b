#!/usr/bin/env bash
# An evaluation as a Slurm array: every task draws one part, a last job puts them together.
#
#   sbatch --array=1-8 evaluate-array.sh part
#   sbatch --dependency=afterok:JOBID evaluate-array.sh whole 8
#
# A task that was pre-empted (--requeue) goes on with what its folder holds.
#SBATCH --job-name=dfprompt
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --requeue
#SBATCH --output=%x-%A-%a.log
set -euo pipefail

DFPROMPT=${DFPROMPT:-dfprompt}
FOLDER=${FOLDER:-out}                      # on storage that all nodes share
WHAT=${WHAT:---prompts prompts.txt --methods plain,policy --pipeline models/sd15 --seeds 4}

case "${1:?part, or whole with the number of parts}" in
  part)
    part=$SLURM_ARRAY_TASK_ID of=${SLURM_ARRAY_TASK_COUNT:?}
    # shellcheck disable=SC2086 # words, not one
    exec $DFPROMPT evaluate $WHAT --shard "$part/$of" --output "$FOLDER/part-$part"
    ;;
  whole)
    parts=()
    for ((part = 1; part <= ${2:?how many parts}; part++)); do parts+=("$FOLDER/part-$part"); done
    [ -e "$FOLDER/whole" ] || $DFPROMPT merge "${parts[@]}" --output "$FOLDER/whole"
    # shellcheck disable=SC2086
    exec $DFPROMPT evaluate $WHAT --output "$FOLDER/whole"   # draws nothing: the tables
    ;;
  *)
    echo "part or whole, not $1" >&2
    exit 2
    ;;
esac
