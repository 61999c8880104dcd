--- Child processes for the specs: start, read what they print, signal, wait with a deadline, and always end.
-- All of it happens in one thread: whoever waits for anything also collects the output of every child, so that none
-- blocks on a full pipe. Children die with this process (PR_SET_PDEATHSIG).
local ffi = require "ffi"
local bit = require "bit"

ffi.cdef [[
  int fork(void);
  int pipe2(int fds[2], int flags);
  int dup2(int from, int to);
  int close(int fd);
  long read(int fd, void *buf, size_t count);
  long write(int fd, const void *buf, size_t count);
  int open(const char *path, int flags, ...);
  int chdir(const char *path);
  int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
  int setpgid(int pid, int group);
  int execvpe(const char *file, char *const argv[], char *const envp[]);
  void _exit(int status);
  int kill(int pid, int number);
  int waitpid(int pid, int *status, int options);
  int getpid(void);
  void (*signal(int number, void (*handler)(int)))(int);
  struct lc_pollfd { int fd; short events, revents; };
  int poll(struct lc_pollfd *fds, unsigned long count, int timeout_ms);
  struct lc_timespec { long sec, nsec; };
  int clock_gettime(int clock, struct lc_timespec *out);
  char *mkdtemp(char *template);
  int symlink(const char *target, const char *path);
  struct lc_rlimit { unsigned long cur, max; };
  int setrlimit(int resource, const struct lc_rlimit *limit);
  extern char **environ;
]]
local C = ffi.C

local M = {}

local SIGNALS = { HUP = 1, INT = 2, QUIT = 3, KILL = 9, USR2 = 12, PIPE = 13, TERM = 15, CONT = 18, STOP = 19 }
local O_CLOEXEC, O_RDONLY = 524288, 0
local WNOHANG = 1
local POLLIN, POLLHUP = 1, 16
local PR_SET_PDEATHSIG = 1
local RLIMIT_NOFILE = 7
local SIG_DFL, SIG_IGN = ffi.cast("void (*)(int)", 0), ffi.cast("void (*)(int)", 1)

-- A child that ended must not end us when we write to it.
C.signal(SIGNALS.PIPE, SIG_IGN)

local live = {} -- every process not yet reaped
local folders = {}

--- Seconds on a clock that only goes forward.
function M.now()
  local time = ffi.new("struct lc_timespec")
  C.clock_gettime(1, time)
  return tonumber(time.sec) + tonumber(time.nsec) / 1e9
end

-- Sanitizers make everything slower.
local slow = { asan = 3, tsan = 6 }
M.slowness = slow[os.getenv("LCACHE_PRESET") or ""] or 1

local Process = {}
Process.__index = Process

