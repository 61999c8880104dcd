--- A real etcd in a folder of its own, its proxy that makes it slow or gone, and what is registered in it.
local json = require "lcache.testing.json"
local mime = require "mime"
local process = require "spec.e2e.support.process"
local sockets = require "spec.e2e.cluster.support.sockets"

local M = {}

local Etcd = {}
Etcd.__index = Etcd

local Proxy = {}
Proxy.__index = Proxy

--- True when etcd is installed; specs are pending without it.
function M.is_installed()
  return process.run({ argv = { "sh", "-c", "command -v etcd" } }).status == 0
end

local function url(host, port) return ("http://%s:%d"):format(host, port) end

--- options: host (127.0.0.1).
function M.start(options)
  local host = (options or {}).host or "127.0.0.1"
  local self = setmetatable({ host = host, port = sockets.free_port(), peer_port = sockets.free_port() }, Etcd)
  self.url = url(host, self.port)
  self.folder = process.temp_folder()
  self:run()
  return self
end

--- Starts it again, on the same ports and data, and waits until it answers.
function Etcd:run()
  local peer = url("127.0.0.1", self.peer_port)
  self.process = process.start { argv = {
    "etcd", "--data-dir", self.folder .. "/data", "--log-level", "error",
    "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" .. peer,
    "--heartbeat-interval", "50", "--election-timeout", "500",
  } }
  process.wait("etcd answers", function()
    if self.process.status then error("etcd ended: " .. self.process.err) end
    local health = process.run { argv = { "curl", "-s", "--max-time", "2", self.url .. "/health" } }
    return health.out:find('"true"', 1, true)
  end, 30)
end

--- kill -9.
function Etcd:kill() self.process:kill() end

--- Takes its data away; it is not running.
function Etcd:wipe() os.execute("rm -rf '" .. self.folder .. "/data'") end

--- One call of the JSON gateway.
function Etcd:call(path, body)
  local run = process.run { argv = { "curl", "-sS", "--max-time", "5", self.url .. path, "-d", json.encode(body) } }
  if run.status ~= 0 then error("etcd " .. path .. ": " .. run.err, 2) end
  return json.decode(run.out)
end

local function b64(text) return (mime.b64(text)) end

function Etcd:put(key, value) return self:call("/v3/kv/put", { key = b64(key), value = b64(value) }) end

--- The addresses that are registered for a service, sorted.
function Etcd:members(service)
  local prefix = "/services/" .. (service or "lcache")
  local reply = self:call("/v3/kv/range", { key = b64(prefix .. "/"), range_end = b64(prefix .. "0") })
  local list = {}
  for _, pair in ipairs(reply.kvs or {}) do list[#list + 1] = (mime.unb64(pair.value)) end
  table.sort(list)
  return list
end

--- Makes new revisions and forgets all older ones, so that a watch from an old one is canceled.
function Etcd:compact()
  local revision
  for i = 1, 5 do revision = self:put("/elsewhere", tostring(i)).header.revision end
  self:call("/v3/kv/compaction", { revision = revision, physical = true })
end

--- A proxy in front of it (proxy.py); its `url` is for the nodes.
function Etcd:proxy()
  local self_proxy = setmetatable({}, Proxy)
  local program = process.root .. "/spec/e2e/cluster/support/proxy.py"
  self_proxy.process = process.start {
    argv = { "python3", program, self.host .. ":" .. self.port }, stdin = true,
  }
  self_proxy.address = process.wait("the proxy listens", function()
    return self_proxy.process.out:match("proxy listening on (%S+)\n")
  end)
  self_proxy.process.out = ""
  self_proxy.url = "http://" .. self_proxy.address
  return self_proxy
end

--- order: see proxy.py, for example { delay = 5 }.
function Proxy:order(order)
  self.process:write(json.encode(order) .. "\n")
  process.wait("the proxy obeys", function() return self.process.out:find("ok\n", 1, true) end)
  self.process.out = ""
end

return M
