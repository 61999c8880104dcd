-- A network that loses packets between some nodes, writes on both sides, and the heal.
local clusters = require "spec.e2e.cluster.support.cluster"
local figures = require "spec.e2e.cluster.support.figures"
local lcache = require "spec.e2e.support.lcache"
local loads = require "spec.e2e.cluster.support.loads"
local networks = require "spec.e2e.cluster.support.network"

local LEASE = figures.size(10, 3)
local PARTED = figures.size(20, 7)
local MIX = { get = 80, set = 10, delete = 10 }

describe("a partition", function()
  local cluster, network

  after_each(function()
    clusters.finish(cluster)
    if network then network:stop() end
    network = nil
  end)

  it("leaves each side serving, and on healing neither side's old values survive", function()
    if not networks.is_permitted() then return pending("network namespaces are not permitted here") end
    network = networks.start()
    cluster = clusters.start { lease = LEASE, network = network }
    local cut_off = cluster.nodes[3]
    local load = loads.start()
    local function begin(nodes)
      return load:begin { nodes = nodes, group = "g", source = cluster.source, keys = 300, rate = 150, mix = MIX }
    end
    local majority, minority = begin(cluster:others(cut_off)), begin { cut_off }
    clusters.during(2)

    local parted_at = load:mark(majority, "parted")
    load:mark(minority, "parted")
    network:partition { 3 }
    local off = clusters.wait_without(cluster:others(cut_off), cut_off, LEASE + 10)
    clusters.during(math.max(0, PARTED - off))
    local healed_at = load:mark(majority, "healed")
    load:mark(minority, "healed")
    network:heal()
    local _, seconds = cluster:wait_agree(nil, 30)
    clusters.during(2)

    local errors, failures = 0, ""
    for name, run in pairs { majority = majority, minority = minority } do
      local result = load:finish(run)
      local count, text = clusters.errors(result, "get", { "begin", "parted", "healed" })
      figures.print("partition: errors of Gets, " .. name, count, "want 0")
      figures.print("partition: Gets served while parted, " .. name, result.marks.parted.get.codes.OK or 0)
      errors, failures = errors + count, failures .. text
    end
    load:sweep { nodes = cluster.nodes, group = "g", source = cluster.source, key_list = loads.keys("k-", 300),
                 writes = "none" }
    local history = load:check { windows = { { parted_at, healed_at, { cut_off.name } } }, settle = seconds + 1 }
    figures.print("partition healed: seconds until all have one ring", seconds, "at most 10")
    figures.print("partition: old values after an acknowledgement", history.violations, "want 0")
    figures.print("partition: values of failed Sets that turned up late", history.late)
    assert.is_true(seconds <= 10 * lcache.slowness, "one ring after " .. seconds)
    assert.equal(0, errors, failures)
    assert.equal(0, history.violations, history.report .. "\n" .. history.file)
  end)
end)
