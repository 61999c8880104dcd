-- A fourth node joins a warm cluster: it takes what it now owns from those who had it, not from the source.
local clusters = require "spec.e2e.cluster.support.cluster"
local figures = require "spec.e2e.cluster.support.figures"
local loads = require "spec.e2e.cluster.support.loads"

local KEYS = figures.size(20000, 5000)

describe("a fourth node", function()
  local cluster

  after_each(function() clusters.finish(cluster) end)

  it("that joins a warm cluster has at most 2% of the keys that move loaded again", function()
    cluster = clusters.start { lease = 3 }
    for _, node in ipairs(cluster.nodes) do loads.bench(node, { group = "g", keys = KEYS }) end
    local load = loads.start()
    local before = load:owners(cluster.nodes[1], "g", loads.keys("k-", KEYS))
    cluster.source:reset()

    local joiner = cluster:add()
    cluster:wait_agree()
    for _, node in ipairs(cluster.nodes) do loads.bench(node, { group = "g", keys = KEYS }) end
    local loaded = cluster.source:stats().loads

    local moved, elsewhere = 0, 0
    for key, owner in pairs(load:owners(joiner, "g", loads.keys("k-", KEYS))) do
      if owner ~= before[key] then
        moved = moved + 1
        if owner ~= joiner.name then elsewhere = elsewhere + 1 end
      end
    end
    figures.print("join: share of " .. KEYS .. " keys that moved, percent", 100 * moved / KEYS, "at most 30")
    figures.print("join: moved keys that were loaded again, percent", 100 * loaded / moved, "at most 2")
    assert.equal(0, elsewhere)
    assert.is_true(moved > 0 and moved <= KEYS * (1 / 4 + 0.05))
    assert.is_true(loaded <= 0.02 * moved, loaded .. " of " .. moved)
  end)

  it("that leaves again hands its keys over", function()
    cluster = clusters.start { count = 4, lease = 3 }
    loads.bench(cluster.nodes[1], { group = "g", keys = KEYS })
    local leaver = cluster.nodes[4]
    local owned = #cluster:keys_by_owner(loads.start(), "k-", KEYS)[leaver.name]
    cluster.source:reset()
    assert.equal(0, clusters.leave(leaver, 30))
    cluster:wait_agree()
    loads.bench(cluster.nodes[2], { group = "g", keys = KEYS })
    local loaded = cluster.source:stats().loads
    figures.print("leave: keys of the leaver that were loaded again, percent", 100 * loaded / owned, "at most 2")
    assert.is_true(loaded <= 0.02 * owned, loaded .. " of " .. owned)
  end)
end)
