-- A cluster of a fixed list, without etcd.
local clusters = require "spec.e2e.cluster.support.cluster"
local loads = require "spec.e2e.cluster.support.loads"
local lcache = require "spec.e2e.support.lcache"
local sockets = require "spec.e2e.cluster.support.sockets"

local KEYS = 300

local function ask_everywhere(cluster, nodes)
  for _, node in ipairs(nodes) do loads.bench(node, { group = "g", keys = KEYS }) end
  return cluster.source:stats()
end

describe("a fixed list of nodes", function()
  local cluster

  after_each(function() clusters.finish(cluster) end)

  it("is a cluster that loads each key once", function()
    cluster = clusters.start { etcd = false }
    local stats = ask_everywhere(cluster, cluster.nodes)
    assert.same({ KEYS, 1 }, { stats.loads, stats.most })
  end)

  -- membership: of the i-th node on these ports.
  local function start_with(ports, membership)
    cluster = clusters.start { etcd = false, count = 0 }
    cluster.reserved = ports
    for i in ipairs(ports) do cluster:add { wait = false, membership = { "--peers", membership(i) } } end
    for _, node in ipairs(cluster.nodes) do node:wait_ready() end
  end

  local function three_ports() return { sockets.free_port(), sockets.free_port(), sockets.free_port() } end

  local function list(ports, host)
    local addresses = {}
    for i, port in ipairs(ports) do addresses[i] = host .. ":" .. port end
    return addresses
  end

  it("that names a node otherwise than it calls itself has it once, and it doesn't call itself", function()
    local ports = three_ports()
    local peers = table.concat(list(ports, "localhost"), ",")
    start_with(ports, function() return peers end)
    cluster:wait_agree()
    local stats = ask_everywhere(cluster, cluster.nodes)
    assert.same({ KEYS, 1 }, { stats.loads, stats.most })
  end)

  it("gives the same ring in any order, with or without the node itself", function()
    local ports = three_ports()
    local names = list(ports, "127.0.0.1")
    local lists = { { 1, 2, 3 }, { 3, 1 }, { 2, 1, 3 } }
    start_with(ports, function(i)
      local peers = {}
      for place, index in ipairs(lists[i]) do peers[place] = names[index] end
      return table.concat(peers, ",")
    end)
    cluster:wait_agree()
  end)

  it("serves without the one that isn't there, which counts as down", function()
    local ports = three_ports()
    local names = list(ports, "127.0.0.1")
    cluster = clusters.start { etcd = false, count = 0 }
    cluster.reserved = ports
    for i = 1, 2 do
      local membership = { "--peers", table.concat(names, ","), "--join-timeout", "1s" }
      cluster:add { wait = false, membership = membership }
      assert.equal(names[i], cluster.nodes[i].name)
    end
    for _, node in ipairs(cluster.nodes) do node:wait_ready() end
    lcache.wait("they see one another up and the third down", function()
      for _, node in ipairs(cluster.nodes) do
        local view = clusters.view(node)
        local states = view and clusters.states(view) or {}
        if states[names[1]] ~= "up" or states[names[2]] ~= "up" or states[names[3]] ~= "down" then return false end
      end
      return true
    end)
    ask_everywhere(cluster, cluster.nodes)
    for owner, keys in pairs(cluster:keys_by_owner(loads.start(), "set-", 30)) do
      local set = cluster.nodes[1]:ctl("set", "g", keys[1], "v")
      if owner == names[3] then
        assert.is_truthy(set.err:find("UNAVAILABLE: owner " .. owner, 1, true), set.err)
      else
        assert.equal(0, set.status, set.err)
      end
    end
  end)

  it("has one node of an address: a second that advertises it is refused, and both sides say why", function()
    local ports = three_ports()
    local names = list(ports, "127.0.0.1")
    local members = names[1] .. "," .. names[2]
    cluster = clusters.start { etcd = false, count = 0 }
    cluster.reserved = ports
    for _ = 1, 2 do cluster:add { membership = { "--peers", members } } end
    cluster:wait_agree()
    local second = cluster:add { membership = { "--peers", members, "--advertise", names[2] } }
    cluster.nodes[1]:wait_log("hello refused.*same %-%-advertise")
    second:wait_log("can't be reached peer=" .. names[1] .. ".*same %-%-advertise")
    local stats = ask_everywhere(cluster, { cluster.nodes[1], cluster.nodes[2] })
    assert.same({ KEYS, 1 }, { stats.loads, stats.most })
  end)
end)
