--- Runs a getter in a spec, with no server and no network: sources answer what you put in.
--
--     local t = require "lcache.testing"
--     local getter = require "getters.scores"
--
--     describe("the scores getter", function()
--       before_each(t.reset)
--
--       it("gives what the API says", function()
--         t.http{ ["GET http://127.0.0.1:9000/scores/7"] = { body = '{"score":12}' } }
--         local value, err, ttl = t.run(getter, "7", { group = "scores" })
--         assert.equal('{"score":12}', value)
--       end)
--     end)
--
-- Require it before the getters. Nothing waits: `lcache.sleep` and a source's `delay` move a clock of its own.
-- @module lcache.testing
local M = {}

-- The server has the real one there. 3: this file, require, then the script.
if package.preload["lcache.core"] then error("lcache.testing is for specs, this is a server's script", 3) end

local fake = require "lcache.testing.core"
local state, describe = fake.state, fake.describe

package.loaded["lcache.core"] = fake.core
package.loaded.lcache = nil
require "lcache"

local DEFAULT_TIMEOUT = 5

--- Forgets all cans, records, declarations and the time. Call it before each test.
function M.reset()
  fake.reset()
end

-- What a spec did wrong: the error names its line.
local function misuse(...)
  error(string.format(...), 3)
end

-- What the fake answers -----------------------------------------------------------------------------------------------

