-- Very many misses at once: one load for each key, whoever waits, and nobody waits long.
local json = require "lcache.testing.json"
local lcache = require "spec.e2e.support.lcache"

-- Sanitizers are slow and hungry: less of the same.
local scale = lcache.slowness == 1 and 1 or 10
local KEYS, REQUESTS, CONNECTIONS = 1000 / scale, 100000 / scale, 64

local function script(source)
  return ([[
local lcache = require "lcache"
local options = { bytes = "16MB", timeout = "30s" }
options.getter = function(key)
  local reply, message = lcache.http.get("%s/delay/100/" .. lcache.http.escape(key))
  if not reply then return nil, message end
  return reply.body
end
lcache.group("http", options)
options.getter = function(key)
  lcache.sleep(1)
  return key
end
lcache.group("sleep", options)
]]):format(source.url)
end

-- All requests are sent before the first can be answered.
local function ask(node, group)
  local run = lcache.run({
    lcache.bin("lcache-bench"), "--server", node.address, "--group", group, "--distribution", "sequential",
    "--keys", tostring(KEYS), "--connections", tostring(CONNECTIONS),
    "--outstanding", tostring(math.ceil(REQUESTS / CONNECTIONS)), "--requests", tostring(REQUESTS), "--json",
  }, 60)
  assert.equal(0, run.status, run.out .. run.err)
  local result = json.decode(run.out)
  assert.equal(REQUESTS, result.requests)
  assert.equal(0, result.failed)
  return result
end

describe(("%d misses at once on %d keys over %d connections"):format(REQUESTS, KEYS, CONNECTIONS), function()
  local node, source

  setup(function()
    source = lcache.source()
    -- With the default --buffer-memory: 100,000 requests that wait must fit.
    node = lcache.start { script = script(source) }
  end)
  teardown(lcache.finish)

  it("make one request each to the source, and all are answered within its delay and two seconds", function()
    local result = ask(node, "http")
    local asked = 0
    for path, count in pairs(source:counts()) do
      assert.equal(1, count, path)
      asked = asked + count
    end
    assert.equal(KEYS, asked)
    local stats = node:group_stats("http")
    assert.same({ KEYS, 0, 0 }, { stats.loads, stats.load_errors, stats.timeouts })
    assert.same({ 0, 0 }, { stats.flights, stats.waiters })
    assert.is_true(result.latency_us.max < 2.1e6 * lcache.slowness, "slowest: " .. result.latency_us.max)
  end)

  it("share loads that are all in progress at once", function()
    local result = ask(node, "sleep")
    local stats = node:group_stats("sleep")
    assert.equal(KEYS, stats.loads)
    assert.is_true(stats.coalesced > 0.9 * (REQUESTS - KEYS), "coalesced: " .. stats.coalesced)
    assert.is_true(result.latency_us.max < 3e6 * lcache.slowness, "slowest: " .. result.latency_us.max)
  end)
end)
