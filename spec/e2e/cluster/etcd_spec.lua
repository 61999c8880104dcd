-- etcd dies, forgets, compacts, crawls: the ring in force stays, and no request notices.
local clusters = require "spec.e2e.cluster.support.cluster"
local etcds = require "spec.e2e.cluster.support.etcd"
local figures = require "spec.e2e.cluster.support.figures"
local lcache = require "spec.e2e.support.lcache"
local loads = require "spec.e2e.cluster.support.loads"

local function begin_load(load, cluster)
  return load:begin { nodes = cluster.nodes, group = "g", source = cluster.source, keys = 1000, rate = 200,
                      mix = { get = 90, set = 5, delete = 5 } }
end

-- No call of any kind failed.
local function expect_no_errors(name, load, run)
  local result = load:finish(run)
  local errors, failures = 0, ""
  for _, kind in ipairs { "get", "set", "delete" } do
    local count, text = clusters.errors(result, kind, { "begin" })
    errors, failures = errors + count, failures .. text
  end
  figures.print(name .. ": errors of Gets, Sets, Deletes", errors, "want 0")
  assert.equal(0, errors, failures)
end

-- Watches that the ring stays as it is for so long.
local function expect_ring_stays(cluster, ring, seconds)
  local till = lcache.now() + seconds
  while lcache.now() < till do
    assert.equal(ring, clusters.agrees(cluster:running()))
    clusters.during(0.2)
  end
end

local function wait_registered(etcd, count)
  local began = lcache.now()
  lcache.wait("all are registered", function() return #etcd:members() == count end, 20)
  return lcache.now() - began
end

describe("when etcd", function()
  local cluster, load

  before_each(function() load = loads.start() end)
  after_each(function() clusters.finish(cluster) end)

  it("is killed and comes back, nobody notices, and the nodes idle meanwhile", function()
    cluster = clusters.start { lease = figures.size(10, 3) }
    local ring = cluster:wait_agree()
    local run = begin_load(load, cluster)
    cluster.etcd:kill()
    expect_ring_stays(cluster, ring, figures.size(30, 4))
    expect_no_errors("etcd killed", load, run)

    local window, before = figures.size(10, 2), {}
    for i, node in ipairs(cluster.nodes) do before[i] = clusters.cpu_seconds(node) end
    clusters.during(window)
    for i, node in ipairs(cluster.nodes) do
      local share = 100 * (clusters.cpu_seconds(node) - before[i]) / window
      figures.print("etcd killed: CPU of idle node " .. i .. ", percent of a core", share, "under 5")
      assert.is_true(share < 5 * lcache.slowness, "CPU: " .. share)
    end

    cluster.etcd:run()
    figures.print("etcd back: seconds until all are registered", wait_registered(cluster.etcd, 3), "at most 2")
    assert.equal(ring, clusters.agrees(cluster.nodes))
  end)

  it("is restarted empty, the ring stays and all register again within two seconds", function()
    cluster = clusters.start { lease = figures.size(10, 3) }
    local ring = cluster:wait_agree()
    local run = begin_load(load, cluster)
    cluster.etcd:kill()
    cluster.etcd:wipe()
    clusters.during(1)
    cluster.etcd:run()
    local seconds = wait_registered(cluster.etcd, 3)
    figures.print("etcd restarted empty: seconds until all are registered", seconds, "at most 2")
    expect_ring_stays(cluster, ring, figures.size(15, 4))
    expect_no_errors("etcd restarted empty", load, run)
    assert.is_true(seconds <= 2 * lcache.slowness, "registered after " .. seconds)
  end)

  it("has compacted what a watch asks for, the nodes list again", function()
    local etcd = etcds.start()
    local proxy = etcd:proxy()
    cluster = clusters.start { etcd = proxy }
    local ring = cluster:wait_agree()
    local run = begin_load(load, cluster)
    proxy:order { gone = true }
    etcd:compact()
    proxy:order { gone = false }
    expect_ring_stays(cluster, ring, 1)
    cluster:add()
    local _, seconds = cluster:wait_agree()
    figures.print("watch compacted: seconds until a joiner is seen by all", seconds, "at most 10")
    expect_no_errors("watch compacted", load, run)
    assert.is_true(seconds <= 10 * lcache.slowness)
  end)

  it("answers five seconds late, all leases are kept", function()
    local etcd = etcds.start()
    local proxy = etcd:proxy()
    cluster = clusters.start { etcd = proxy, lease = 10 }
    local ring = cluster:wait_agree()
    local run = begin_load(load, cluster)
    proxy:order { delay = 2.5 } -- each way
    expect_ring_stays(cluster, ring, figures.size(40, 13))
    assert.equal(3, #etcd:members())
    expect_no_errors("etcd slow by 5 s", load, run)
  end)

  it("is down when a node starts, it serves alone and joins by itself later", function()
    local etcd = etcds.start()
    etcd:kill()
    cluster = clusters.start { etcd = etcd, count = 0 }
    local began = lcache.now()
    for _ = 1, 2 do cluster:add { args = { "--join-timeout", "1s" }, wait = false } end
    for _, node in ipairs(cluster.nodes) do
      node:wait_ready()
      assert.equal("alone:1", node:ctl("get", "g", "alone").out)
      assert.equal(1, #clusters.view(node).nodes)
    end
    figures.print("etcd down at the start: seconds until ready", lcache.now() - began, "about 1")
    etcd:run()
    local _, seconds = cluster:wait_agree(nil, 20)
    figures.print("etcd back: seconds until two that served alone are one cluster", seconds, "at most 10")
    assert.is_true(seconds <= 10 * lcache.slowness)
  end)
end)
