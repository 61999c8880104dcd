-- Stopping: drain, deadlines, second signals; and what an operator sees meanwhile.
local drivers = require "spec.e2e.support.driver"
local lcache = require "spec.e2e.support.lcache"

local SCRIPT = [[
local lcache = require "lcache"
lcache.group("echo", { getter = function(key) return key end, bytes = "1MB" })
lcache.group("slow", { bytes = "1MB", timeout = "60s", getter = function(key)
  lcache.sleep(tonumber(key))
  return "slow"
end })
lcache.group("stuck", { bytes = "1MB", timeout = "60s", getter = function(key)
  return tostring(("a"):rep(tonumber(key)):find(("a*"):rep(12) .. "b"))
end })
]]

-- Backtracking in C, which no hook can interrupt: some seconds, and for ever.
local STUCK_SHORT, STUCK_LONG = "19", "60"

local function flights(node, group)
  return node:group_stats(group).flights
end

describe("a stop", function()
  local driver

  before_each(function() driver = drivers.start() end)
  after_each(lcache.finish)

  for _, name in ipairs { "TERM", "INT" } do
    it("by " .. name .. " exits 0", function()
      local node = lcache.start { script = SCRIPT }
      driver:get(node, "echo", "k")
      node:signal(name)
      assert.equal(0, node.process:wait())
    end)
  end

  it("lets loads in progress end and answers them", function()
    local node = lcache.start { script = SCRIPT }
    local slow = driver:begin_get(node, "slow", "1")
    lcache.wait("the load runs", function() return flights(node, "slow") == 1 end)
    node:signal("TERM")
    assert.equal("OK", driver:finish(slow).code)
    assert.equal(0, node.process:wait())
  end)

  it("cuts what is not done after --drain-timeout", function()
    local node = lcache.start { script = SCRIPT, args = { "--drain-timeout", "500ms" } }
    local slow = driver:begin_get(node, "slow", "50")
    lcache.wait("the load runs", function() return flights(node, "slow") == 1 end)
    local began = lcache.now()
    node:signal("TERM")
    assert.equal("UNAVAILABLE", driver:finish(slow).code)
    assert.equal(0, node.process:wait())
    assert.is_true(lcache.now() - began < 4 * lcache.slowness)
    assert.equal(1, node:count_log("warn  ?drain timeout passed requests_cut=1$"))
  end)

  it("says how many requests it waits for", function()
    local node = lcache.start { script = SCRIPT }
    local slow = driver:begin_get(node, "slow", tostring(1.5 * lcache.slowness))
    lcache.wait("the load runs", function() return flights(node, "slow") == 1 end)
    local seen = node:ctl_json("stats").uptime_ms
    lcache.wait("the workers have counted it", function()
      return node:ctl_json("stats").uptime_ms > seen + 300 * lcache.slowness
    end)
    node:signal("TERM")
    node:wait_log("draining timeout_ms=10000 requests=1\n")
    assert.equal("OK", driver:finish(slow).code)
    assert.equal(0, node.process:wait())
    assert.equal(0, node:count_log("drain timeout passed"))
  end)

  it("answers all that is in progress on all connections", function()
    local node = lcache.start { script = SCRIPT }
    local keys = { "2", "2.01", "2.02", "2.03", "2.04" }
    local running = driver:begin_many(node, "slow", keys, { connections = 8, times = 40 })
    lcache.wait("200 wait", function() return node:group_stats("slow").waiters == 200 end)
    node:signal("TERM")
    assert.same({ OK = 200 }, driver:finish(running).codes)
    assert.equal(0, node.process:wait())
  end)

  it("tells health watchers NOT_SERVING, refuses new connections", function()
    local node = lcache.start { script = SCRIPT }
    local watch = driver:watch(node)
    assert.equal("SERVING", driver:next_status(watch))
    local slow = driver:begin_get(node, "slow", "1.5")
    lcache.wait("the load runs", function() return flights(node, "slow") == 1 end)
    node:signal("TERM")
    assert.equal("NOT_SERVING", driver:next_status(watch))
    assert.equal(2, node:ctl("get", "echo", "k").status)
    assert.equal("OK", driver:finish(slow).code)
    assert.equal(0, node.process:wait())
  end)

  it("does not wait for health watchers", function()
    local node = lcache.start { script = SCRIPT }
    local watch = driver:watch(node)
    assert.equal("SERVING", driver:next_status(watch))
    local began = lcache.now()
    assert.equal(0, node:stop())
    assert.is_true(lcache.now() - began < 5 * lcache.slowness)
  end)

  it("does not wait for connections that say nothing", function()
    local node = lcache.start { script = SCRIPT }
    driver:hold(node, 20)
    lcache.wait("they are there", function() return node:ctl_json("stats").workers[1].connections >= 10 end)
    local began = lcache.now()
    assert.equal(0, node:stop())
    assert.is_true(lcache.now() - began < 5 * lcache.slowness)
  end)

  it("by a second signal is at once, with the signal's status", function()
    local node = lcache.start { script = SCRIPT }
    node.must_drain = false
    local slow = driver:begin_get(node, "slow", "50")
    lcache.wait("the load runs", function() return flights(node, "slow") == 1 end)
    node:signal("TERM")
    node:wait_log("draining")
    node:signal("TERM")
    assert.equal(143, node.process:wait(3))
    driver:finish(slow)
  end)

  it("happens in spite of a worker that stands still", function()
    local node = lcache.start { script = SCRIPT, args = { "--drain-timeout", "500ms" } }
    node.must_drain = false
    driver:begin_get(node, "stuck", STUCK_LONG)
    node:wait_log("worker stands still")
    local began = lcache.now()
    node:signal("TERM")
    assert.equal(1, node.process:wait(10))
    assert.is_true(lcache.now() - began < 6 * lcache.slowness)
    assert.equal(1, node:count_log("worker given up"))
  end)
end)

