local t = require "lcache.testing"
local lcache = require "lcache"

-- Plain Lua 5.1 cannot yield across pcall, so the fake cannot tell there what the server would refuse.
local can_yield = coroutine.wrap(function() return pcall(coroutine.yield, true) end)()

describe("lcache.testing", function()
  before_each(t.reset)

  local function fetch(url)
    return function()
      local reply, err = lcache.http.get(url)
      return reply and reply.body, err
    end
  end

  -- luassert's error_matches drops the file and line.
  local function message_of(misuse, ...)
    local _, message = pcall(misuse, ...)
    return message
  end

  it("names the nearest of what it and lcache have, at the script's line", function()
    local function message(misspelt)
      return message_of(function() return misspelt() end)
    end
    assert.matches('testing_spec.lua:%d+: lcache has no "gruop", did you mean "group"%?$',
      message(function() lcache.gruop("g", {}) end))
    assert.matches('lcache.http has no "request_", did you mean "request"%?$',
      message(function() lcache.http.request_{} end))
    assert.matches('lcache.testing has no "rnu", did you mean "run"%?$', message(function() t.rnu() end))
    assert.matches('lcache has no "zebra", there are configure, get, group, http, json, log, secret, sleep$',
      message(function() lcache.zebra() end))
  end)

  describe("run", function()
    it("gives the getter the key and a context", function()
      local key, group, context_key
      t.run(function(k, ctx) key, group, context_key = k, ctx.group, ctx.key end, "7", { group = "scores" })
      assert.same({ "7", "scores", "7" }, { key, group, context_key })
    end)

    it("refuses to write to the context", function()
      local function getter(_, ctx) ctx.key = "8" end
      assert.error_matches(function() t.run(getter, "k") end, "ctx can't be written to")
    end)

    it("gives what the getter returned", function()
      assert.same({ "v", nil, "60s" }, { t.run(function() return "v", nil, "60s" end, "k") })
      assert.same({ nil, "down" }, { t.run(function() return nil, "down" end, "k") })
      assert.same({}, { t.run(function() end, "k") })
    end)

    it("raises what the getter raised", function()
      assert.has_error(function() t.run(function() error("oops", 0) end, "k") end, "oops")
    end)

    it("raises for what the server would not take from a getter", function()
      local cases = {
        { "returned a number; a value is a string", 7 },
        { "returned a table; a value is a string", {} },
        { "returned nil and a table; a message is a string", nil, {} },
        { "a second result beside its value", "v", "down" },
        { "third result must be a TTL", "v", nil, "soon" },
        { "third result must be a TTL", "v", nil, 0 },
        { "third result must be a TTL", "v", nil, -1 },
      }
      for _, case in ipairs(cases) do
        local ok, message = pcall(t.run, function() return case[2], case[3], case[4] end, "k")
        assert.is_false(ok)
        assert.matches(case[1], message)
      end
    end)

    it("refuses a getter that yields by itself", function()
      local function getter() coroutine.yield(1) end
      assert.error_matches(function() t.run(getter, "k") end, "called coroutine.yield, and nobody will resume it")
    end)

    it("refuses a wait where Lua cannot wait", function()
      if not can_yield or not coroutine.isyieldable then return end
      local function getter()
        return (("x"):gsub("x", function() return lcache.http.get("http://x/1").body end))
      end
      t.http{ ["GET http://x/1"] = { body = "v" } }
      assert.error_matches(function() t.run(getter, "k") end, "attempt to yield across.*call it before or after")
    end)

    it("refuses a wait in a coroutine of the getter's own", function()
      local function getter()
        local fetch_it = coroutine.wrap(function() return lcache.http.get("http://x/1").body end)
        return fetch_it()
      end
      assert.error_matches(function() t.run(getter, "k") end, "in a coroutine that the script made")
    end)

    it("takes a TTL of math.huge, which means that the value never expires", function()
      assert.same({ "v", nil, math.huge }, { t.run(function() return "v", nil, math.huge end, "k") })
    end)

    it("lets the getter catch errors around a wait", function()
      t.http{ ["GET http://x/1"] = { body = "v" } }
      local value = t.run(function()
        local _, reply = pcall(lcache.http.get, "http://x/1")
        return reply.body
      end, "k")
      assert.equal("v", value)
    end)

    it("is as good as new after an error", function()
      pcall(t.run, error, "k")
      assert.error_matches(function() lcache.sleep(1) end, "can be called only by a getter")
      assert.equal("v", (t.run(function() return "v" end, "k")))
    end)

    it("blames misuse on the line that calls it", function()
      local cases = {
        { "the getter must be a function, got \"getter\"", "getter", "k" },
        { "the key must be a string, got 7", print, 7 },
        { "timeout must be .*, got \"soon\"", print, "k", { timeout = "soon" } },
      }
      for _, case in ipairs(cases) do
        local message = message_of(function() t.run(case[2], case[3], case[4]) end)
        assert.matches("testing_spec.lua:%d+: t.run: " .. case[1], message)
      end
    end)
  end)

  describe("http", function()
    it("answers with status 200, no headers and an empty body unless told otherwise", function()
      t.http{ ["GET http://x/1"] = {} }
      local reply
      t.run(function() reply = lcache.http.get("http://x/1") end, "k")
      assert.same({ status = 200, headers = {}, body = "" }, reply)
    end)

    it("gives headers by their names in lower case", function()
      t.http{ ["GET http://x/1"] = { headers = { ["Content-Type"] = "text/plain" } } }
      local reply
      t.run(function() reply = lcache.http.get("http://x/1") end, "k")
      assert.equal("text/plain", reply.headers["content-type"])
    end)

    it("gives a table's answer every time, and a list's one after the other", function()
      t.http{ ["GET http://x/1"] = { body = "a" }, ["GET http://x/2"] = { { body = "b" }, { error = "reset" } } }
      assert.same({ "a" }, { t.run(fetch("http://x/1"), "k") })
      assert.same({ "a" }, { t.run(fetch("http://x/1"), "k") })
      assert.same({ "b" }, { t.run(fetch("http://x/2"), "k") })
      assert.same({ nil, "reset" }, { t.run(fetch("http://x/2"), "k") })
      assert.error_matches(function() t.run(fetch("http://x/2"), "k") end, "requested 3 times, but has 2 answers")
    end)

    it("asks a function, which sees the request", function()
      t.http{
        ["POST http://x/find"] = function(request)
          return { body = request.body .. request.headers.accept }
        end,
      }
      local value = t.run(function()
        local request = { method = "POST", url = "http://x/find", body = "q", headers = { accept = "json" } }
        return lcache.http.request(request).body
      end, "k")
      assert.equal("qjson", value)
    end)

    it("refuses options as the server does, at the getter's line", function()
      local function message(...)
        local arguments = { ... }
        return message_of(t.run, function() lcache.http.get(arguments[1], arguments[2]) end, "k")
      end
      assert.matches("testing_spec.lua:%d+: lcache.http.get: the URL must be a string, got 7", message(7))
      assert.matches('testing_spec.lua:%d+: lcache.http.get: timeout must be a duration, got "soon"',
        message("http://x/1", { timeout = "soon" }))
      assert.matches('testing_spec.lua:%d+: lcache.http.get: unknown option "header"',
        message("http://x/1", { header = {} }))
      assert.matches("testing_spec.lua:%d+: lcache.http: a header holds a line end or a NUL",
        message("http://x/1", { headers = { a = "b\r\nc: d" } }))
      assert.matches("lcache.http: headers must be strings, got a number",
        message("http://x/1", { headers = { a = 1 } }))
    end)

    it("raises for a request without a can, and says which there are", function()
      t.http{ ["GET http://x/1"] = {} }
      assert.error_matches(function() t.run(fetch("http://x/2"), "k") end,
        "no canned answer for GET http://x/2; there are: GET http://x/1")
    end)

    it("blames a request without a can on the getter's line", function()
      local line = debug.getinfo(1, "l").currentline
      local function getter()
        local reply = lcache.http.get("http://x/2")
        return reply.body
      end
      local function tail() return lcache.http.get("http://x/2") end
      local function message(...) return select(2, pcall(t.run, ...)) end
      assert.matches("testing_spec.lua:" .. line + 2 .. ": no canned answer", message(getter, "k"))
      if can_yield then -- plain Lua 5.1 counts tail calls as levels
        assert.matches("testing_spec.lua:" .. line + 5 .. ": no canned answer", message(tail, "k"))
      end
      assert.matches("testing_spec.lua:" .. line + 12 .. ": lcache.get: there is no group",
        message(function() return (lcache.get("none", "k")) end, "k"))
    end)

    it("raises for a request without a can even when the getter catches errors", function()
      local function getter()
        pcall(lcache.http.get, "http://x/2")
        return "v"
      end
      assert.error_matches(function() t.run(getter, "k") end, "no canned answer for GET http://x/2")
    end)

    it("records requests", function()
      t.http{ ["GET http://x/1"] = {} }
      t.run(function() lcache.http.get("http://x/1", { headers = { a = "b" }, timeout = 2 }) end, "k")
      assert.same({ { method = "GET", url = "http://x/1", headers = { a = "b" }, timeout_ms = 2000 } }, t.requests())
    end)

    it("refuses cans that cannot be meant", function()
      assert.error_matches(function() t.http{ ["http://x/1"] = {} } end, 'a can is named "METHOD URL"')
      assert.error_matches(function() t.http{ ["GET http://x/1"] = "body" } end, "must be an answer, a list")
    end)

    it("escapes all but what RFC 3986 leaves unreserved", function()
      assert.equal("aZ09-._~%2F%20%00%FF", lcache.http.escape("aZ09-._~/ \0\255"))
    end)

    it("cannot be used outside a getter, as in the server", function()
      local message = message_of(function() lcache.http.get("http://x/1") end)
      assert.matches("testing_spec.lua:%d+: lcache.http can be called only by a getter", message)
    end)
  end)

  describe("check", function()
    it("passes when every can was used", function()
      t.http{ ["GET http://x/1"] = {} }
      t.run(fetch("http://x/1"), "k")
      t.check()
      assert.same({}, t.unused())
    end)

    it("raises for cans that were not, also for a list's last answer", function()
      t.http{ ["GET http://x/1"] = {}, ["GET http://x/2"] = { {}, {} } }
      t.run(fetch("http://x/2"), "k")
      assert.same({ "GET http://x/1", "GET http://x/2" }, t.unused())
      assert.error_matches(t.check, "never requested: GET http://x/1, GET http://x/2")
    end)
  end)

  describe("time", function()
    it("is the fake's own: sleep records and moves it", function()
      local before, after
      t.run(function(_, ctx)
        before = ctx:remaining()
        lcache.sleep(1.5)
        after = ctx:remaining()
      end, "k", { timeout = 4 })
      assert.same({ 4, 2.5 }, { before, after })
      assert.same({ 1.5 }, t.sleeps())
      assert.equal(1.5, t.now())
    end)

    it("ends a load whose time is up, and the getter runs no further", function()
      local ran_on = false
      local value, err = t.run(function()
        lcache.sleep(6)
        ran_on = true
        return "late"
      end, "k")
      assert.is_nil(value)
      assert.equal("timed out after 5 s", err)
      assert.is_false(ran_on)
    end)

    it("ends a load even when the getter catches errors", function()
      local value, err = t.run(function()
        pcall(lcache.sleep, 6)
        lcache.sleep(1)
        return "late"
      end, "k")
      assert.is_nil(value)
      assert.equal("timed out after 5 s", err)
    end)

    it("passes while a slow source answers", function()
      t.http{ ["GET http://x/1"] = { body = "v", delay = 2 } }
      assert.same({ "v" }, { t.run(fetch("http://x/1"), "k") })
      assert.equal(2, t.now())
    end)

    it("ends a request at its own timeout", function()
      t.http{ ["GET http://x/1"] = { body = "v", delay = 2 } }
      local reply, err
      t.run(function() reply, err = lcache.http.get("http://x/1", { timeout = "500ms" }) end, "k")
      assert.is_nil(reply)
      assert.equal("x: timed out after 500ms", err)
      assert.equal(0.5, t.now())
    end)
  end)

  describe("the rest of lcache", function()
    it("gets from canned groups", function()
      t.groups{ teams = { ["1"] = "Foxes", ["2"] = function(key) return nil, "down " .. key end } }
      local function getter(key) return lcache.get("teams", key) end
      assert.same({ "Foxes" }, { t.run(getter, "1") })
      assert.same({ nil, "down 2" }, { t.run(getter, "2") })
      assert.same({}, { t.run(getter, "3") })
      assert.error_matches(function() t.run(function() return lcache.get("players", "1") end, "k") end,
        'there is no group "players"; there are: teams')
    end)

    it("gives canned secrets, and nil for others", function()
      t.secrets{ TOKEN = "abc" }
      assert.equal("abc", lcache.secret("TOKEN"))
      assert.is_nil(lcache.secret("OTHER"))
      assert.error_matches(function() lcache.secret("../x") end, "made of letters, digits and '_'")
    end)

    it("records logs", function()
      lcache.log.warn("slow", { seconds = 2 })
      lcache.log.info("fine")
      local expected = {
        { level = "warn", message = "slow", fields = { seconds = 2 } },
        { level = "info", message = "fine", fields = {} },
      }
      assert.same(expected, t.log())
    end)

    it("refuses logs that the server refuses", function()
      local function message(...) return message_of(lcache.log.info, ...) end
      assert.matches("must be a string, got nil", message())
      assert.matches("fields must be a table, got 7", message("m", 7))
      assert.matches("a field's name must be of letters", message("m", { ["a b"] = 1 }))
      assert.matches("field a must be a string, a number or a boolean, got a table", message("m", { a = {} }))
      local many = {}
      for i = 1, 17 do many["f" .. i] = i end
      assert.matches("more than 16 fields", message("m", many))
    end)

    it("refuses the names that a line of the log has anyway, as the server does", function()
      for _, name in ipairs{ "time", "level", "event", "message", "cut" } do
        assert.matches("a field can't be named " .. name, message_of(lcache.log.info, "m", { [name] = 1 }))
      end
    end)

    it("records what a script declares", function()
      lcache.group("scores", { getter = print, ttl = "60s", bytes = "64MB", timeout = 0.5, mirror_ttl = 0 })
      lcache.configure{ workers = 2 }
      local group = t.declared().scores
      assert.equal(print, group.getter)
      assert.same({ 60000, 64 * 1024 * 1024, 500, 0 },
        { group.ttl_ms, group.bytes, group.timeout_ms, group.mirror_ttl_ms })
      assert.matches("testing_spec.lua:%d+$", group.where)
      assert.same({ workers = "2" }, t.settings())
    end)

    it("refuses declarations as the server does, at the script's line", function()
      local function message(options) return message_of(function() lcache.group("scores", options) end) end
      assert.matches('testing_spec.lua:%d+: group "scores": ttl must be a duration, got "soon"',
        message{ getter = print, ttl = "soon" })
      assert.matches('testing_spec.lua:%d+: group "scores": unknown option "tll"', message{ getter = print, tll = 1 })
      lcache.group("scores", { getter = print })
      assert.matches("declared twice, first at .*testing_spec.lua:%d+$", message{ getter = print })
    end)

    it("forgets everything on reset", function()
      t.http{ ["GET http://x/1"] = {} }
      t.secrets{ TOKEN = "abc" }
      lcache.log.info("fine")
      t.reset()
      assert.same({ {}, {}, {}, 0 }, { t.unused(), t.log(), t.requests(), t.now() })
      assert.is_nil(lcache.secret("TOKEN"))
    end)
  end)
end)
