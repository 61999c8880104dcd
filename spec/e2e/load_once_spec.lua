-- The promise "load once", with real connections on several workers: flights, deadlines, cancellation, writes.
local drivers = require "spec.e2e.support.driver"
local lcache = require "spec.e2e.support.lcache"

local SCRIPT = [[
local lcache = require "lcache"
local source = lcache.secret("SOURCE")
lcache.group("slow", { bytes = "64MB", ttl = "60s", timeout = "10s", getter = function(path)
  local reply, err = lcache.http.get(source .. "/" .. path)
  if not reply then return nil, err end
  if reply.status ~= 200 then return nil, "source answered " .. reply.status end
  return reply.body
end })
lcache.group("chain", { bytes = "1MB", getter = function(key) return lcache.get("slow", key) end })
lcache.group("circle-a", { bytes = "1MB", getter = function(key) return lcache.get("circle-b", key) end })
lcache.group("circle-b", { bytes = "1MB", getter = function(key) return lcache.get("circle-a", key) end })
lcache.group("sleep", { bytes = "16MB", timeout = "60s", getter = function(key) lcache.sleep(20) return key end })
]]

local function times(value, count)
  local list = {}
  for i = 1, count do list[i] = value end
  return list
end

describe("concurrent misses", function()
  local node, driver, source

  setup(function()
    driver = drivers.start()
    source = lcache.source()
    node = lcache.start { script = SCRIPT, env = { LCACHE_SECRET_SOURCE = source.url } }
  end)
  teardown(lcache.finish)

  it("on one key over 8 connections load once, and all get the value", function()
    local result = driver:many(node, "slow", times("delay/300/one", 400), { connections = 8 })
    assert.same({ OK = 400 }, result.codes)
    assert.equal(1, result.values)
    assert.equal(1, source:counts()["/delay/300/one"])
  end)

  it("on many keys load each once", function()
    local keys = {}
    for i = 1, 50 do keys[i] = "delay/200/many-" .. i end
    local result = driver:many(node, "slow", keys, { connections = 8, times = 20 })
    assert.same({ OK = 1000 }, result.codes)
    assert.equal(50, result.values)
    local counts = source:counts()
    for _, key in ipairs(keys) do assert.equal(1, counts["/" .. key]) end
  end)

  it("on a key whose source fails all get the failure, after one load, and the next tries again", function()
    local result = driver:many(node, "slow", times("status/503", 100), { connections = 8 })
    assert.same({ UNAVAILABLE = 100 }, result.codes)
    assert.equal("source answered 503", (next(result.messages)))
    local loads = source:counts()["/status/503"]
    driver:get(node, "slow", "status/503")
    assert.equal(loads + 1, source:counts()["/status/503"])
  end)

  it("end one by one at their own deadlines, and the load goes on for the rest", function()
    local patient = driver:begin_get(node, "slow", "delay/800/patient", { channel = "patient" })
    local hasty = driver:get(node, "slow", "delay/800/patient", { timeout = 0.2, channel = "hasty" })
    assert.equal("DEADLINE_EXCEEDED", hasty.code)
    assert.equal("OK", driver:finish(patient).code)
    assert.equal(1, source:counts()["/delay/800/patient"])
  end)

  it("that nobody waits for any more are cancelled at the source", function()
    local answer = driver:get(node, "slow", "hang", { timeout = 0.3 })
    assert.equal("DEADLINE_EXCEEDED", answer.code)
    lcache.wait("the source sees it end", function() return source:stats().in_flight == 0 end)
    assert.equal(0, node:group_stats("slow").flights)
  end)

  it("get the value they waited for after a Set, and the Set's value stays", function()
    local waiting = driver:begin_get(node, "slow", "delay/500/set", { channel = "waiting" })
    lcache.wait("the load has begun", function() return source:counts()["/delay/500/set"] end)
    assert.equal("OK", driver:set(node, "slow", "delay/500/set", "set meanwhile").code)
    assert.equal("OK", driver:finish(waiting).code)
    assert.equal("set meanwhile", driver:get(node, "slow", "delay/500/set").value)
  end)

  it("after a Delete start a new load", function()
    local waiting = driver:begin_get(node, "slow", "delay/500/delete", { channel = "waiting" })
    lcache.wait("the load has begun", function() return source:counts()["/delay/500/delete"] end)
    driver:delete(node, "slow", "delay/500/delete")
    assert.equal("OK", driver:get(node, "slow", "delay/500/delete", { channel = "second" }).code)
    assert.equal("OK", driver:finish(waiting).code)
    assert.equal(2, source:counts()["/delay/500/delete"])
    assert.equal("STORE", driver:get(node, "slow", "delay/500/delete").from)
  end)

  it("through another group load once as well", function()
    local result = driver:many(node, "chain", times("delay/200/chain", 100), { connections = 8 })
    assert.same({ OK = 100 }, result.codes)
    assert.equal(1, source:counts()["/delay/200/chain"])
  end)

  it("that wait for one another fail at once", function()
    local a = driver:begin_get(node, "circle-a", "k", { channel = "a" })
    local b = driver:begin_get(node, "circle-b", "k", { channel = "b" })
    local first, second = driver:finish(a), driver:finish(b)
    assert.not_equal("OK", first.code)
    assert.not_equal("OK", second.code)
    assert.is_true(first.ms < 2000 * lcache.slowness and second.ms < 2000 * lcache.slowness)
  end)

  it("over 10,000 loads of a group are RESOURCE_EXHAUSTED, and other groups go on", function()
    local keys = {}
    for i = 1, 10000 do keys[i] = "k" .. i end
    local many = driver:begin_many(node, "sleep", keys, { connections = 8, timeout = 15 })
    lcache.wait("all loads run", function() return node:group_stats("sleep").flights == 10000 end, 14)
    assert.equal("RESOURCE_EXHAUSTED", driver:get(node, "sleep", "one more").code)
    assert.equal("OK", driver:get(node, "slow", "value/meanwhile").code)
    assert.same({ DEADLINE_EXCEEDED = 10000 }, driver:finish(many, 40).codes)
    lcache.wait("they are cancelled", function() return node:group_stats("sleep").flights == 0 end)
  end)

  it("in one batch load side by side", function()
    local keys = {}
    for i = 1, 20 do keys[i] = "delay/300/batch-" .. i end
    local answer = driver:batch(node, "slow", keys)
    assert.equal("OK", answer.code)
    assert.is_true(answer.ms < 2000 * lcache.slowness)
  end)

  it("leave nothing behind", function()
    local stats = node:group_stats("slow")
    assert.equal(0, stats.flights)
    assert.equal(0, stats.waiters)
  end)
end)

describe("connections", function()
  after_each(lcache.finish)

  it("over --max-connections wait until one ends", function()
    local node, driver = lcache.start { script = SCRIPT, args = { "--max-connections", "3" } }, drivers.start()
    driver:hold(node, 3)
    lcache.wait("3 are there", function() return node:log() end)
    local waiting = driver:begin_call(node, "grpc.health.v1.Health/Check", { service = "" }, { timeout = 20 })
    for _ = 1, 20 do
      assert.is_false(driver:is_done(waiting))
    end
    driver:release()
    assert.equal("OK", driver:finish(waiting).code)
  end)
end)
