-- examples/cluster on the programs that are built already: what it shows, and that stop ends what start began, no more.
local etcds = require "spec.e2e.cluster.support.etcd"
local lcache = require "spec.e2e.support.lcache"
local process = require "spec.e2e.support.process"
local sockets = require "spec.e2e.cluster.support.sockets"

local START, STOP = lcache.root .. "/examples/cluster/start", lcache.root .. "/examples/cluster/stop"
local ENV = { LCACHE_BIN_DIR = (lcache.bin(""):gsub("/$", "")) }

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

local function has(run, text)
  assert.is_truthy(run.out:find(text, 1, true), text .. "\n---\n" .. run.out .. run.err)
end

-- What has ended and waits for its parent to notice isn't.
local function is_alive(pid)
  local stat = read_file("/proc/" .. pid .. "/stat")
  return stat ~= nil and not stat:find("%) Z ")
end

describe("examples/cluster", function()
  local state, ports

  before_each(function()
    state = process.temp_folder()
    ports = { sockets.free_port(), sockets.free_port(), sockets.free_port() }
  end)
  after_each(function()
    lcache.run({ STOP, "--state", state }, 60)
    lcache.finish()
  end)

  local function start(...)
    return lcache.run({ START, "--state", state, "--ports", table.concat(ports, ","), "--delay", "20", ... }, 90, ENV)
  end

  it("shows a cluster, a node's death and its return, and goes on until it is stopped", function()
    if not etcds.is_installed() then return pending("etcd is not installed") end
    local run = start()
    assert.equal(0, run.status, run.out .. run.err)
    for number = 1, 6 do has(run, "\n" .. number .. ". ") end
    has(run, "-> served from PEER")
    has(run, "-> served from STORE")
    has(run, "-> served from SOURCE")
    assert.matches("\n +all +60 +%d+ +%d+ +%d+ +60 ", run.out)

    local processes = {}
    for name, pid in read_file(state .. "/processes"):gmatch("(%S+) (%d+) %d+\n") do
      processes[name] = pid
      assert.is_true(is_alive(pid), name)
    end
    assert.is_truthy(processes.etcd and processes.source and processes.node1 and processes.node3)
    local ctl = lcache.run { lcache.bin("lcachectl"), "--server", "127.0.0.1:" .. ports[3], "get", "scores", "7" }
    assert.equal(0, ctl.status, ctl.err)
    local again = start()
    assert.equal(1, again.status)
    assert.is_truthy(again.err:find("a cluster runs already", 1, true), again.err)

    local stopped = lcache.run({ STOP, "--state", state }, 60)
    assert.equal(0, stopped.status, stopped.out .. stopped.err)
    for name, pid in pairs(processes) do
      has(stopped, ("stopping %s (process %s)"):format(name, pid))
      assert.is_false(is_alive(pid), name)
    end
    has(lcache.run { STOP, "--state", state }, "Nothing to stop")
  end)

  it("stops no other process that has got an old one's id", function()
    local other = lcache.start_process { argv = { "sleep", "1000" } }
    process.write_file(state .. "/processes", ("node1 %d 1\n"):format(other.pid))
    local stopped = lcache.run({ STOP, "--state", state }, 60)
    assert.equal(0, stopped.status, stopped.err)
    has(stopped, ("node1 (process %d) has ended already"):format(other.pid))
    process.pump(0)
    assert.is_nil(other.status)
  end)

  it("ends what it has begun when a port is taken, and says which", function()
    if not etcds.is_installed() then return pending("etcd is not installed") end
    local node = lcache.start { script = "require'lcache'.group('g', { getter = function() end })" }
    ports[2] = node.address:match("%d+$")
    local run = start()
    assert.equal(1, run.status, run.out)
    assert.is_truthy(run.err:find("cluster: node2: not ready", 1, true), run.err)
    assert.is_truthy(run.err:find(node.address .. " is in use", 1, true), run.err)
    assert.is_nil(read_file(state .. "/processes"))
    assert.equal(2, lcache.run({ lcache.bin("lcachectl"), "--server", "127.0.0.1:" .. ports[1], "nodes" }).status)
  end)

  it("names a mistake in its options", function()
    for _, case in ipairs {
      { "--ports", "8001,8002", message = "--ports 8001,8002: three ports, as in 8001,8002,8003" },
      { "--ports", "1,2,x", message = "--ports 1,2,x: x is no port" },
      { "--delay", "1s", message = "--delay 1s: not a number of milliseconds" },
      { "--state", message = "--state needs a value" },
      { "--twice", message = "no option --twice (see --help)" },
    } do
      local run = lcache.run({ START, unpack(case) }, 20, ENV)
      assert.equal(1, run.status)
      assert.equal("\ncluster: " .. case.message .. "\n", run.err)
    end
  end)
end)
