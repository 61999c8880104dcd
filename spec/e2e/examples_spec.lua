-- What a newcomer runs first: the quickstart, and the clients in other languages.
local lcache = require "spec.e2e.support.lcache"

local ROOT = lcache.root
local BIN = { LCACHE_BIN_DIR = lcache.bin("lcache"):match("^(.*)/") }

local function succeeds(argv, seconds, env)
  local run = lcache.run(argv, seconds, env)
  if run.status ~= 0 then error(argv[1] .. " exited " .. run.status .. ":\n" .. run.out .. run.err, 2) end
  return run.out
end

describe("the quickstart", function()
  after_each(lcache.finish)

  it("shows a miss, a hit, a key that is not there and a batch, then ends", function()
    local out = succeeds({ ROOT .. "/examples/quickstart", "--once", "--no-install", "--port", "0" }, 60, BIN)
    assert.matches("served from SOURCE", out)
    assert.matches("served from STORE", out)
    assert.matches("exit status 1", out)
    assert.matches("Five keys were read", out)
  end)

  it("stays until Ctrl-C and leaves no process behind", function()
    local quickstart = lcache.start_process {
      argv = { ROOT .. "/examples/quickstart", "--no-install", "--port", "0" }, cwd = ROOT, env = BIN,
    }
    lcache.wait("the demonstration is over", function() return quickstart.out:find("lcache goes on running", 1, true) end, 60)
    local address = quickstart.out:match("%-%-server (%S+)")
    local get = { lcache.bin("lcachectl"), "--server", address, "get", "scores", "7" }
    assert.equal(0, lcache.run(get).status)
    quickstart:signal("INT")
    assert.equal(130, quickstart:wait(20))
    assert.equal(2, lcache.run(get).status)
  end)
end)

describe("a client in", function()
  local quickstart, address

  setup(function()
    quickstart = lcache.start_process {
      argv = { ROOT .. "/examples/quickstart", "--no-install", "--port", "0" }, cwd = ROOT, env = BIN,
    }
    lcache.wait("the demonstration is over", function() return quickstart.out:find("lcache goes on running", 1, true) end, 60)
    address = quickstart.out:match("%-%-server (%S+)")
  end)
  teardown(function()
    quickstart:signal("TERM")
    quickstart:wait(20)
    lcache.finish()
  end)

  before_each(function()
    lcache.run { lcache.bin("lcachectl"), "--server", address, "delete", "scores", "7" }
  end)

  for _, language in ipairs { "python", "node", "go" } do
    it(language .. " reads, writes, deletes and batches", function()
      local out = succeeds({ ROOT .. "/examples/clients/" .. language .. "/run", address }, 240)
      assert.matches("get 7: %d+ bytes from SOURCE", out)
      assert.matches("get 7: %d+ bytes from STORE", out)
      assert.matches("get no%-such%-player: not found", out)
      assert.matches("get 8: 12 bytes from STORE", out)
      assert.matches("delete 8: it was there", out)
      assert.matches("batch 9: %d+ bytes", out)
      assert.matches("batch no%-such%-player: not found", out)
    end)
  end
end)
