# Processes that outlive the script that started them, and end only when it is certain that they are the same ones: each
# is written down in $state/processes as `NAME PID START`, START being when the kernel says it began. Used by start and stop.

# When a process began, in the kernel's clock ticks; nothing if it has ended.
start_of() {
  local stat
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  stat=${stat##*) } # the program's name may have blanks
  [ "${stat%% *}" = Z ] || cut -d ' ' -f 20 <<<"$stat"
}

# is_alive PID START
is_alive() {
  [ "$(start_of "$1")" = "$2" ]
}

# run NAME COMMAND…: in the background, in a session of its own; its output goes to $state/NAME.log.
run() {
  local name=$1 pid
  shift
  : >"$state/$name.log"
  setsid "$@" </dev/null >>"$state/$name.log" 2>&1 &
  pid=$!
  disown
  echo "$name $pid $(start_of "$pid")" >>"$state/processes"
}

# The process of that name, as `PID START`.
process() {
  sed -n "s/^$1 //p" "$state/processes" | tail -n 1
}

forget() {
  sed -i "/^$1 /d" "$state/processes"
}

# end NAME [SIGNAL]: ends it if it is still ours, waits until it has ended.
end() {
  local name=$1 signal=${2:-TERM} pid start tries
  read -r pid start <<<"$(process "$name")"
  [ -n "${start:-}" ] || return 0
  for ((tries = 0; tries < 300; tries++)); do
    is_alive "$pid" "$start" || break
    ((tries != 0)) || kill -"$signal" "$pid"
    ((tries != 200)) || kill -KILL "$pid"
    sleep 0.1
  done
  forget "$name"
}

# Nodes first, all at once, so that none of them waits for another's end; then what they need.
end_all() {
  local name names
  [ -f "$state/processes" ] || return 0
  names=$(cut -d ' ' -f 1 "$state/processes")
  for name in $names; do
    case $name in node*) end "$name" & ;; esac
  done
  wait
  for name in $names; do
    end "$name"
  done
}

# True if anything that is written down still runs.
any_alive() {
  local name pid start
  [ -f "$state/processes" ] || return 1
  while read -r name pid start; do
    if is_alive "$pid" "$start"; then return 0; fi
  done <"$state/processes"
  return 1
}
