-- Scripts that misbehave while they serve, and sources that do: only the key concerned suffers.
local drivers = require "spec.e2e.support.driver"
local lcache = require "spec.e2e.support.lcache"

local SCRIPT = [[
local lcache = require "lcache"
local http, source = lcache.http, lcache.secret("SOURCE")
local do_it = {}
function do_it.raise() error "raised" end
function do_it.loop() while true do end end
function do_it.pcall_loop() while true do pcall(function() while true do end end) end end
function do_it.allocate() local t = {} while true do t[#t + 1] = ("x"):rep(1000000) .. #t end end
function do_it.number() return 42 end
function do_it.table() return {} end
function do_it.boolean() return true end
function do_it.second() return "v", "and a message" end
function do_it.never() coroutine.yield() end
function do_it.in_sort() table.sort({ 1, 2, 3 }, function() lcache.sleep(0.01) return true end) return "v" end
function do_it.global() return os.exit end
function do_it.popen() return io.popen "true" end
function do_it.deep() return do_it.deep() .. "x" end
function do_it.huge_value() return ("x"):rep(10 * 1024 * 1024) end
function do_it.log_value() lcache.log.info("seen", { secret = ("y"):rep(100000) }) return "v" end
function do_it.ok() return "fine" end

lcache.group("do", { bytes = "16MB", timeout = "2s", getter = function(key) return do_it[key]() end })
lcache.group("source", { bytes = "16MB", timeout = "1s", getter = function(path)
  local reply, err = http.get(source .. "/" .. path, { max_bytes = path:find "^huge/6" and 8 * 1024 * 1024 or nil })
  if not reply then return nil, err end
  if reply.status ~= 200 then return nil, "source answered " .. reply.status end
  return reply.body
end })
lcache.group("json", { bytes = "1MB", getter = function(path)
  local reply, err = http.get(source .. "/" .. path)
  if not reply then return nil, err end
  local value, why = lcache.json.decode(reply.body)
  if not value then return nil, "source sent no JSON: " .. why end
  return tostring(value.key)
end })
lcache.group("refused", { bytes = "1MB", getter = function() return assert(http.get("http://127.0.0.1:1/")).body end })
lcache.group("unassured", { bytes = "1MB", getter = function()
  local reply, err = http.get("http://127.0.0.1:1/")
  if not reply then return nil, err end
  return reply.body
end })
]]

describe("a getter", function()
  local node, driver, source

  setup(function()
    driver = drivers.start()
    source = lcache.source()
    node = lcache.start {
      script = SCRIPT, args = { "--lua-memory", "24MB" }, env = { LCACHE_SECRET_SOURCE = source.url },
    }
  end)
  teardown(lcache.finish)

  after_each(function()
    for _ = 1, 4 do
      driver:delete(node, "do", "ok")
      assert.equal("fine", driver:get(node, "do", "ok").value)
    end
  end)

  for key, expected in pairs {
    raise = { "INTERNAL", "^getter failed", "raised" },
    loop = { "INTERNAL", "CPU", "app%.lua:5" },
    pcall_loop = { "INTERNAL", "CPU" },
    allocate = { "INTERNAL", "memory" },
    number = { "INTERNAL", "", "number" },
    table = { "INTERNAL", "", "table" },
    boolean = { "INTERNAL", "", "boolean" },
    second = { "INTERNAL", "" },
    never = { "INTERNAL", "" },
    in_sort = { "INTERNAL", "", "C%-call boundary" },
    popen = { "INTERNAL", "" },
    global = { "NOT_FOUND", "" },
    deep = { "INTERNAL", "", "stack overflow" },
    huge_value = { "INTERNAL", "" },
    no_such_function = { "INTERNAL", "^getter failed" },
  } do
    it("that does `" .. key .. "` gets " .. expected[1] .. " and a line in the log", function()
      local answer = driver:get(node, "do", key, { timeout = 10 })
      assert.equal(expected[1], answer.code, answer.message)
      assert.matches(expected[2], answer.message)
      if expected[1] == "INTERNAL" then
        local line = node:wait_log("[^\n]*getter failed[^\n]*key=" .. key .. "[^\n]*")
        if expected[3] then assert.matches(expected[3], line) end
      end
    end)
  end

  it("that loops for ever is stopped within its CPU budget, and hits go on meanwhile", function()
    driver:get(node, "do", "ok")
    local loop = driver:begin_get(node, "do", "loop")
    for _ = 1, 10 do assert.equal("STORE", driver:get(node, "do", "ok").from) end
    assert.is_true(driver:finish(loop).ms < 1500 * lcache.slowness)
  end)

  it("never puts a value into the log whole", function()
    driver:get(node, "do", "log_value")
    node:wait_log("seen")
    for line in node:log():gmatch("[^\n]+") do assert.is_true(#line <= 8192) end
  end)

  it("cannot break the log's lines by its key", function()
    driver:get(node, "do", "new\nline\27")
    node:wait_log('key="new\\x0aline\\x1b"')
    assert.is_nil(node:log():find("new\nline", 1, true))
  end)

  describe("whose source", function()
    it("refuses connections is UNAVAILABLE with the address", function()
      local answer = driver:get(node, "unassured", "k")
      assert.equal("UNAVAILABLE", answer.code)
      assert.matches("127%.0%.0%.1:1: connection refused", answer.message)
    end)

    it("refuses connections and is trusted blindly is INTERNAL", function()
      assert.equal("INTERNAL", driver:get(node, "refused", "k").code)
    end)

    it("hangs gets DEADLINE_EXCEEDED at the group's timeout, and the request to the source ends", function()
      local answer = driver:get(node, "source", "hang")
      assert.equal("DEADLINE_EXCEEDED", answer.code)
      assert.is_true(answer.ms >= 900 and answer.ms < 3000 * lcache.slowness)
      lcache.wait("the source sees it end", function() return source:stats().in_flight == 0 end)
    end)

    it("drips gets DEADLINE_EXCEEDED", function()
      assert.equal("DEADLINE_EXCEEDED", driver:get(node, "source", "slow-drip/100/600").code)
    end)

    it("sends 500 is UNAVAILABLE with the getter's words", function()
      local answer = driver:get(node, "source", "status/500")
      assert.same({ "UNAVAILABLE", "source answered 500" }, { answer.code, answer.message })
    end)

    it("closes without an answer is UNAVAILABLE", function()
      assert.equal("UNAVAILABLE", driver:get(node, "source", "close").code)
    end)

    it("sends 1 GB is UNAVAILABLE and costs no memory", function()
      local before = node:resident()
      for _, path in ipairs { "huge/1000000000", "huge-chunked/1000000000", "gzip-bomb/100000000" } do
        local answer = driver:get(node, "source", path)
        assert.equal("UNAVAILABLE", answer.code, path)
      end
      if lcache.is_release then assert.is_true(node:resident() - before < 64 * 1024 * 1024) end
    end)

    it("sends broken JSON is UNAVAILABLE with the getter's words", function()
      local answer = driver:get(node, "json", "broken-json")
      assert.equal("UNAVAILABLE", answer.code)
      assert.matches("source sent no JSON: ", answer.message)
      assert.equal("k", driver:get(node, "json", "json/k").value)
    end)

    it("redirects is not followed unasked", function()
      assert.equal("source answered 302", driver:get(node, "source", "redirect").message)
    end)

    it("sends gzip is unpacked", function()
      assert.equal("value of k", driver:get(node, "source", "gzip/k").value)
    end)

    it("is away comes back without a restart", function()
      assert.equal("value of back", driver:get(node, "source", "value/back").value)
    end)
  end)
end)

describe("the log of a script", function()
  after_each(lcache.finish)

  it("has numbers and booleans as JSON's own", function()
    local node = lcache.start {
      script = [[
        local lcache = require "lcache"
        lcache.group("g", { getter = function(key)
          lcache.log.warn("slow", { ms = 12.5, rows = 3, hit = true, who = "7" })
          return key
        end })
      ]],
      args = { "--log-format", "json" },
    }
    assert.equal(0, node:ctl("get", "g", "k").status)
    local line = node:wait_log('({"time"[^\n]*"message":"slow"[^\n]*})')
    for _, field in ipairs { '"ms":12.5', '"rows":3', '"hit":true', '"who":"7"' } do
      assert.is_truthy(line:find(field, 1, true), line)
    end
  end)
end)

describe("a program that was copied elsewhere", function()
  local folder

  local function shell(command) assert(os.execute(command) == 0, command) end

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
  end)
  after_each(function() shell("rm -rf '" .. folder .. "'") end)

  -- Copies the program below the folder, and the getters, and checks a script of a folder of its own.
  local function check(bin, lua, module)
    shell(("mkdir -p '%s/%s' '%s/%s' '%s/mine'"):format(folder, bin, folder, lua, folder))
    shell(("cp '%s' '%s/%s/lcache'"):format(lcache.bin("lcache"), folder, bin))
    shell(("cp -r '%s/lua/getters' '%s/%s'"):format(lcache.root, folder, lua))
    local script = io.open(folder .. "/mine/app.lua", "w")
    script:write(('require "lcache".group("g", { getter = require "%s".new "v" })\n'):format(module))
    script:close()
    return lcache.run({ folder .. "/" .. bin .. "/lcache", "--check", "--script", folder .. "/mine/app.lua" }, 20)
  end

  it("finds the getters in the share folder beside it", function()
    local run = check("usr/bin", "usr/share/lcache/lua", "getters.static")
    assert.equal("", run.err)
    assert.equal(0, run.status)
  end)

  it("finds them in the clone whose build tree it is in", function()
    local run = check("clone/.build/release/bin", "clone/lua", "getters.static")
    assert.equal("", run.err)
    assert.equal(0, run.status)
  end)

  it("says where they are when a script asks for one that there is not", function()
    local run = check("clone/.build/release/bin", "clone/lua", "getters.statics")
    assert.equal(2, run.status)
    for _, text in ipairs {
      "app.lua:1: module 'getters.statics' not found:\n\tno getters/statics.lua or getters/statics/init.lua in ",
      "\n\tlcache's own getters are in " .. folder .. "/clone/lua/getters/\n",
    } do
      assert.is_truthy(run.err:find(text, 1, true), run.err)
    end
  end)
end)

describe("a getter of the tree", function()
  teardown(lcache.finish)

  it("http, file, static and scores answer", function()
    local driver, source = drivers.start(), lcache.source()
    local node = lcache.start {
      files = { ["note.txt"] = "from a file" },
      script = ([[
        local lcache = require "lcache"
        lcache.group("http", { getter = require "getters.http".new { url = "SOURCE/value/{key}" } })
        lcache.group("file", { getter = require "getters.file".new { root = "." } })
        lcache.group("static", { getter = require "getters.static".new { a = "one" } })
      ]]):gsub("SOURCE", source.url),
    }
    assert.equal("value of a b", driver:get(node, "http", "a b").value)
    assert.equal("from a file", driver:get(node, "file", "note.txt").value)
    assert.equal("one", driver:get(node, "static", "a").value)
    assert.equal("NOT_FOUND", driver:get(node, "static", "b").code)
  end)
end)