--- Says what sources answer. Can be called again to add more.
-- @tparam table cans by `"METHOD URL"`: an answer `{ status = 200, headers = {}, body = "" }` (what is left out is as
-- shown) that is given each time; or a list of answers, given one after the other; or a function that gets the request
-- (`method`, `url`, `headers`, `body`) and returns an answer. An answer `{ error = "connection refused" }` is a source
-- that cannot be reached; `delay = 0.2` in an answer is how many seconds it takes.
function M.http(cans)
  for name, can in pairs(cans) do
    if type(name) ~= "string" or not name:find("^%u+ %S+$") then
      misuse('t.http: a can is named "METHOD URL" such as "GET http://x/1", got %s', describe(name))
    end
    if type(can) ~= "table" and type(can) ~= "function" then
      misuse("t.http: the can %q must be an answer, a list of answers or a function, got %s", name, describe(can))
    end
    state.cans[name] = { answer = can, uses = 0, needed = type(can) == "table" and math.max(#can, 1) or 1 }
  end
end

--- Says what `lcache.get` of another group gives.
-- @tparam table groups by group and key: a string, or a function of the key that returns what a getter would
function M.groups(groups)
  for name, values in pairs(groups) do
    if type(values) ~= "table" then misuse("t.groups: %q must be a table of keys, got %s", name, describe(values)) end
    state.groups[name] = values
  end
end

--- Says what `lcache.secret` gives. A getter that reads secrets when it is loaded must be loaded after this.
-- @tparam table secrets by name
function M.secrets(secrets)
  for name, value in pairs(secrets) do
    if type(value) ~= "string" then misuse("t.secrets: %s must be a string, got %s", name, describe(value)) end
    state.secrets[name] = value
  end
end

-- What was seen -------------------------------------------------------------------------------------------------------

--- The requests so far, oldest first.
-- @treturn {table,...} each with method, url, headers, body, timeout_ms, connect_timeout_ms, max_bytes, redirects
function M.requests() return state.requests end

--- What was logged so far, oldest first.
-- @treturn {table,...} each with level, message and fields
function M.log() return state.records end

--- The seconds of each `lcache.sleep` so far.
-- @treturn {number,...}
function M.sleeps() return state.sleeps end

--- The fake's time, in seconds since the last reset.
-- @treturn number
function M.now() return state.now end

--- The groups that a script declared with `lcache.group`, by name.
-- @treturn table each with getter and what else was given, as numbers: bytes, ttl_ms, timeout_ms, max_key, max_value,
-- mirror_ttl_ms
function M.declared() return state.declared end

--- What a script passed to `lcache.configure`, as text: `{ workers = "2" }`.
-- @treturn table
function M.settings() return state.settings end

--- The cans that no request used, sorted.
-- @treturn {string,...}
function M.unused()
  local names = {}
  for name, can in pairs(state.cans) do
    if can.uses < can.needed then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

--- Raises when a can was not used: for an `after_each`.
function M.check()
  local names = M.unused()
  if #names > 0 then error("t.check: never requested: " .. table.concat(names, ", "), 2) end
end

-- The runner ----------------------------------------------------------------------------------------------------------

local function remaining() return math.max(0, state.load.deadline - state.now) end

local function new_context(group, key)
  local fields = { group = group, key = key, remaining = remaining }
  return setmetatable({}, {
    __index = fields,
    __newindex = function() error("ctx can't be written to", 2) end,
    __metatable = false,
  })
end

local function value_mistake(second, ttl)
  if second ~= nil then
    return "the getter returned a second result beside its value; a TTL is the third: return value, nil, ttl"
  end
  if ttl == nil or ttl == math.huge then return nil end
  if (fake.core.duration(ttl) or 0) > 0 then return nil end
  return "the getter's third result must be a TTL: seconds more than 0, or a duration such as \"60s\""
end

-- What the server would log as the getter's mistake, in its words.
local function mistake_of(value, second, ttl)
  if type(value) == "string" then return value_mistake(second, ttl) end
  if value ~= nil then return "the getter returned a " .. type(value) .. "; a value is a string" end
  if second ~= nil and type(second) ~= "string" then
    return "the getter returned nil and a " .. type(second) .. "; a message is a string"
  end
end

local function abandon(message)
  state.load = nil
  error(message, 0)
end

-- True and what the getter returned; false when its time was up.
local function finish(load, ok, ...)
  if not ok and (...) == fake.TIMED_OUT then return false end
  if load.complaint then abandon(load.complaint) end
  if not ok then abandon((...)) end
  if coroutine.status(load.thread) == "dead" then return true, ... end
  if (...) ~= fake.WAIT then
    abandon("the getter called coroutine.yield, and nobody will resume it; to wait, call lcache.sleep, lcache.http or "
      .. "lcache.get")
  end
  if state.now > load.deadline then return false end
  return finish(load, coroutine.resume(load.thread))
end

local function result(load, ended, value, second, ttl)
  state.load = nil
  if not ended then return nil, string.format("timed out after %g s", load.timeout) end
  local mistake = mistake_of(value, second, ttl)
  if mistake then error(mistake, 0) end
  if value == nil then return nil, second end
  return value, nil, ttl
end

--- Runs a getter for one key, as the server would.
-- Raises what the getter raises, and for what the server would refuse: a value that is no string, a request that no can
-- answers, a wait where Lua cannot wait.
-- @tparam function getter
-- @tparam string key
-- @tparam[opt] table options `group` (default `"test"`) and `timeout` of the load in seconds or as a duration (5)
-- @treturn ?string the value, or nil
-- @treturn ?string why the source failed
-- @treturn ?number|string the value's ttl, where the getter gave one
function M.run(getter, key, options)
  options = options or {}
  if type(getter) ~= "function" then misuse("t.run: the getter must be a function, got %s", describe(getter)) end
  if type(key) ~= "string" then misuse("t.run: the key must be a string, got %s", describe(key)) end
  local timeout_ms = fake.core.duration(options.timeout or DEFAULT_TIMEOUT)
  if not timeout_ms then misuse("t.run: timeout must be a duration, got %s", describe(options.timeout)) end

  local timeout = timeout_ms / 1000
  local load = { timeout = timeout, deadline = state.now + timeout, thread = coroutine.create(getter), getter = getter }
  local context = new_context(options.group or "test", key)
  state.load = load
  return result(load, finish(load, coroutine.resume(load.thread, key, context)))
end

M.reset()

return require "lcache.strict"(M, "lcache.testing")