describe("an operator", function()
  local driver

  before_each(function() driver = drivers.start() end)
  after_each(lcache.finish)

  it("gets the state of workers and groups by USR2", function()
    local node = lcache.start { script = SCRIPT }
    driver:get(node, "echo", "k")
    node:signal("USR2")
    node:wait_log("state of a worker worker=0 [^\n]*connections=")
    node:wait_log("state of a worker worker=1 ")
    node:wait_log("state of a group group=echo items=1 ")
    node:wait_log("state of the node phase=serving ")
  end)

  it("is told that HUP does not reload yet, and lcache goes on", function()
    local node = lcache.start { script = SCRIPT }
    node:signal("HUP")
    node:wait_log("reload is not built yet")
    assert.equal("k", driver:get(node, "echo", "k").value)
  end)

  it("is told of a worker that stands still, and health says so", function()
    local node = lcache.start { script = SCRIPT, args = { "--workers", "2" } }
    local watch = driver:watch(node)
    assert.equal("SERVING", driver:next_status(watch))
    local stuck = driver:begin_get(node, "stuck", STUCK_SHORT, { channel = "stuck", timeout = 120 })
    node:wait_log("worker stands still worker=%d for_ms=%d+", 20)
    assert.equal("NOT_SERVING", driver:next_status(watch))
    driver:finish(stuck, 120)
    node:wait_log("worker goes on worker=%d stood_ms=%d+", 20)
    assert.equal("SERVING", driver:next_status(watch))
    assert.equal(1, node:count_log("worker stands still"))
  end)

  it("who stops the process for a while sees no worker accused", function()
    local node = lcache.start { script = SCRIPT }
    node:signal("STOP")
    local stopped = lcache.now()
    lcache.wait("a while has passed", function() return lcache.now() - stopped > 1.6 end)
    node:signal("CONT")
    local went_on = lcache.now()
    lcache.wait("the watchdog has looked", function() return lcache.now() - went_on > 0.6 end)
    assert.equal(0, node:count_log("stands still"))
  end)
end)
