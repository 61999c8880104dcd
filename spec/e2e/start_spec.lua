-- Starting: options and their mistakes, --check, what keeps lcache from starting.
local lcache = require "spec.e2e.support.lcache"

local SCRIPT = [[
local lcache = require "lcache"
lcache.group("echo", { getter = function(key) return key end, bytes = "1MB", ttl = "60s" })
]]

local function run(args, env)
  local argv = { lcache.bin("lcache") }
  for _, arg in ipairs(args) do argv[#argv + 1] = arg end
  return lcache.run(argv, 10, env)
end

local function fail(script, args, env)
  return lcache.fail { script = script, args = args, env = env }
end

describe("lcache's start", function()
  after_each(lcache.finish)

  it("prints one ready line with the bound address, the workers and the groups", function()
    local node = lcache.start { script = SCRIPT, args = { "--workers", "3" } }
    assert.matches("^ready grpc=127%.0%.0%.1:%d+ http=off workers=3 groups=1$", node.ready_line)
    assert.not_equal("127.0.0.1:0", node.address)
  end)

  it("keeps the ready line plain when the log is JSON", function()
    local node = lcache.start { script = SCRIPT, args = { "--log-format", "json" } }
    assert.matches("^ready grpc=", node.ready_line)
    node:signal("USR2")
    assert.is_truthy(node:wait_log('{"time":"[^"]+","level":"info","event":"state of the node"'))
  end)

  it("listens on IPv6", function()
    local node = lcache.start { script = SCRIPT, args = { "--listen", "[::1]:0" } }
    assert.matches("^%[::1%]:%d+$", node.address)
    assert.equal("k", node:ctl("get", "echo", "k").out:gsub("\n", ""))
  end)

  it("takes options from flags before the environment, and from that before the script", function()
    local script = 'require "lcache".configure{ workers = 5, log_level = "debug", drain_timeout = 1 }\n' .. SCRIPT
    local node = lcache.start {
      script = script, args = { "--workers=1" }, env = { LCACHE_WORKERS = "4", LCACHE_DRAIN_TIMEOUT = "2s" },
    }
    assert.matches("workers=1", node.ready_line)
    node:signal("TERM")
    node:wait_log("draining timeout_ms=2000")
    node.process:wait()
  end)

  it("prints its version and its help, and exits 0", function()
    local version, help = run { "--version" }, run { "--help" }
    assert.equal(0, version.status)
    assert.matches("^lcache %d+%.%d+%.%d+\n$", version.out)
    assert.equal(0, help.status)
    assert.matches("%-%-script FILE", help.out)
    assert.equal("", help.err)
  end)

  it("names each mistake in full and exits 2", function()
    local result = fail(SCRIPT, { "--memory", "12XB", "--lisen", "x:1", "--workers", "0" }, { LCACHE_JIT = "perhaps" })
    assert.equal(2, result.status)
    assert.is_truthy(result.err:find("--memory 12XB: not a size, use 256MB\n", 1, true))
    assert.is_truthy(result.err:find("--lisen: unknown option, did you mean --listen?\n", 1, true))
    assert.is_truthy(result.err:find("--workers 0: not a number from 1 to 256\n", 1, true))
    assert.is_truthy(result.err:find("LCACHE_JIT=perhaps: neither on nor off\n", 1, true))
  end)

  it("names a mistake in lcache.configure with file and line", function()
    local result = fail('local lcache = require "lcache"\n\nlcache.configure{ memory = "12XB" }\n' .. SCRIPT)
    assert.equal(2, result.status)
    assert.equal('app.lua:3: configure: memory "12XB": not a size, use 256MB\n', result.err)
  end)

  it("names a mistake in the settings of a cluster", function()
    local result = fail(SCRIPT, { "--peers", "127.0.0.1:1", "--etcd", "http://127.0.0.1:1", "--listen", "0.0.0.0:0" })
    assert.equal(2, result.status)
    assert.equal("--peers and --etcd are both given, use one of them: a fixed list of nodes, or membership by etcd\n" ..
      "--listen 0.0.0.0:0: no address that other nodes can reach, add --advertise HOST:PORT with one\n", result.err)
  end)

  for option, reason in pairs {
    ["--tls-cert"] = "TLS is not built yet", ["--tls-key"] = "TLS is not built yet",
    ["--tls-ca"] = "TLS is not built yet",
  } do
    it("refuses " .. option .. " as not built", function()
      local result = fail(SCRIPT, { option, "x" })
      assert.equal(2, result.status)
      assert.equal(option .. " x: " .. reason .. "\n", result.err)
    end)
  end

  it("accepts --http and says that it does nothing yet", function()
    local node = lcache.start { script = SCRIPT, args = { "--http", "127.0.0.1:0" } }
    assert.matches("http=off", node.ready_line)
    assert.is_truthy(node:wait_log("not built yet: %-%-http does nothing"))
  end)

  it("needs a script", function()
    local result = run {}
    assert.equal(2, result.status)
    assert.matches("^%-%-script is missing", result.err)
  end)

  it("says that a script is not there, or is a folder", function()
    local result = run { "--script", "no-such.lua" }
    assert.equal(2, result.status)
    assert.equal("--script no-such.lua: no such file\n", result.err)
    assert.equal("--script spec: is a folder\n", run({ "--script", "spec" }).err)
    assert.equal("LCACHE_SCRIPT=spec: is a folder\n", run({}, { LCACHE_SCRIPT = "spec" }).err)
  end)

  it("says nothing more of a line that has an unknown option", function()
    assert.equal("--scirpt: unknown option, did you mean --script?\n", run({ "--scirpt", "app.lua" }).err)
    assert.equal("app.lua: not an option, use --script app.lua\n", run({ "app.lua" }).err)
  end)

  it("warns of a misspelt variable, and not of others' variables", function()
    local node = lcache.start {
      script = SCRIPT, env = { LCACHE_WOKERS = "4", LCACHE_SECRET_TOKEN = "x", LCACHE_SERVER = "127.0.0.1:1" },
    }
    node:wait_log("warn LCACHE_WOKERS is not an option, did you mean LCACHE_WORKERS%?\n")
    node:stop()
    assert.equal(1, node:count_log("is not an option"))
  end)

  -- Names and defaults, by option; what has no default there is not compared.
  local function rows_of(text, pattern)
    local rows, count = {}, 0
    for names, rest in text:gmatch(pattern) do
      for name in names:gmatch("%-%-([%l-]+)") do
        rows[name] = rest
        count = count + 1
      end
    end
    return rows, count
  end

  it("has the options that README tells, with their defaults", function()
    local help, help_count = rows_of(run({ "--help" }).out, "\n  (%-%-[%l-]+)([^\n]*)")
    local file = assert(io.open(lcache.root .. "/README.md"))
    local readme, readme_count = rows_of(file:read("*a"), "\n| (`%-%-[^|]*) |([^|\n]*)")
    file:close()
    assert.is_true(help_count > 15)
    assert.equal(help_count, readme_count)
    for name, rest in pairs(help) do
      assert.is_truthy(readme[name], "README has no --" .. name)
      local default = rest:match("%(default: (%w[%w.:]*)%)")
      if default then assert.equal("`" .. default .. "`", readme[name]:match("`[^`]*`"), name) end
    end
  end)

  it("names file and line of a script that doesn't parse", function()
    local result = fail("local lcache = require 'lcache'\nthis is not Lua\n")
    assert.equal(2, result.status)
    assert.matches("^app%.lua:2: ", result.err)
  end)

  it("names file and line where a script raises", function()
    local result = fail("local x = nil\n\nx.y = 1\n")
    assert.equal(2, result.status)
    assert.matches("^app%.lua:3: ", result.err)
  end)

  for _, case in ipairs {
    { "a wrong duration", 'ttl = "soon"', 'group "bad": ttl must be a duration, got "soon"' },
    { "a wrong size", 'bytes = "12XB"', 'group "bad": bytes' },
    { "an unknown option", 'byts = "1MB"', 'group "bad": ' },
    { "a getter that is no function", 'getter = 42', 'group "bad": getter', "" },
    { "an unknown policy", 'policy = "fifo"', 'group "bad": policy' },
  } do
    it("names file and line of a group with " .. case[1], function()
      local options = case[2] .. (case[4] or ", getter = function() end")
      local script = 'local lcache = require "lcache"\nlcache.group("bad", { ' .. options .. " })\n"
      local result = fail(script)
      assert.equal(2, result.status)
      assert.is_truthy(result.err:find("app.lua:2: " .. case[3], 1, true), result.err)
    end)
  end

  it("refuses a group without a getter, a group twice, and a script without groups", function()
    local without = fail('require "lcache".group("a", {})\n')
    assert.equal(2, without.status)
    assert.matches('^app%.lua:1: group "a": getter', without.err)
    local twice = fail(SCRIPT .. SCRIPT:gsub('local lcache[^\n]*\n', ""))
    assert.equal(2, twice.status)
    assert.matches('^app%.lua:3: group "echo"', twice.err)
    assert.equal(2, fail("local lcache = require 'lcache'\n").status)
  end)

  it("refuses groups whose bytes add up to more than the memory", function()
    local result = fail(SCRIPT .. 'lcache.group("big", { getter = function() end, bytes = "256MB" })\n')
    assert.equal(2, result.status)
    assert.equal('app.lua:3: group "big": the groups\' bytes add up to 257MB, more than --memory 256MB: '
      .. "lower them or raise it\n", result.err)
  end)

  it("stops a script that loops for ever, at start", function()
    local result = fail("while true do end\n")
    assert.equal(2, result.status)
    assert.matches("^app%.lua:1: ", result.err)
  end)

  it("stops a script that allocates without end, at start", function()
    local script = "local t = {}\nwhile true do t[#t + 1] = ('x'):rep(100000) .. #t end\n"
    local result = fail(script, { "--lua-memory", "16MB" })
    assert.equal(2, result.status)
    assert.matches("^app%.lua.*memory", result.err)
  end)

  it("says which port is in use, and exits 1", function()
    local node = lcache.start { script = SCRIPT }
    local result = fail(SCRIPT, { "--listen", node.address })
    assert.equal(1, result.status)
    assert.is_truthy(result.err:find(node.address .. " is in use", 1, true), result.err)
    assert.equal(0, node:ctl("get", "echo", "k").status)
  end)

  it("says that an address is not this machine's, and exits 1", function()
    local result = fail(SCRIPT, { "--listen", "192.0.2.1:8001" })
    assert.equal(1, result.status)
    assert.is_truthy(result.err:find("192.0.2.1:8001", 1, true))
  end)

  describe("with --check", function()
    it("lists the groups of a good script and exits 0", function()
      local result = fail(SCRIPT, { "--check" })
      assert.equal(0, result.status)
      assert.equal("ok: 1 group\napp.lua:2: group echo bytes=1MB ttl=1m timeout=5s policy=lru2\n", result.out)
    end)

    it("does not mind that the port is in use", function()
      local node = lcache.start { script = SCRIPT }
      assert.equal(0, fail(SCRIPT, { "--check", "--listen", node.address }).status)
    end)

    it("prints what is wrong in script and options together", function()
      local script = 'local lcache = require "lcache"\nlcache.group("a", { getter = function() end, ttl = "soon" })\n'
      local result = fail(script, { "--check", "--memory", "x" })
      assert.equal(2, result.status)
      assert.is_truthy(result.err:find("--memory x: not a size, use 256MB\n", 1, true))
      assert.is_truthy(result.err:find('app.lua:2: group "a": ttl must be a duration, got "soon"\n', 1, true))
    end)

    it("finds caps over the memory", function()
      local result = fail(SCRIPT, { "--check", "--memory", "1MB" })
      assert.equal(0, result.status)
      result = fail(SCRIPT:gsub("1MB", "2MB"), { "--check", "--memory", "1MB" })
      assert.equal(2, result.status)
      assert.matches("^app%.lua:2: ", result.err)
    end)
  end)
end)