local function c_strings(list)
  local array = ffi.new("char *[?]", #list + 1)
  for i, text in ipairs(list) do array[i - 1] = ffi.cast("char *", text) end
  array[#list] = nil
  return array
end

-- The environment of a child: ours without lcache's own variables, and `extra`.
local function environment(extra)
  local list = {}
  local i = 0
  while C.environ[i] ~= nil do
    local entry = ffi.string(C.environ[i])
    local name = entry:match("^[^=]*")
    if not name:find("^LCACHE_") and extra[name] == nil then list[#list + 1] = entry end
    i = i + 1
  end
  for name, value in pairs(extra) do
    if value then list[#list + 1] = name .. "=" .. value end
  end
  return list
end

local function pipe()
  local fds = ffi.new("int[2]")
  assert(C.pipe2(fds, O_CLOEXEC) == 0, "pipe2 failed")
  return fds[0], fds[1]
end

local function run_child(options, argv, envp, fds)
  C.prctl(PR_SET_PDEATHSIG, SIGNALS.KILL, 0, 0, 0)
  C.setpgid(0, 0)
  C.signal(SIGNALS.PIPE, SIG_DFL)
  if options.cwd and C.chdir(options.cwd) ~= 0 then C._exit(126) end
  if options.files then
    C.setrlimit(RLIMIT_NOFILE, ffi.new("struct lc_rlimit", options.files, options.files))
  end
  C.dup2(fds.stdin, 0)
  C.dup2(fds.stdout, 1)
  C.dup2(fds.stderr, 2)
  C.execvpe(argv[0], argv, envp)
  C._exit(127)
end

--- Starts a program. options: argv (list), cwd, env (name to value; false takes one away), stdin (true: a pipe),
-- files (its limit on open files), unread (true: nobody reads its standard error).
function M.start(options)
  local argv_list, env_list = options.argv, environment(options.env or {})
  local argv, envp = c_strings(argv_list), c_strings(env_list)
  local out_read, out_write = pipe()
  local err_read, err_write = pipe()
  local in_read, in_write
  if options.stdin then in_read, in_write = pipe() else in_read = C.open("/dev/null", O_RDONLY + O_CLOEXEC) end
  local pid = C.fork()
  assert(pid >= 0, "fork failed")
  if pid == 0 then
    run_child(options, argv, envp, { stdin = in_read, stdout = out_write, stderr = err_write })
  end
  C.close(out_write)
  C.close(err_write)
  C.close(in_read)
  local self = setmetatable({
    pid = pid,
    name = argv_list[1]:match("[^/]*$"),
    out = "",
    err = "",
    fds = { out = out_read, err = err_read },
    stdin = in_write,
    unread = options.unread,
  }, Process)
  live[self] = true
  return self
end

local buffer_size = 65536
local buffer = ffi.new("char[?]", buffer_size)

-- Reads what is there of one stream; closes it at its end.
local function collect(process, stream)
  local count = tonumber(C.read(process.fds[stream], buffer, buffer_size))
  if count > 0 then
    process[stream] = process[stream] .. ffi.string(buffer, count)
  elseif count == 0 then
    C.close(process.fds[stream])
    process.fds[stream] = nil
  end
end

local function poll_list()
  local list = {}
  for process in pairs(live) do
    for stream, fd in pairs(process.fds) do
      if not (stream == "err" and process.unread) then
        list[#list + 1] = { process = process, stream = stream, fd = fd }
      end
    end
  end
  return list
end

local function reap(process)
  local status = ffi.new("int[1]")
  if C.waitpid(process.pid, status, WNOHANG) ~= process.pid then return end
  local raw = status[0]
  local number = bit.band(raw, 0x7f)
  process.status = number == 0 and bit.rshift(bit.band(raw, 0xff00), 8) or 128 + number
end

--- Collects output of all children for at most that many milliseconds, less if there is some.
function M.pump(timeout_ms)
  local list = poll_list()
  local fds = ffi.new("struct lc_pollfd[?]", #list + 1)
  for i, entry in ipairs(list) do
    fds[i - 1].fd = entry.fd
    fds[i - 1].events = POLLIN
  end
  C.poll(fds, #list, timeout_ms)
  for i, entry in ipairs(list) do
    if bit.band(fds[i - 1].revents, POLLIN + POLLHUP) ~= 0 then collect(entry.process, entry.stream) end
  end
  for process in pairs(live) do
    if not process.status then reap(process) end
    if process.status and not process.fds.out and (not process.fds.err or process.unread) then live[process] = nil end
  end
end

--- Waits until condition() gives something true, and returns that; fails after `seconds` (10) naming `what`.
function M.wait(what, condition, seconds)
  local deadline = M.now() + (seconds or 10) * M.slowness
  while true do
    local result = condition()
    if result then return result end
    if M.now() > deadline then
      local shown = ""
      for process in pairs(live) do
        shown = shown .. "\n--- " .. process.name .. "\n" .. process.out:sub(-2000) .. process.err:sub(-4000)
      end
      error("timed out waiting until " .. what .. shown, 2)
    end
    M.pump(5)
  end
end

function Process:signal(name)
  if not self.status then C.kill(self.pid, assert(SIGNALS[name])) end
end

--- Waits for its end; returns its exit status, 128 and the signal's number for one that was killed.
function Process:wait(seconds)
  return M.wait(self.name .. " ends", function()
    return self.status and not (self.fds.out or (self.fds.err and not self.unread)) and self.status
  end, seconds)
end

function Process:write(text)
  local done = 0
  while done < #text do
    local count = tonumber(C.write(self.stdin, ffi.cast("const char *", text) + done, #text - done))
    assert(count > 0, self.name .. " does not read")
    done = done + count
  end
end

function Process:close_stdin()
  if self.stdin then C.close(self.stdin) end
  self.stdin = nil
end

--- Kills it, and what it has started, unless it has ended.
function Process:kill()
  C.kill(-self.pid, SIGNALS.KILL)
  self:close_stdin()
  if not self.status then
    C.kill(self.pid, SIGNALS.KILL)
    M.wait(self.name .. " is dead", function() return self.status end)
  end
  for _, fd in pairs(self.fds) do C.close(fd) end
  self.fds = {}
  live[self] = nil
end

--- Ends every child that still lives and removes what temp_folder made; LCACHE_KEEP=1 keeps it for a look.
function M.kill_all()
  local list = {}
  for process in pairs(live) do list[#list + 1] = process end
  for _, process in ipairs(list) do process:kill() end
  if not os.getenv("LCACHE_KEEP") then
    for _, folder in ipairs(folders) do os.execute("rm -rf '" .. folder .. "'") end
  end
  folders = {}
end

--- Runs a program to its end: { status, out, err }.
function M.run(options, seconds)
  local process = M.start(options)
  process:wait(seconds)
  return process
end

--- A new folder below .build/, gone with kill_all unless `keep`: each etcd writes its log ahead into 123 MB, and disks
-- fill.
function M.temp_folder(keep)
  os.execute("mkdir -p '" .. M.root .. "/.build/e2e/tmp'")
  local template = M.root .. "/.build/e2e/tmp/run-XXXXXX"
  local path = ffi.new("char[?]", #template + 1, template)
  assert(C.mkdtemp(path) ~= nil, "mkdtemp failed for " .. template)
  local folder = ffi.string(path)
  if not keep then folders[#folders + 1] = folder end
  return folder
end

function M.write_file(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  file:close()
end

function M.link(target, path)
  assert(C.symlink(target, path) == 0, "no link at " .. path)
end

local function working_folder()
  local handle = assert(io.popen("pwd"))
  local path = handle:read("*l")
  handle:close()
  return path
end

M.root = working_folder()

--- Where lcache, lcachectl and lcache-bench are.
function M.bin(name)
  return (os.getenv("LCACHE_BIN_DIR") or M.root .. "/.build/release/bin") .. "/" .. name
end

return M
