# Steps and their count, for spec/run. Every check is a TAP line (ok, not ok, ok … # SKIP) in the log of its step;
# the summary counts these lines and nothing else. Source it from the top of the tree.

log_dir=.build/log
total_passed=0
total_failed=0
total_skipped=0

# Counts a TAP file: "passed failed skipped". cmocka 1.1 reports a skipped test as "not ok N # SKIP".
tap_count() {
  awk '/^(not )?ok .*# SKIP/ { skipped++; next }
       /^ok( |$)/ { passed++ }
       /^not ok( |$)/ { failed++ }
       END { print passed + 0, failed + 0, skipped + 0 }' "$1"
}

# Prints what failed, each with the lines below it, and what the failing program wrote to standard error (`#|`).
tap_failures() {
  awk '/^(not )?ok( |$)/ { show = /^not ok/ && !/# SKIP/ }
       /^1\.\.[0-9]+$/ { show = 0 }
       show || /^#\| / { print "    " $0 }' "$1"
}

# step NAME FUNCTION [ARGUMENTS]: runs the function, whose standard output is TAP, and prints one line about it, and
# below that line whatever failed. A step that checked nothing, or whose function fails with no failed check, failed.
step() {
  local name=$1 status=0 began=$SECONDS passed failed skipped line
  shift
  step_log=$log_dir/${name//[ ,]/-}
  rm -rf "$step_log"
  mkdir -p "$step_log"
  printf '%-28s ' "$name"
  "$@" >"$step_log/tap" || status=$?
  read -r passed failed skipped < <(tap_count "$step_log/tap")
  if [ $failed -eq 0 ] && { [ $status -ne 0 ] || [ $((passed + skipped)) -eq 0 ]; }; then
    echo "not ok - $name: ended with status $status after $passed checks, log in $step_log" >>"$step_log/tap"
    failed=1
  fi
  line="$passed passed, $failed failed"
  [ $skipped -eq 0 ] || line+=", $skipped skipped"
  printf '%s (%d s)\n' "$line" $((SECONDS - began))
  tap_failures "$step_log/tap"
  total_passed=$((total_passed + passed))
  total_failed=$((total_failed + failed))
  total_skipped=$((total_skipped + skipped))
}

# check NAME COMMAND…: one check, passed if the command exits 0; its output is shown if it doesn't.
check() {
  local name=$1 out status=0
  shift
  out=$step_log/${name//[^A-Za-z0-9_.-]/-}.log
  "$@" >"$out" 2>&1 || status=$?
  if [ $status -eq 0 ]; then
    echo "ok - $name"
  else
    echo "not ok - $name (exit status $status)"
    sed 's/^/# /' "$out"
    return 1
  fi
}

# tap_program NAME SECONDS COMMAND…: a program that reports in TAP. If it ends badly, or too early by its plan, without
# having reported a failure, that is one.
tap_program() {
  local name=$1 limit=$2 out status=0 passed failed skipped planned
  shift 2
  out=$step_log/$name
  # The shell's own word about a crash is not wanted twice.
  { timeout -k 10 "$limit" "$@" >"$out.tap" 2>"$out.err" </dev/null; } 2>/dev/null || status=$?
  # A program that died in the middle of a line must not swallow the next line.
  [ -z "$(tail -c 1 "$out.tap")" ] || echo >>"$out.tap"
  cat "$out.tap"
  read -r passed failed skipped < <(tap_count "$out.tap")
  planned=$(awk '/^1\.\.[0-9]+$/ { sum += substr($0, 4) } END { print sum + 0 }' "$out.tap")
  if [ $failed -eq 0 ] && ! ended_well; then
    echo "not ok - $name: $(end_of_program), log in $out.tap and $out.err"
    failed=1
  fi
  [ $failed -eq 0 ] || tail -n 100 "$out.err" | sed 's/^/#| /'
}

# busted under LuaJIT can crash after its last line, so its plan decides and not its status; the plan comes last, which
# makes a report that was cut off one without a plan.
ended_well() {
  [ "$planned" -gt 0 ] && [ "$planned" -eq $((passed + skipped)) ] &&
    { [ "$status" -eq 0 ] || [ -n "${plan_decides:-}" ]; }
}

end_of_program() {
  case $status in
  124 | 137) echo "ended after $limit s, the limit" ;;
  *) echo "ended with status $status after $((passed + skipped)) of $planned tests" ;;
  esac
}

# finish: the last line, and the exit status of the whole.
finish() {
  local line="$total_passed passed, $total_failed failed"
  [ $total_skipped -eq 0 ] || line+=", $total_skipped skipped"
  echo "$line"
  [ $total_failed -eq 0 ] && [ $total_passed -gt 0 ]
}
