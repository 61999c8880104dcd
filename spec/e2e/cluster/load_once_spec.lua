-- Load once, over many nodes: however many callers at however many nodes, one load for a key.
local clusters = require "spec.e2e.cluster.support.cluster"
local drivers = require "spec.e2e.support.driver"
local figures = require "spec.e2e.cluster.support.figures"
local loads = require "spec.e2e.cluster.support.loads"

describe("three nodes", function()
  local cluster

  before_each(function() cluster = clusters.start { lease = 3 } end)
  after_each(function() clusters.finish(cluster) end)

  it("load a key once for 3,000 concurrent misses", function()
    cluster.source:set_delay(1000)
    local benches = {}
    for i, node in ipairs(cluster.nodes) do
      benches[i] = loads.begin_bench(node, {
        group = "g", prefix = "one-", distribution = "single", requests = 1000, connections = 8, outstanding = 125 })
    end
    for _, bench in ipairs(benches) do assert.equal(1000, loads.end_bench(bench).requests) end
    local stats = cluster.source:stats()
    figures.print("3,000 concurrent misses of one key over 3 nodes: loads", stats.loads, "want 1")
    assert.same({ 1, 1 }, { stats.loads, stats.keys })
  end)

  it("load each key once when all keys are asked for at each node in turn", function()
    local count = figures.size(10000, 3000)
    for _, node in ipairs(cluster.nodes) do loads.bench(node, { group = "g", keys = count }) end
    local stats = cluster.source:stats()
    figures.print(count .. " keys through each of 3 nodes in turn: loads", stats.loads, "want " .. count)
    assert.same({ count, count, 1 }, { stats.loads, stats.keys, stats.most })
  end)

  it("split a batch by owner, load each key once and answer in order", function()
    local driver = drivers.start()
    local keys = loads.keys("batch-", 300)
    for _, node in ipairs(cluster.nodes) do
      local answer = driver:batch(node, "g", keys)
      assert.equal("OK", answer.code, answer.message)
      for i, result in ipairs(answer.reply.results) do
        assert.equal(keys[i] .. ":1", drivers.unb64(result.value), result.message)
      end
    end
    local stats = cluster.source:stats()
    assert.same({ 300, 1 }, { stats.loads, stats.most })
  end)
end)
