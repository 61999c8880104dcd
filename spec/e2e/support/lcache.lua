--- A running lcache, its HTTP source, and lcachectl, for the specs.
local json = require "lcache.testing.json"
local process = require "spec.e2e.support.process"

local M = { wait = process.wait, now = process.now, slowness = process.slowness }

--- True where resident memory and times are those of users: the sanitizers' builds take their own.
M.is_release = (os.getenv("LCACHE_PRESET") or "release") == "release"

local Node = {}
Node.__index = Node

local nodes = {} -- started and not yet seen to its end

local function append(list, more)
  for _, item in ipairs(more or {}) do list[#list + 1] = item end
  return list
end

local function value_of(args, flag)
  for i, arg in ipairs(args or {}) do
    if arg == flag then return args[i + 1] end
  end
end

--- Starts lcache on a script (its text) and does not wait for it. options: script, files (name to text, beside the
-- script), args, env, open_files, unread, wrapper (a command that runs the one that follows it, as a list).
function M.launch(options)
  local folder = process.temp_folder()
  process.write_file(folder .. "/app.lua", options.script)
  for name, text in pairs(options.files or {}) do process.write_file(folder .. "/" .. name, text) end
  process.link(process.root .. "/lua", folder .. "/lua")
  local argv = append({}, options.wrapper)
  append(argv, { process.bin("lcache"), "--script", "app.lua" })
  if not value_of(options.args, "--listen") then append(argv, { "--listen", "127.0.0.1:0" }) end
  if not value_of(options.args, "--workers") then append(argv, { "--workers", "2" }) end
  append(argv, options.args)
  local node = setmetatable({ folder = folder }, Node)
  node.process = process.start {
    argv = argv, cwd = folder, env = options.env, files = options.open_files, unread = options.unread,
  }
  nodes[#nodes + 1] = node
  return node
end

--- Starts an lcache that ends by itself, and waits for that: its process, { status, out, err }.
function M.fail(options)
  local node = M.launch(options)
  node.failed_on_purpose = true
  node.process:wait(20)
  return node.process
end

--- Starts lcache and waits until it is ready.
function M.start(options)
  local node = M.launch(options)
  node:wait_ready()
  return node
end

function Node:wait_ready()
  local line = process.wait("lcache is ready", function()
    local status = self.process.status
    if status then error("lcache ended with status " .. status .. ": " .. self.process.err) end
    return self.process.err:match("ready grpc=[^\n]*\n")
  end, 20)
  self.ready_line = line:sub(1, -2)
  self.address = line:match("grpc=(%S+)")
end

--- What it has logged so far.
function Node:log()
  process.pump(0)
  return self.process.err
end

--- Waits for a line in the log that matches; returns what the pattern captures.
function Node:wait_log(pattern, seconds)
  return process.wait("the log has " .. pattern, function() return self.process.err:match(pattern) end, seconds)
end

--- How many lines of the log match.
function Node:count_log(pattern)
  local count = 0
  for line in self:log():gmatch("[^\n]+") do
    if line:find(pattern) then count = count + 1 end
  end
  return count
end

function Node:signal(name) self.process:signal(name) end

--- TERM, and the exit status.
function Node:stop(seconds)
  self:signal("TERM")
  return self.process:wait(seconds or 15)
end

local function first_line_number(text, name)
  return tonumber(text:match(name .. ":%s*(%d+)"))
end

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

--- Resident memory in bytes.
function Node:resident()
  return first_line_number(read_file("/proc/" .. self.process.pid .. "/status"), "VmRSS") * 1024
end

function Node:threads()
  return first_line_number(read_file("/proc/" .. self.process.pid .. "/status"), "Threads")
end

--- Runs lcachectl against it: { status, out, err }.
function Node:ctl(...)
  local argv = append({ process.bin("lcachectl"), "--server", self.address }, { ... })
  return process.run { argv = argv }
end

--- What `lcachectl --json …` prints, decoded.
function Node:ctl_json(...)
  local run = self:ctl("--json", ...)
  local decoded = json.decode(run.out)
  if type(decoded) ~= "table" then error("lcachectl printed no JSON: " .. run.out .. run.err, 2) end
  return decoded, run
end

--- Admin.Stats of one group.
function Node:group_stats(name)
  local stats = self:ctl_json("stats", name)
  return stats.groups[1]
end

local Source = {}
Source.__index = Source

--- Starts the HTTP source that counts what it is asked (source.py).
function M.source()
  local self = setmetatable({}, Source)
  self.process = process.start {
    argv = { "python3", process.root .. "/spec/e2e/support/source.py" }, stdin = true,
  }
  self.address = process.wait("the source listens", function()
    return self.process.out:match("source listening on (%S+)\n")
  end)
  self.url = "http://" .. self.address
  return self
end

local function curl(url)
  local run = process.run { argv = { "curl", "-sS", "--max-time", "20", url } }
  if run.status ~= 0 then error("curl " .. url .. ": " .. run.err, 3) end
  return run.out
end

--- How often each path was asked for.
function Source:counts() return json.decode(curl(self.url .. "/count")) end

--- requests, in_flight, max_in_flight, connections_open, connections_opened.
function Source:stats() return json.decode(curl(self.url .. "/stats")) end

--- Runs a program of the tests, from the top of the tree.
function M.run(argv, seconds, env)
  return process.run({ argv = argv, cwd = process.root, env = env }, seconds)
end

M.bin, M.root, M.start_process = process.bin, process.root, process.start

--- For after_each and teardown: every node that still runs has to drain and exit 0 (with the sanitizers: without a
-- leak); then all else is killed.
function M.finish()
  local complaints = {}
  for _, node in ipairs(nodes) do
    local ok, status = true, node.process.status
    if not status then ok, status = pcall(node.stop, node) end
    if not ok or (node.must_drain ~= false and not node.failed_on_purpose and status ~= 0) then
      complaints[#complaints + 1] = "lcache ended with " .. tostring(status) .. ": " .. node.process.err:sub(-4000)
    elseif node.process.err:find("Sanitizer", 1, true) or node.process.err:find("runtime error:", 1, true) then
      complaints[#complaints + 1] = node.process.err:sub(-8000)
    end
  end
  nodes = {}
  process.kill_all()
  if #complaints > 0 then error(table.concat(complaints, "\n"), 0) end
end

return M
