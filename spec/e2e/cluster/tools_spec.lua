-- The tools of the cluster specs: a checker that finds nothing or a proxy that stops nothing makes them worthless.
local clusters = require "spec.e2e.cluster.support.cluster"
local drivers = require "spec.e2e.support.driver"
local etcds = require "spec.e2e.cluster.support.etcd"
local lcache = require "spec.e2e.support.lcache"
local loads = require "spec.e2e.cluster.support.loads"
local networks = require "spec.e2e.cluster.support.network"

local MIX = { get = 90, set = 5, delete = 5 }

local function single(options)
  options = options or {}
  local source = options.source or loads.source()
  local node = lcache.launch {
    script = clusters.script(), env = { LCACHE_SECRET_SOURCE = source.url },
    args = options.args, wrapper = options.wrapper,
  }
  node:wait_ready()
  node.name = node.address
  return node, source
end

describe("the history checker", function()
  after_each(lcache.finish)

  it("passes its own tests", function()
    local run = lcache.run { drivers.python(), "spec/e2e/cluster/support/history_test.py" }
    assert.equal(0, run.status, run.err)
  end)

  it("finds nothing in what one node did", function()
    local node, source = single()
    local load = loads.start()
    local run = load:begin { nodes = { node }, group = "g", source = source, keys = 20, rate = 500, mix = MIX }
    clusters.during(1)
    load:finish(run)
    local result = load:check()
    assert.same({ 0, 0 }, { result.violations, result.late }, result.report)
    assert.is_true(result.gets > 100 and result.acknowledged > 10)
  end)

  it("finds the old values of a proxy that lies", function()
    local node, source = single()
    local load = loads.start()
    local liar = loads.replay(node, 50)
    local run = load:begin { nodes = { liar }, group = "g", source = source, keys = 5, rate = 500, mix = MIX }
    clusters.during(2)
    load:finish(run)
    local result = load:check()
    assert.is_true(result.violations > 0, result.report)
    assert.is_truthy(result.report:find("version %d+ after %d+ was acknowledged"), result.report)
  end)
end)

describe("the versioned source", function()
  after_each(lcache.finish)

  it("counts loads, and answers with the version of when it was asked", function()
    local source = loads.source()
    assert.equal("a:1", source:ask("/k/a"))
    source:set_delay(300)
    local slow = lcache.start_process { argv = { "curl", "-s", source.url .. "/k/a" } }
    lcache.wait("the load has begun", function() return source:stats().in_flight == 1 end)
    assert.equal(2, source:bump("a"))
    slow:wait()
    assert.equal("a:1", slow.out)
    assert.same({ loads = 2, keys = 1, most = 2, in_flight = 0 }, source:stats())
  end)
end)

describe("etcd's proxy", function()
  after_each(lcache.finish)

  it("makes it slow, stuck and gone, and lets it be again", function()
    if not etcds.is_installed() then return pending("etcd is not installed") end
    local etcd = etcds.start()
    local proxy = etcd:proxy()
    local function health()
      local began = lcache.now()
      local run = lcache.run { "curl", "-s", "--max-time", "1.5", proxy.url .. "/health" }
      return run.status, lcache.now() - began
    end
    assert.equal(0, (health()))
    proxy:order { delay = 0.4 }
    local status, seconds = health()
    assert.equal(0, status)
    assert.is_true(seconds >= 0.8)
    proxy:order { delay = 0, stuck = true }
    assert.equal(28, (health()))
    proxy:order { stuck = false, gone = true }
    assert.not_equal(0, (health()))
    proxy:order { gone = false }
    assert.equal(0, (health()))
  end)
end)

describe("a network of namespaces", function()
  local network

  after_each(function()
    lcache.finish()
    if network then network:stop() end
  end)

  it("is parted between nodes, not between nodes and clients", function()
    if not networks.is_permitted() then return pending("network namespaces are not permitted here") end
    network = networks.start()
    local source = loads.source { host = network.client_host }
    for index = 1, 2 do
      local args = { "--listen", "0.0.0.0:8001" }
      local node = single { source = source, wrapper = network:place(index).wrapper, args = args }
      node.address = network:place(index).client_address .. ":8001"
      assert.equal("k:1", node:ctl("get", "g", "k").out)
    end
    local function reach(from, to)
      local server = network:place(to).address .. ":8001"
      return lcache.run({ "ip", "netns", "exec", network:place(from).name, lcache.bin("lcachectl"),
                          "--timeout", "500ms", "--server", server, "get", "g", "k" }).status
    end
    assert.equal(0, reach(1, 2))
    network:partition { 2 }
    assert.equal(2, reach(1, 2))
    assert.equal(2, reach(2, 1))
    local client = { lcache.bin("lcachectl"), "--server", network:place(2).client_address .. ":8001", "get", "g", "k2" }
    assert.equal("k2:1", lcache.run(client).out)
    network:heal()
    assert.equal(0, reach(1, 2))
  end)
end)
