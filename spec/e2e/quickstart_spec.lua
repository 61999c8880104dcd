-- examples/quickstart on the programs that are built already: what it shows, and that it leaves nothing behind.
local ffi = require "ffi"
local lcache = require "spec.e2e.support.lcache"

local BIN_DIR = lcache.bin(""):gsub("/$", "")
local SIGINT, SIGTERM = 2, 15

local function start(...)
  return lcache.start_process {
    argv = { lcache.root .. "/examples/quickstart", ... }, env = { LCACHE_BIN_DIR = BIN_DIR },
  }
end

local function run(...)
  local process = start(...)
  process:wait(30)
  return process
end

-- Every process that it started is in its group.
local function nothing_left(process)
  lcache.wait("its processes are gone", function() return ffi.C.kill(-process.pid, 0) ~= 0 end)
end

local function has(process, text)
  assert.is_truthy(process.out:find(text, 1, true), process.out .. process.err)
end

describe("examples/quickstart", function()
  after_each(lcache.finish)

  it("--once shows a miss, a hit, a key that is not found and a batch, and ends", function()
    local process = run("--once", "--port", "0", "--delay", "80")
    assert.equal(0, process.status, process.err)
    assert.equal("", process.err)
    local address = process.out:match("lcache%s+(127%.0%.0%.1:%d+)")
    has(process, "$ lcachectl --server " .. address .. " get scores 42")
    local miss, hit = process.out:match("SOURCE, ([%d.]+) ms.*STORE, ([%d.]+) ms")
    assert.is_true(tonumber(miss) >= 80, miss)
    assert.is_true(tonumber(hit) < tonumber(miss), hit)
    has(process, "NOT_FOUND: not found\n   -> exit status 1")
    for key, from in pairs { ["42"] = "STORE", ["43"] = "SOURCE", ["44"] = "SOURCE" } do
      assert.matches("\n   " .. key .. " +" .. from .. " +{[^\n]*}\n", process.out)
    end
    has(process, "the source was asked 4 times")
    nothing_left(process)
  end)

  for name, number in pairs { ["Ctrl-C"] = SIGINT, TERM = SIGTERM } do
    it("stays until " .. name .. ", which ends all that it has started", function()
      local process = start("--port", "0", "--delay", "0")
      lcache.wait("it stays", function() return process.out:find("Ctrl-C ends everything", 1, true) end, 20)
      local server = process.out:match("lcachectl %-%-server (%S+) get scores 7")
      local ctl = lcache.run { lcache.bin("lcachectl"), "--server", server, "get", "scores", "7" }
      assert.equal(0, ctl.status, ctl.err)
      lcache.wait("it shows what reached the source", function() return process.out:find("GET /scores/7 ", 1, true) end)
      ffi.C.kill(number == SIGINT and -process.pid or process.pid, number) -- a terminal tells the whole group
      assert.equal(128 + number, process:wait(20))
      nothing_left(process)
      assert.equal(2, lcache.run({ lcache.bin("lcachectl"), "--server", server, "get", "scores", "7" }).status)
    end)
  end

  it("says that the port it was given is taken", function()
    local node = lcache.start { script = "require'lcache'.group('g', { getter = function() end })" }
    local process = run("--once", "--port", node.address:match("%d+$"))
    assert.equal(1, process.status)
    assert.is_truthy(process.err:find(node.address .. " is in use", 1, true), process.err)
    assert.matches("\nquickstart: lcache did not start: choose another port by %-%-port\n$", process.err)
    assert.is_nil(process.err:find("--listen", 1, true), process.err)
    nothing_left(process)
  end)

  it("says that the source's port is taken", function()
    local node = lcache.start { script = "require'lcache'.group('g', { getter = function() end })" }
    local process = run("--once", "--port", "0", "--source-port", node.address:match("%d+$"))
    assert.equal(1, process.status)
    assert.matches("quickstart: the source did not start: source: cannot listen on", process.err)
    nothing_left(process)
  end)

  it("names a mistake in its options", function()
    for _, case in ipairs {
      { "--port", "seven", message = "--port seven: not a port, use 0 to 65535" },
      { "--port", message = "--port needs a number" },
      { "--delay", "1s", message = "--delay 1s: not a number of milliseconds" },
      { "--twice", message = "no option --twice (see --help)" },
    } do
      local process = run(unpack(case))
      assert.equal(1, process.status)
      assert.equal("\nquickstart: " .. case.message .. "\n", process.err)
    end
  end)
end)
