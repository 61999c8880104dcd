-- Hostile, broken and slow clients: what they do ends their own connection at most. Bad input that has a status of its
-- own is in wire_spec.
local drivers = require "spec.e2e.support.driver"
local json = require "lcache.testing.json"
local lcache = require "spec.e2e.support.lcache"
local raw = require "spec.e2e.support.raw"

local SCRIPT = [[
local lcache = require "lcache"
lcache.group("echo", { getter = function(key) return key end, bytes = "1MB" })
lcache.group("big", { getter = function(key) return ("x"):rep(tonumber(key:match("%d+") or 1)) end, bytes = "4MB" })
]]

local MB = 1024 * 1024
local ENHANCE_YOUR_CALM = 11
local sanitized = lcache.slowness > 1
local seed = tonumber(os.getenv("SEED") or 1)

-- Steady requests on connections of their own while `action` runs: none may fail or wait long.
local function unharmed(node, action, seconds)
  local bench = lcache.start_process { argv = {
    lcache.bin("lcache-bench"), "--server", node.address, "--group", "echo", "--keys", "50", "--connections", "4",
    "--rate", "400", "--requests", tostring(400 * (seconds or 0.5)), "--json",
  } }
  local result = action()
  assert.equal(0, bench:wait(60), bench.out .. bench.err)
  local steady = json.decode(bench.out)
  assert.equal(0, steady.failed)
  assert.is_true(steady.latency_us.max < 1e6 * lcache.slowness, "slowest: " .. steady.latency_us.max)
  return result
end

local function connections(node)
  local total = -1 -- lcachectl's own
  for _, worker in ipairs(node:ctl_json("stats").workers) do total = total + worker.connections end
  return total
end

-- All that clients have left is given back.
local function clean(node)
  lcache.wait("nothing is left", function()
    local stats = node:ctl_json("stats")
    local buffers, flights = 0, 0
    for _, worker in ipairs(stats.workers) do buffers = buffers + worker.buffer_bytes end
    for _, group in ipairs(stats.groups) do flights = flights + group.flights + group.waiters end
    return buffers == 0 and flights == 0 and connections(node) == 0
  end)
end

local function no_errors_logged(node)
  for line in node:log():gmatch("[^\n]+") do
    assert.is_nil(line:find(" error ", 1, true) or line:find(" warn ", 1, true), line)
  end
end

describe("a hostile client", function()
  local node

  setup(function() node = lcache.start { script = SCRIPT, args = { "--max-message", "1MB" } } end)
  teardown(lcache.finish)

  after_each(function()
    assert.equal("still served", node:ctl("get", "echo", "still served").out)
    clean(node)
    no_errors_logged(node)
  end)

  it("sends random bytes and mutated HTTP/2 in vain (SEED=" .. seed .. ")", function()
    local function fuzz(seconds, more)
      return raw.run(node, "fuzz", { seed = seed + more, seconds = seconds, max = 10000 }, 60)
    end
    fuzz(1, 0)
    local before = node:resident()
    local result = unharmed(node, function() return fuzz(6, 1) end, 6)
    assert.is_true(result.connections > 1000 / lcache.slowness, "only " .. result.connections)
    if not sanitized then assert.is_true(node:resident() < before + 8 * MB) end
  end)

  for _, kind in ipairs {
    "ping", "settings", "empty data", "window", "priority", "unknown", "rapid reset", "rapid reset of gets",
  } do
    it("is told to calm down after a flood of: " .. kind, function()
      local result = unharmed(node, function()
        return raw.run(node, "flood", { kind = kind, count = 200000 }, 30)
      end)
      assert.is_true(result.ended)
      -- The end of a connection may overtake its last words.
      assert.is_true(result.goaway == ENHANCE_YOUR_CALM or result.goaway == json.null, tostring(result.goaway))
      assert.is_true(result.sent < 200000, "all were taken")
    end)
  end

  for _, kind in ipairs { "continuation", "empty continuation" } do
    it("is cut off in a head without end: " .. kind, function()
      local before = node:resident()
      local result = unharmed(node, function()
        return raw.run(node, "flood", { kind = kind, count = 20000 }, 30)
      end)
      assert.is_true(result.ended)
      assert.is_true(result.sent < 20000, "all were taken")
      if not sanitized then assert.is_true(node:resident() < before + 8 * MB) end
    end)
  end

  it("gets no memory with heads that unpack to 64 MB each", function()
    local before = node:resident()
    unharmed(node, function()
      return raw.run(node, "flood", { kind = "header bombs", count = 200, ends = false }, 30)
    end)
    if not sanitized then assert.is_true(node:resident() < before + 8 * MB) end
  end)
end)

