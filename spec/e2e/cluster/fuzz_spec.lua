-- spec/fuzz, for a few seconds each: that its commands work, and that the node survives these.
local drivers = require "spec.e2e.support.driver"
local figures = require "spec.e2e.cluster.support.figures"
local lcache = require "spec.e2e.support.lcache"
local process = require "spec.e2e.support.process"

local SECONDS, SEED = 5, 1

-- Runs one to its end: what it counted, by name.
local function fuzz(name)
  local run = process.run({
    argv = { drivers.python(), "spec/fuzz/" .. name, "--seconds", tostring(SECONDS), "--seed", tostring(SEED) },
    env = { LCACHE_BIN_DIR = process.bin(".") },
  }, 90)
  figures.print("fuzz", run.out:match("[^\n]*"))
  assert.equal(0, run.status, run.out .. run.err)
  local counts = {}
  for key, value in run.out:gmatch("(%w+)=(%d+)") do counts[key] = tonumber(value) end
  assert.same({ SEED, 0 }, { counts.seed, counts.findings })
  assert.is_true(counts.gets > 0)
  return counts
end

describe("a node", function()
  after_each(lcache.finish)

  it("survives a member that calls and answers nonsense", function()
    local counts = fuzz("peer")
    assert.is_true(counts.answered > 0 and counts.refused > 0)
  end)

  it("survives an etcd that answers nonsense", function()
    assert.is_true(fuzz("etcd").requests > 0)
  end)
end)
