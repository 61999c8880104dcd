-- What the machine does to lcache: no file descriptors, a log nobody reads, little memory.
local drivers = require "spec.e2e.support.driver"
local lcache = require "spec.e2e.support.lcache"

local SCRIPT = [[
local lcache = require "lcache"
lcache.group("echo", { getter = function(key) return key end, bytes = "16MB" })
lcache.group("raise", { getter = function() error(("x"):rep(2000)) end, bytes = "1MB" })
lcache.group("pages", { getter = function(key) return ("x"):rep(100000) end, bytes = "128MB" })
]]

describe("out of file descriptors", function()
  teardown(lcache.finish)

  it("accepting pauses, is logged, and recovers", function()
    local driver = drivers.start()
    local node = lcache.start { script = SCRIPT, open_files = 60 }
    driver:get(node, "echo", "k")
    driver:hold(node, 100)
    node:wait_log("accepting paused")
    assert.equal("k", driver:get(node, "echo", "k").value)
    driver:release()
    node:wait_log("accepting again")
    assert.equal("k", node:ctl("get", "echo", "k").out)
    assert.is_true(node:count_log("accepting paused") < 10)
  end)
end)

describe("a log that nobody reads", function()
  teardown(lcache.finish)

  it("does not hold up requests, and lost lines are counted", function()
    local driver = drivers.start()
    local node = lcache.start { script = SCRIPT }
    node.process.unread = true
    local keys = {}
    for i = 1, 2000 do keys[i] = "k" .. i end
    for _ = 1, 3 do
      local result = driver:many(node, "raise", keys, { connections = 4 })
      assert.same({ INTERNAL = 2000 }, result.codes)
      assert.equal("k", driver:get(node, "echo", "k").value)
    end
    node.process.unread = false
    assert.equal("k", driver:get(node, "echo", "k").value)
    node:signal("USR2")
    node:wait_log("state of the node")
  end)

  it("does not keep it from stopping", function()
    local driver = drivers.start()
    local node = lcache.start { script = SCRIPT, args = { "--log-level", "debug" } }
    node.process.unread = true
    for _ = 1, 40 do driver:many(node, "raise", { "a", "b", "c", "d", "e", "f", "g", "h" }) end
    for _ = 1, 200 do node:signal("USR2") end
    assert.equal(0, node:stop())
  end)
end)

describe("memory", function()
  after_each(lcache.finish)

  it("of an idle node with two workers is under 24 MiB", function()
    if not lcache.is_release then return pending("release builds only") end
    local node = lcache.start { script = SCRIPT, args = { "--workers", "2" } }
    assert.equal(0, node:ctl("get", "echo", "k").status)
    local resident = node:resident()
    assert.is_true(resident < 24 * 1024 * 1024, "resident: " .. resident)
  end)

  it("stays within --memory however much is loaded, and comes back", function()
    if not lcache.is_release then return pending("release builds only") end
    local driver = drivers.start()
    local node = lcache.start { script = SCRIPT:gsub("128MB", "32MB"), args = { "--memory", "64MB" } }
    local keys = {}
    for i = 1, 2000 do keys[i] = "k" .. i end
    assert.same({ OK = 2000 }, driver:many(node, "pages", keys, { connections = 4 }).codes)
    local limit = 1.10 * (64 + 2 * 32 + 64) + 32
    assert.is_true(node:resident() < limit * 1024 * 1024)
    local stats = node:group_stats("pages")
    assert.is_true(stats.bytes <= stats.limit_bytes)
    assert.is_true(stats.evicted_size > 0)
  end)

  it("of buffers runs out for a request, not for the node", function()
    local driver = drivers.start()
    local node = lcache.start { script = SCRIPT, args = { "--workers", "1", "--buffer-memory", "5MB" } }
    local begun = {}
    for i = 1, 4 do
      begun[i] = driver:begin_request(node, "/lcache.v1.Cache/Set", {
        body = drivers.grpc(("x"):rep(1900000), 1900001), no_end = true, seconds = 4 })
    end
    local statuses = {}
    for i, id in ipairs(begun) do statuses[i] = driver:finish(id).grpc_status end
    local refused = 0
    for i = 1, 4 do if statuses[i] == "8" then refused = refused + 1 end end
    assert.is_true(refused >= 1)
    assert.equal("k", driver:get(node, "echo", "k").value)
    lcache.wait("the buffers are given back", function()
      return node:ctl_json("stats").workers[1].buffer_bytes < 100000
    end)
  end)
end)
