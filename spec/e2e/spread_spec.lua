-- New connections are spread evenly over the workers.
local json = require "lcache.testing.json"
local lcache = require "spec.e2e.support.lcache"
local raw = require "spec.e2e.support.raw"

local SCRIPT = [[
local lcache = require "lcache"
lcache.group("echo", { getter = function(key) return key end, bytes = "1MB" })
]]

-- The connections of each worker, once there are that many with lcachectl's own.
local function spread(node, count)
  return lcache.wait(count .. " connections are there", function()
    local counts, total = {}, 0
    for i, worker in ipairs(node:ctl_json("stats").workers) do
      counts[i] = worker.connections
      total = total + worker.connections
    end
    return total == count and counts
  end)
end

describe("new connections", function()
  after_each(lcache.finish)

  it("of 8 over 2 workers go 4 to each", function()
    local node = lcache.start { script = SCRIPT }
    raw.hold(node, 7)
    assert.same({ 4, 4 }, spread(node, 8))
  end)

  it("of 9 over 3 workers go 3 to each", function()
    local node = lcache.start { script = SCRIPT, args = { "--workers", "3" } }
    raw.hold(node, 8)
    assert.same({ 3, 3, 3 }, spread(node, 9))
  end)

  it("go where connections have ended", function()
    local node = lcache.start { script = SCRIPT }
    local holder = raw.hold(node, 8)
    holder:close_some { 1, 3, 5, 7 }
    local counts = spread(node, 5)
    table.sort(counts)
    assert.same({ 1, 4 }, counts)
    holder:open(3)
    assert.same({ 4, 4 }, spread(node, 8))
  end)

  it("share out the requests of eight busy connections", function()
    local node = lcache.start { script = SCRIPT }
    local run = lcache.run({
      lcache.bin("lcache-bench"), "--server", node.address, "--group", "echo", "--keys", "100",
      "--connections", "8", "--outstanding", "8", "--requests", tostring(math.floor(40000 / lcache.slowness)), "--json",
    }, 60)
    assert.equal(0, run.status, run.err)
    local total = json.decode(run.out).requests
    for _, worker in ipairs(node:ctl_json("stats").workers) do
      local share = worker.requests / total
      assert.is_true(share > 0.4 and share < 0.6, share)
    end
  end)
end)
