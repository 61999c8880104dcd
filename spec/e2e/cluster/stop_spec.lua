-- A node stands still (SIGSTOP) for longer than its lease, its connections open, and goes on as if nothing had been.
local clusters = require "spec.e2e.cluster.support.cluster"
local figures = require "spec.e2e.cluster.support.figures"
local json = require "lcache.testing.json"
local lcache = require "spec.e2e.support.lcache"
local loads = require "spec.e2e.cluster.support.loads"

local LEASE = figures.size(10, 3)
local STOPPED = figures.size(20, 6)
local MARKS = { "begin", "first second", "stopped", "resumed", "all" }

describe("a node that stands still", function()
  local cluster

  after_each(function() clusters.finish(cluster) end)

  it("costs no Get at the others an error, and gives no old value afterwards", function()
    cluster = clusters.start { lease = LEASE }
    local victim = cluster.nodes[3]
    local others = cluster:others(victim)
    local load = loads.start()
    local mixed = { group = "g", source = cluster.source, keys = 300, rate = 300,
                    mix = { get = 80, set = 10, delete = 10 }, nodes = cluster.nodes }
    local run = load:begin(mixed)
    clusters.during(2)
    load:through(run, others)
    clusters.during(0.5) -- what went through the victim has been answered
    load:mark(run, "first second")
    clusters.pause(victim)
    -- Gets that wait in its sockets until it wakes: they began during the stop, so they must not be old then.
    local patient = load:begin { nodes = { victim }, group = "g", keys = 300, rate = 20, timeout = 60 }
    clusters.during(1)
    load:mark(run, "stopped")
    clusters.during(STOPPED - 1)
    load:mark(run, "resumed")
    clusters.resume(victim)
    clusters.during(2)
    cluster:wait_agree(nil, 15)
    load:mark(run, "all")
    load:through(run, cluster.nodes)
    clusters.during(2)
    load:finish(patient)
    local result = load:finish(run)
    local history = load:check()

    local errors, failures = clusters.errors(result, "get", MARKS)
    local p99 = result.marks.stopped.get.ms.p99
    figures.print("SIGSTOP for " .. STOPPED .. " s: errors of Gets at the others", errors, "want 0")
    figures.print("SIGSTOP: what the writes came to", json.encode { result.marks.stopped.set.codes,
                                                                    result.marks.stopped.delete.codes })
    figures.print("SIGSTOP: p99 of Gets at the others after the first second, ms", p99, "under 300")
    figures.print("SIGSTOP: old values after an acknowledgement", history.violations, "want 0")
    figures.print("SIGSTOP: values of failed Sets that turned up late", history.late)
    assert.equal(0, errors, failures)
    assert.is_true(p99 < 300 * lcache.slowness, "p99: " .. p99)
    assert.equal(0, history.violations, history.report .. "\n" .. history.file)
  end)
end)
