-- A node dies without a word, under Gets.
local clusters = require "spec.e2e.cluster.support.cluster"
local figures = require "spec.e2e.cluster.support.figures"
local lcache = require "spec.e2e.support.lcache"
local loads = require "spec.e2e.cluster.support.loads"

local LEASE = figures.size(10, 3)

describe("kill -9 of one of three nodes", function()
  local cluster

  after_each(function() clusters.finish(cluster) end)

  it("costs no client of the others an error, and it is off the ring when its lease is over", function()
    cluster = clusters.start { lease = LEASE }
    local victim = cluster.nodes[3]
    local others = cluster:others(victim)
    loads.bench(others[1], { group = "g", keys = 1000 })
    local load = loads.start()
    local run = load:begin { nodes = others, group = "g", keys = 2000, rate = 400 }
    clusters.during(1)
    load:mark(run, "killed")
    clusters.kill(victim)
    local seconds = clusters.wait_without(others, victim, LEASE + 10)
    load:mark(run, "gone")
    clusters.during(1)
    local result = load:finish(run)
    local errors, failures = clusters.errors(result, "get", { "begin", "killed", "gone" })
    figures.print("kill -9: errors of Gets at the others", errors, "want 0")
    figures.print("kill -9: seconds until it is off the ring", seconds, "at most " .. LEASE + 1)
    figures.print("kill -9: slowest Get at the others, ms", result.marks.killed.get.ms.max)
    assert.equal(0, errors, failures)
    assert.is_true(seconds <= LEASE + 1 * lcache.slowness, "off the ring after " .. seconds)

    cluster:restart(victim)
    cluster:wait_agree()
    assert.equal("back:1", victim:ctl("get", "g", "back").out)
  end)
end)
