--- A network namespace for each node, so that a partition loses packets in silence, as real ones do.
--
-- Each node has two cables: one to the bridge over which nodes and etcd talk, one to the bridge of clients and of the
-- source. A partition puts some nodes' first cables on another bridge, or on none; clients reach every node all along.
local process = require "spec.e2e.support.process"
local ffi = require "ffi"

local M = {}

local Network = {}
Network.__index = Network

local function ip(...)
  return process.run { argv = { "ip", ... } }
end

local function must(...)
  local run = ip(...)
  if run.status ~= 0 then error("ip " .. table.concat({ ... }, " ") .. ": " .. run.err, 2) end
end

local function delete(kind, name)
  if kind == "netns" then ip("netns", "delete", name) else ip("link", "delete", name) end
end

-- What runs that were killed have left behind: their names have the process id in them.
local function sweep()
  local function is_dead(pid) return ffi.C.kill(tonumber(pid), 0) ~= 0 end
  for name, pid in ip("netns", "list").out:gmatch("(lcns(%d+)n%d+)") do
    if is_dead(pid) then delete("netns", name) end
  end
  local links = ip("-o", "link", "show").out
  for _, pattern in ipairs { " (lcb(%d+)[nco]):", " (lc[vw](%d+)n%d+)@" } do
    for name, pid in links:gmatch(pattern) do
      if is_dead(pid) then delete("link", name) end
    end
  end
end

--- True where namespaces, bridges and cables may be made.
function M.is_permitted()
  if process.run({ argv = { "sh", "-c", "command -v ip" } }).status ~= 0 then return false end
  local name = ("lcns%dn0"):format(ffi.C.getpid())
  local bridge = ("lcb%dc"):format(ffi.C.getpid())
  local permitted = ip("netns", "add", name).status == 0 and ip("link", "add", bridge, "type", "bridge").status == 0
  delete("link", bridge)
  delete("netns", name)
  return permitted
end

local function add_bridge(name, address)
  must("link", "add", name, "type", "bridge")
  if address then must("address", "add", address .. "/24", "dev", name) end
  must("link", "set", name, "up")
end

--- Makes the bridges; `host` is this side's address among the nodes (etcd's), `client_host` that among the clients (the
-- source's).
function M.start()
  sweep()
  local pid = ffi.C.getpid()
  local self = setmetatable({ pid = pid, places = {} }, Network)
  local third = pid % 250
  self.prefix, self.client_prefix = ("10.213.%d."):format(third), ("10.214.%d."):format(third)
  self.host, self.client_host = self.prefix .. "1", self.client_prefix .. "1"
  self.bridge, self.client_bridge = ("lcb%dn"):format(pid), ("lcb%dc"):format(pid)
  self.other_bridge = ("lcb%do"):format(pid)
  add_bridge(self.bridge, self.host)
  add_bridge(self.client_bridge, self.client_host)
  add_bridge(self.other_bridge)
  return self
end

-- A cable from a bridge into a namespace, where it is called `inside`.
local function add_cable(place, outside, inside, bridge, address)
  must("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", place.name)
  must("link", "set", outside, "master", bridge, "up")
  must("-n", place.name, "address", "add", address .. "/24", "dev", inside)
  must("-n", place.name, "link", "set", inside, "up")
end

--- The namespace of the index-th node, made when it is first asked for: { name, address, client_address, wrapper }.
function Network:place(index)
  if self.places[index] then return self.places[index] end
  local place = {
    name = ("lcns%dn%d"):format(self.pid, index),
    address = self.prefix .. 10 + index,
    client_address = self.client_prefix .. 10 + index,
    cable = ("lcv%dn%d"):format(self.pid, index),
    client_cable = ("lcw%dn%d"):format(self.pid, index),
  }
  place.wrapper = { "ip", "netns", "exec", place.name }
  must("netns", "add", place.name)
  must("-n", place.name, "link", "set", "lo", "up")
  add_cable(place, place.cable, "nodes", self.bridge, place.address)
  add_cable(place, place.client_cable, "clients", self.client_bridge, place.client_address)
  self.places[index] = place
  return place
end

--- Cuts these nodes (by index) off from the others and from etcd. Among themselves they talk on.
function Network:partition(indexes)
  for _, index in ipairs(indexes) do must("link", "set", self.places[index].cable, "master", self.other_bridge) end
end

function Network:heal()
  for _, place in pairs(self.places) do must("link", "set", place.cable, "master", self.bridge) end
end

--- Takes everything away again; the nodes have ended.
function Network:stop()
  for _, place in pairs(self.places) do
    -- Sockets that linger keep a namespace for a while, and with it the cables' names.
    delete("link", place.cable)
    delete("link", place.client_cable)
    delete("netns", place.name)
  end
  for _, name in ipairs { self.bridge, self.client_bridge, self.other_bridge } do delete("link", name) end
end

return M
