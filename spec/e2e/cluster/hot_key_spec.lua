-- One key takes half of all requests: its owner must not take half of the work.
local clusters = require "spec.e2e.cluster.support.cluster"
local figures = require "spec.e2e.cluster.support.figures"
local lcache = require "spec.e2e.support.lcache"
local loads = require "spec.e2e.cluster.support.loads"

local REQUESTS = figures.size(200000, 60000) / lcache.slowness
local KEYS = 5000

describe("a key that takes half of the requests", function()
  local cluster

  after_each(function() clusters.finish(cluster) end)

  it("gives its owner at most 1.5 x the mean work", function()
    cluster = clusters.start { lease = 3 }
    loads.bench(cluster.nodes[1], { group = "g", keys = KEYS })
    local owner = cluster.nodes[1]:ctl_json("owner", "g", loads.key("hot-", 0)).address
    local before = {}
    for i, node in ipairs(cluster.nodes) do before[i] = clusters.cpu_seconds(node) end

    local half = math.floor(REQUESTS / 2 / #cluster.nodes)
    local benches = {}
    for _, node in ipairs(cluster.nodes) do
      benches[#benches + 1] = loads.begin_bench(node, {
        group = "g", prefix = "hot-", distribution = "single", requests = half, connections = 2, outstanding = 16 })
      benches[#benches + 1] = loads.begin_bench(node, {
        group = "g", keys = KEYS, distribution = "uniform", requests = half, connections = 2, outstanding = 16 })
    end
    for _, bench in ipairs(benches) do loads.end_bench(bench) end

    local sum, of_owner = 0, 0
    for i, node in ipairs(cluster.nodes) do
      local seconds = clusters.cpu_seconds(node) - before[i]
      sum = sum + seconds
      if node.name == owner then of_owner = seconds end
    end
    local ratio = of_owner / (sum / #cluster.nodes)
    figures.print(("hot key, %d requests: CPU of its owner to the mean"):format(REQUESTS), ratio, "at most 1.5")
    assert.is_true(sum > 0)
    assert.is_true(ratio <= 1.5, "ratio: " .. ratio)
  end)
end)
