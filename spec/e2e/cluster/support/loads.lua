--- Load through nodes with every call recorded (load.py), load by lcache-bench, and the versioned source (versions.py).
local drivers = require "spec.e2e.support.driver"
local json = require "lcache.testing.json"
local process = require "spec.e2e.support.process"

local M = {}

local Load = {}
Load.__index = Load

local Source = {}
Source.__index = Source

local SUPPORT = process.root .. "/spec/e2e/cluster/support"

-- ---- the source ----

--- Starts one. options: host (127.0.0.1).
function M.source(options)
  local self = setmetatable({}, Source)
  self.process = process.start {
    argv = { "python3", SUPPORT .. "/versions.py", "--host", (options or {}).host or "127.0.0.1" }, stdin = true,
  }
  self.address = process.wait("the source listens", function()
    return self.process.out:match("source listening on (%S+)\n")
  end)
  self.url = "http://" .. self.address
  return self
end

function Source:ask(path)
  local run = process.run { argv = { "curl", "-sS", "--max-time", "20", self.url .. path } }
  if run.status ~= 0 then error("the source, " .. path .. ": " .. run.err, 2) end
  return run.out
end

--- loads, keys (that were loaded), most (loads of one key), in_flight.
function Source:stats() return json.decode(self:ask("/stats")) end

--- Loads by key.
function Source:counts() return json.decode(self:ask("/counts")) end

function Source:reset() self:ask("/reset") end

function Source:set_delay(ms) self:ask("/delay/" .. ms) end

--- Raises a key's version, gives the new one.
function Source:bump(key) return tonumber(self:ask("/bump/" .. key)) end

-- ---- load.py ----

local function names(nodes)
  local list = {}
  for i, node in ipairs(nodes) do
    list[i] = type(node) == "string" and node or node.name .. "=" .. node.address
  end
  return json.array(list)
end

--- Starts a driver of loads; it is killed with all other processes.
function M.start()
  return setmetatable({ driver = drivers.start("spec/e2e/cluster/support/load.py") }, Load)
end

function Load:call(operation, seconds)
  return self.driver:finish(self.driver:begin(operation), seconds or 60)
end

--- Starts a load in the background; options as load.py's `begin` has them, with nodes of the cluster.
function Load:begin(options)
  local operation = { op = "begin" }
  for name, value in pairs(options) do operation[name] = value end
  operation.nodes = names(options.nodes)
  operation.source = options.source and options.source.address
  return self:call(operation).run
end

--- Calls that begin from now on are counted under that name; gives the time on the history's clock.
function Load:mark(run, name) return self:call({ op = "mark", run = run, name = name }).now end

--- Through these nodes from now on.
function Load:through(run, nodes) self:call { op = "nodes", run = run, nodes = names(nodes) } end

--- Ends it: { skipped, marks = { [mark] = { get = { count, codes, served, failures, ms = { p50, p99, max } }, … } } }.
function Load:finish(run) return self:call({ op = "end", run = run }, 120) end

--- Writes and reads of each key in turn, see load.py; gives tallies by kind.
function Load:sweep(options, seconds)
  local operation = { op = "sweep" }
  for name, value in pairs(options) do operation[name] = value end
  operation.nodes = names(options.nodes)
  operation.key_list = json.array(options.key_list)
  operation.source = options.source.address
  return self:call(operation, seconds or 600)
end

--- Which node the ring of `node` names for each key: key to address.
function Load:owners(node, group, keys)
  local operation = { op = "owners", node = node.name .. "=" .. node.address, group = group,
                      key_list = json.array(keys) }
  return self:call(operation, 120).owners
end

--- The history so far against the checker: { violations, late, gets, writes, acknowledged, report (times count from the
-- first call), zero (when that was, on the history's clock), file }.
-- options: windows (list of { begin, end, { names of one side } }), settle.
function Load:check(options)
  options = options or {}
  local file = process.temp_folder(true) .. "/history.jsonl"
  local windows = {}
  for i, window in ipairs(options.windows or {}) do
    windows[i] = json.array { window[1], window[2], json.array(window[3]) }
  end
  local operation = { op = "check", windows = json.array(windows), settle = options.settle or 10, file = file }
  local result = self:call(operation, 300)
  result.file = file
  return result
end

function Load:forget() self:call { op = "forget" } end

-- ---- lcache-bench ----

--- The name that lcache-bench and load.py give to the n-th key (from 0).
function M.key(prefix, n) return ("%s%012d"):format(prefix, n) end

function M.keys(prefix, count)
  local list = {}
  for i = 1, count do list[i] = M.key(prefix, i - 1) end
  return list
end

--- Begins an lcache-bench on a node; options: group, prefix, keys, requests, distribution, connections, outstanding.
function M.begin_bench(node, options)
  return process.start { argv = {
    process.bin("lcache-bench"), "--server", node.address, "--json", "--group", options.group,
    "--key-prefix", options.prefix or "k-", "--keys", tostring(options.keys or 1),
    "--requests", tostring(options.requests or options.keys), "--distribution", options.distribution or "sequential",
    "--connections", tostring(options.connections or 4), "--outstanding", tostring(options.outstanding or 32),
  } }
end

--- Waits for it and gives what it printed; any failed request is an error.
function M.end_bench(bench, seconds)
  bench:wait(seconds or 120)
  if bench.status ~= 0 then error("lcache-bench: " .. bench.out .. bench.err, 2) end
  return json.decode(bench.out)
end

function M.bench(node, options, seconds) return M.end_bench(M.begin_bench(node, options), seconds) end

--- A gRPC proxy that gives an old reply to every `every`-th Get: a node for loads.
function M.replay(node, every)
  local replay = process.start {
    argv = { drivers.python(), SUPPORT .. "/replay.py", node.address, tostring(every) },
  }
  local address = process.wait("the liar listens", function()
    return replay.out:match("replay listening on (%S+)\n")
  end, 30)
  return { name = node.name .. " (lied about)", address = address }
end

return M
