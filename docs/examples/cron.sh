#!/bin/sh
# A run from cron: sh cron.sh RUN.toml LOG. Writes JSON lines to LOG; on stdout, which cron mails, only what needs somebody.
#
#   0 2 * * *  cd /srv/scores && sh cron.sh run.toml run.log
#
# Exit code: that of scorer. The next night resumes whatever this one left, so nothing has to be cleaned up.
set -u
run=$1 log=$2 tries=0

while :; do
  scorer run "$run" --quiet --log-format json > /dev/null 2>> "$log"
  code=$?
  tries=$((tries + 1))
  # The disk or the table was not to be had: the same command resumes, in a while.
  [ "$code" = 7 ] && [ "$tries" -lt 3 ] || break
  sleep "${PAUSE_S:-300}"
done

case $code in
  0 | 9) ;;  # 9: provider batches are out, with --no-wait; the next start collects them
  2) echo "scorer: the run file, the arguments or the input are wrong. Nothing was sent." ;;
  3) echo "scorer: the budget is used up. What is scored is kept; a higher one goes on." ;;
  4) echo "scorer: the judge's set-up is wrong (key, model, address, quota). Once it is corrected, the next night goes on." ;;
  5) echo "scorer: the output belongs to another run, or one is still going on." ;;
  6) echo "scorer: too many rows failed. Look at them, then: scorer retry OUT" ;;
  7) echo "scorer: the output could not be written, or the table not be reached, $tries times." ;;
  8) echo "scorer: the judge has drifted. Look at it; the next night asks the known rows first." ;;
  130) echo "scorer: interrupted. The next night goes on." ;;
  *) echo "scorer: exit code $code, which is a bug of scorer." ;;
esac
[ "$code" = 0 ] || [ "$code" = 9 ] || tail -n 1 "$log"
exit "$code"
