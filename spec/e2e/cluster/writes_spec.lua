-- Set and Delete are final when acknowledged: against mirrors that everybody reads, and keys that have just moved.
local clusters = require "spec.e2e.cluster.support.cluster"
local figures = require "spec.e2e.cluster.support.figures"
local loads = require "spec.e2e.cluster.support.loads"

local HOT_KEYS = 8

local function expect_final(name, load)
  local history = load:check()
  figures.print(name .. ": Gets that were checked", history.gets)
  figures.print(name .. ": old values after the acknowledgement", history.violations + history.late, "want 0")
  assert.same({ 0, 0 }, { history.violations, history.late }, history.report .. "\n" .. history.file)
end

describe("Set and Delete", function()
  local cluster, load

  before_each(function()
    cluster = clusters.start { lease = 3 }
    load = loads.start()
  end)
  after_each(function() clusters.finish(cluster) end)

  it("from random nodes leave no old value in hot mirrors", function()
    local rounds = figures.size(10000, 1000)
    local keys = loads.keys("hot-", HOT_KEYS)
    local readers = load:begin { nodes = cluster.nodes, group = "g", key_list = keys, rate = 600 }
    clusters.during(2)
    local swept = load:sweep {
      nodes = cluster.nodes, group = "g", source = cluster.source, key_list = keys, writes = "mix", passes = 2,
      times = rounds / HOT_KEYS, concurrency = 4,
    }
    local served = load:finish(readers).marks.begin.get.served
    local written = (swept.set.codes.OK or 0) + (swept.delete.codes.OK or 0)
    figures.print("hot mirrors: rounds of Set or Delete and Gets everywhere", written, "want " .. rounds)
    figures.print("hot mirrors: Gets that mirrors served",
      (served.MIRROR or 0) + (swept.get.served.MIRROR or 0), "more than 0")
    assert.equal(rounds, written)
    assert.is_true((served.MIRROR or 0) > 0, "no Get was served by a mirror")
    expect_final("hot mirrors", load)
  end)

  it("of keys that a join has just moved leave no old value anywhere", function()
    local count = figures.size(5000, 1000)
    local keys = loads.keys("moved-", count)
    for _, node in ipairs(cluster.nodes) do loads.bench(node, { group = "g", prefix = "moved-", keys = count }) end
    local before = load:owners(cluster.nodes[1], "g", keys)
    local joiner = cluster:add()
    cluster:wait_agree()
    local moved = {}
    for key, owner in pairs(load:owners(joiner, "g", keys)) do
      if owner ~= before[key] then moved[#moved + 1] = key end
    end
    figures.print("join: keys that moved, of " .. count, #moved)
    assert.is_true(#moved > count / 10)
    load:sweep { nodes = cluster.nodes, group = "g", source = cluster.source, key_list = moved, writes = "delete",
                 concurrency = 32 }
    expect_final("Delete of moved keys", load)
  end)

  it("while nodes join and leave leave no old value anywhere", function()
    local keys = loads.keys("moving-", 200)
    local run = load:begin { nodes = cluster.nodes, group = "g", source = cluster.source, key_list = keys, rate = 600,
                             mix = { get = 50, set = 25, delete = 25 } }
    clusters.during(1)
    for _ = 1, figures.size(5, 2) do
      local comer = cluster:add()
      clusters.during(0.5)
      assert.equal(0, clusters.leave(comer))
      clusters.during(0.5)
    end
    local result = load:finish(run)
    for _, kind in ipairs { "get", "set", "delete" } do
      local errors, failures = clusters.errors(result, kind, { "begin" })
      assert.equal(0, errors, failures)
    end
    expect_final("writes while nodes join and leave", load)
  end)
end)