describe("very many connections", function()
  teardown(lcache.finish)

  it("that idle cost little, and others are served", function()
    local count = sanitized and 300 or 3000
    local node = lcache.start { script = SCRIPT }
    local before = node:resident()
    local holder = raw.hold(node, count)
    assert.equal(count, holder.opened.open)
    assert.equal(count, holder:greet().answered)
    unharmed(node, function() end)
    if not sanitized then
      local each = (node:resident() - before) / count
      assert.is_true(each < 24 * 1024, "bytes each: " .. each)
    end
    holder:stop()
    clean(node)
  end)
end)

describe("a reader that doesn't read", function()
  after_each(lcache.finish)

  it("holds no more than the buffers' share of memory, and others are served", function()
    local node = lcache.start {
      script = SCRIPT,
      args = { "--memory", "16MB", "--lua-memory", "8MB", "--buffer-memory", "16MB", "--max-message", "1MB" },
    }
    local pile = raw.start(node, "pile", { connections = 10, gets = 40, group = "big", key = "900000" })
    unharmed(node, function()
      pile:answer(60)
      lcache.wait("the values are loaded", function()
        local stats = node:group_stats("big")
        return stats.loads > 0 and stats.flights == 0
      end, 20)
    end)
    if not sanitized then
      local limit = 1.10 * (16 + 2 * 8 + 16) + 32
      assert.is_true(node:resident() < limit * MB, "resident: " .. node:resident() / MB .. " MB")
    end
    assert.is_true(pile:order({}).got > 10 * MB)
    pile.process:wait()
    clean(node)
  end)
end)

describe("out of file descriptors,", function()
  after_each(lcache.finish)

  it("lcache stops accepting with one line in the log, serves on, and accepts again", function()
    local driver = drivers.start()
    local node = lcache.start { script = SCRIPT, open_files = 60 }
    driver:get(node, "echo", "k")
    for episode = 1, 2 do
      local holder = raw.hold(node, 100)
      lcache.wait("it says so", function() return node:count_log("error accepting paused") == episode end)
      assert.equal("OK", driver:get(node, "echo", "k").code)
      holder:stop()
      lcache.wait("it says so", function() return node:count_log("info accepting again") == episode end)
      assert.equal("k", node:ctl("get", "echo", "k").out)
      assert.equal(episode, node:count_log("accepting paused"))
    end
    driver:stop()
    clean(node)
  end)
end)

describe("at --max-connections,", function()
  after_each(lcache.finish)

  it("one more waits until another ends", function()
    local driver = drivers.start()
    local node = lcache.start { script = SCRIPT, args = { "--max-connections", "4" } }
    local holder = raw.hold(node, 4)
    local call = driver:begin_get(node, "echo", "k")
    node:wait_log('accepting paused listen=%S+ error="as many connections as %-%-max%-connections allows"')
    assert.is_false(driver:is_done(call))
    holder:close_some { 2 }
    assert.equal("OK", driver:finish(call).code)
    assert.equal(1, node:count_log("accepting paused"))
    holder:stop()
    assert.equal("k", node:ctl("get", "echo", "k").out)
    node:wait_log("accepting again")
  end)
end)
