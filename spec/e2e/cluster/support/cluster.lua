--- A cluster of real nodes, with etcd or a fixed list, for the specs.
local etcds = require "spec.e2e.cluster.support.etcd"
local json = require "lcache.testing.json"
local lcache = require "spec.e2e.support.lcache"
local loads = require "spec.e2e.cluster.support.loads"
local sockets = require "spec.e2e.cluster.support.sockets"

local M = {}

local Cluster = {}
Cluster.__index = Cluster

--- A getter of versions.py for a group "g"; options: text of further group options.
function M.script(options)
  return ([[
local lcache = require "lcache"
local source = lcache.secret("SOURCE")
lcache.group("g", { bytes = "64MB", timeout = "5s", %s getter = function(key)
  local reply, err = lcache.http.get(source .. "/k/" .. lcache.http.escape(key))
  if not reply then return nil, err end
  if reply.status ~= 200 then return nil, "source answered " .. reply.status end
  return reply.body
end })
]]):format(options or "")
end

local function append(list, more)
  for _, item in ipairs(more or {}) do list[#list + 1] = item end
  return list
end

--- Starts nodes that form one cluster, and waits until they agree on it. options:
--   count      nodes (3)
--   lease      seconds (10)
--   etcd       an etcd.lua, a URL, or false for a fixed list; started when it is left out
--   source     a loads.source(); started when it is left out
--   network    a network.lua: each node in a namespace of its own
--   group      text of further options of the group
--   script     instead of M.script
--   args       of every node
function M.start(options)
  options = options or {}
  local self = setmetatable({ nodes = {}, options = options, lease = options.lease or 10 }, Cluster)
  self.network = options.network
  self.etcd = options.etcd
  if self.etcd == nil then self.etcd = etcds.start { host = self.network and self.network.host } end
  self.source = options.source or loads.source { host = self.network and self.network.client_host }
  self.script = options.script or M.script(options.group)
  local count = options.count or 3
  if self.etcd == false then self:reserve(count) end
  for _ = 1, count do self:add { wait = false } end
  for _, node in ipairs(self.nodes) do node:wait_ready() end
  if count > 0 then self:wait_agree() end
  return self
end

-- A fixed list needs the ports before the nodes.
function Cluster:reserve(count)
  self.reserved = {}
  for i = 1, count do self.reserved[i] = sockets.free_port() end
end

function Cluster:peers()
  local list = {}
  for i, port in ipairs(self.reserved) do list[i] = "127.0.0.1:" .. port end
  return table.concat(list, ",")
end

function Cluster:membership_args()
  if self.etcd == false then return { "--peers", self:peers() } end
  local url = type(self.etcd) == "table" and self.etcd.url or self.etcd
  return { "--etcd", url, "--lease", self.lease .. "s" }
end

-- What a node listens on, is called by its peers, and is asked at by clients.
function Cluster:addresses(index)
  if self.network then
    local place = self.network:place(index)
    return { listen = "0.0.0.0:8001", name = place.address .. ":8001", address = place.client_address .. ":8001",
             wrapper = place.wrapper, args = { "--advertise", place.address .. ":8001" } }
  end
  local port = self.reserved and self.reserved[index] or sockets.free_port()
  local address = "127.0.0.1:" .. port
  return { listen = address, name = address, address = address, args = {} }
end

function Cluster:launch(node)
  local at = node.at
  local args = { "--listen", at.listen, "--http", "off", "--workers", "2" }
  append(append(append(append(args, node.membership or self:membership_args()), at.args), self.options.args), node.args)
  local fresh = lcache.launch {
    script = self.script, args = args, wrapper = at.wrapper, env = { LCACHE_SECRET_SOURCE = self.source.url },
  }
  -- The same table for the same node, however often it is restarted, with the methods of an lcache.lua node.
  setmetatable(node, getmetatable(fresh))
  node.logs = node.logs or {} -- of earlier processes
  if node.process then table.insert(node.logs, node.process.err) end
  node.fresh, node.process, node.folder = fresh, fresh.process, fresh.folder
end

local function wait_ready(node)
  node.fresh:wait_ready()
  node.address, node.ready_line = node.at.address, node.fresh.ready_line
end

--- Starts one more; options: wait (false: don't wait until it is ready), args, membership (arguments instead of the
-- cluster's).
function Cluster:add(options)
  options = options or {}
  local at = self:addresses(#self.nodes + 1)
  local node = { at = at, name = at.name, address = at.address, args = options.args, membership = options.membership }
  self:launch(node)
  node.wait_ready = wait_ready
  self.nodes[#self.nodes + 1] = node
  if options.wait ~= false then node:wait_ready() end
  return node
end

--- Starts a node again that has ended, under the same address.
function Cluster:restart(node)
  self:launch(node)
  node:wait_ready()
end

--- kill -9.
function M.kill(node)
  node.fresh.must_drain = false
  node.process:signal("KILL")
  node.process:wait()
end

--- TERM, and its exit status.
function M.leave(node, seconds)
  node.process:signal("TERM")
  return node.process:wait(seconds or 20)
end

--- SIGSTOP: it stands still, its connections stay open.
function M.pause(node)
  node.fresh.must_drain = false
  node.process:signal("STOP")
end

function M.resume(node)
  node.fresh.must_drain = nil
  node.process:signal("CONT")
end

--- Nodes whose process runs.
function Cluster:running()
  local list = {}
  for _, node in ipairs(self.nodes) do
    if not node.process.status then list[#list + 1] = node end
  end
  return list
end

--- What `lcachectl nodes --json` says of it, nil when it doesn't answer.
function M.view(node)
  local run = lcache.run({
    lcache.bin("lcachectl"), "--server", node.address, "--timeout", "1s", "--json", "nodes" })
  return run.status == 0 and json.decode(run.out) or nil
end

--- The members of a view: address to state.
function M.states(view)
  local states = {}
  for _, node in ipairs(view.nodes) do states[node.address] = node.state end
  return states
end

-- A view that has exactly these nodes, all up.
local function is_whole(view, nodes)
  local states, count = M.states(view), 0
  for _ in pairs(states) do count = count + 1 end
  for _, node in ipairs(nodes) do
    if states[node.name] ~= "up" then return false end
  end
  return count == #nodes
end

--- True when all of these nodes have the same ring, of exactly these nodes, all up.
function M.agrees(nodes)
  local ring
  for _, node in ipairs(nodes) do
    local view = M.view(node)
    if not view or not is_whole(view, nodes) or (ring and ring ~= view.ring) then return false end
    ring = view.ring
  end
  return ring
end

--- Waits until they agree (all that run, unless given); returns the ring's id and the seconds that it took.
function Cluster:wait_agree(nodes, seconds)
  nodes = nodes or self:running()
  local began = lcache.now()
  local what = #nodes .. " nodes agree on their ring"
  local ring = lcache.wait(what, function() return M.agrees(nodes) end, seconds or 15)
  return ring, lcache.now() - began
end

--- Waits until none of `nodes` has `gone` on its ring; returns the seconds that it took.
function M.wait_without(nodes, gone, seconds)
  local began = lcache.now()
  lcache.wait(gone.name .. " is off the ring", function()
    for _, node in ipairs(nodes) do
      local view = M.view(node)
      if not view or M.states(view)[gone.name] then return false end
    end
    return true
  end, seconds)
  return lcache.now() - began
end

--- CPU seconds that a node's process has used.
function M.cpu_seconds(node)
  local file = assert(io.open("/proc/" .. node.process.pid .. "/stat"))
  local fields = {}
  for field in file:read("*a"):gsub("^.*%) ", ""):gmatch("%S+") do fields[#fields + 1] = field end
  file:close()
  return (tonumber(fields[12]) + tonumber(fields[13])) / 100
end

--- Waits so long, collecting what processes print: for specs whose subject is a stretch of time.
function M.during(seconds)
  local till = lcache.now() + seconds
  lcache.wait("time has passed", function() return lcache.now() >= till end, seconds + 5)
end

--- Keys of a prefix by owner's name: { [name] = { key, … } }.
function Cluster:keys_by_owner(load, prefix, count, node)
  local by_owner = {}
  for key, owner in pairs(load:owners(node or self.nodes[1], "g", loads.keys(prefix, count))) do
    by_owner[owner] = by_owner[owner] or {}
    table.insert(by_owner[owner], key)
  end
  return by_owner
end

--- The node of that name.
function Cluster:named(name)
  for _, node in ipairs(self.nodes) do
    if node.name == name then return node end
  end
end

--- All but one.
function Cluster:others(than)
  local list = {}
  for _, node in ipairs(self.nodes) do
    if node ~= than and not node.process.status then list[#list + 1] = node end
  end
  return list
end

--- Adds up codes other than OK of one kind over some marks of a finished load.
function M.errors(result, kind, marks)
  local count, failures = 0, {}
  for _, mark in ipairs(marks) do
    local tally = (result.marks[mark] or {})[kind]
    for code, n in pairs(tally and tally.codes or {}) do
      if code ~= "OK" then count = count + n end
    end
    append(failures, tally and tally.failures)
  end
  return count, table.concat(failures, "\n")
end

--- A spec's `finish`: all nodes are told to end at once (and none may stay stopped, or it could not).
function M.finish(cluster)
  local nodes = cluster and cluster.nodes or {}
  for _, node in ipairs(nodes) do
    node.process:signal("CONT")
    node.process:signal("TERM")
  end
  -- What does not end is lcache.finish's to complain of.
  pcall(function()
    for _, node in ipairs(nodes) do node.process:wait(20) end
  end)
  lcache.finish()
end

return M
