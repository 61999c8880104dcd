-- Three nodes are restarted one after the other, and the clients don't notice.
local clusters = require "spec.e2e.cluster.support.cluster"
local figures = require "spec.e2e.cluster.support.figures"
local loads = require "spec.e2e.cluster.support.loads"

local KEYS = figures.size(20000, 3000)

describe("a rolling restart under Gets", function()
  local cluster

  after_each(function() clusters.finish(cluster) end)

  it("fails none that asks another node once, and reloads at most 5% of the keys", function()
    cluster = clusters.start { lease = figures.size(10, 3) }
    loads.bench(cluster.nodes[1], { group = "g", keys = KEYS })
    cluster.source:reset()
    local load = loads.start()
    local run = load:begin { nodes = cluster.nodes, group = "g", keys = KEYS, rate = figures.size(600, 400),
                             retry = true }
    clusters.during(2)
    for _, node in ipairs(cluster.nodes) do
      assert.equal(0, clusters.leave(node, 30))
      cluster:restart(node)
      cluster:wait_agree(nil, 30)
      clusters.during(figures.size(5, 1))
    end
    local result = load:finish(run)
    loads.bench(cluster.nodes[1], { group = "g", keys = KEYS }) -- what nobody asked for meanwhile counts as well
    local loaded = cluster.source:stats().loads
    local errors, failures = clusters.errors(result, "get", { "begin" })
    figures.print("rolling restart: Gets", result.marks.begin.get.count)
    figures.print("rolling restart: Gets that failed", errors, "want 0")
    figures.print("rolling restart: keys loaded again, percent of " .. KEYS, 100 * loaded / KEYS, "at most 5")
    assert.equal(0, errors, failures)
    assert.is_true(loaded <= 0.05 * KEYS, loaded .. " of " .. KEYS)
  end)
end)
