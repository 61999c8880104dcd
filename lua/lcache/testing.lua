--- Runs a getter in a spec, with no server and no network: `lcache` is a fake whose sources answer what you put in.
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
-- Require it before the getters. Nothing waits: `lcache.sleep` and a source's `delay` move a clock of the fake's own.
-- @module lcache.testing
local json = require "lcache.testing.json"

local M = {}

if package.loaded.lcache and not package.loaded.lcache.is_fake then
  error("lcache.testing: lcache is loaded already: require lcache.testing first, and never in a server's script", 2)
end

local DEFAULT_TIMEOUT = 5
local UNITS = { ms = 0.001, s = 1, m = 60, h = 3600 }

-- What the runner is told when the fake waits, and what a plain Lua 5.1 raises instead of being abandoned.
local WAIT, TIMED_OUT = {}, {}

-- Plain Lua 5.1 cannot yield across pcall. There the fake does not yield, so it misses yields that the server refuses.
local can_yield = coroutine.wrap(function()
  return pcall(coroutine.yield, true)
end)()

local state -- all that a spec put in and all that was seen; `reset` makes a new one

--- Forgets all cans, records and the time. Call it before each test.
function M.reset()
  state = {
    now = 0,
    cans = {},
    groups = {},
    secrets = {},
    requests = {},
    records = {},
    sleeps = {},
    declared = {},
    configuration = nil,
    load = nil,
  }
end

local function seconds(duration)
  if type(duration) == "number" and duration >= 0 and duration < math.huge then return duration end
  if type(duration) ~= "string" then return nil end
  local number, unit = duration:match("^(%d+%.?%d*)(%a+)$")
  return number and UNITS[unit] and tonumber(number) * UNITS[unit]
end

local function describe(value)
  if type(value) == "string" then return string.format("%q", value) end
  if type(value) == "number" or value == nil then return tostring(value) end
  return "a " .. type(value)
end

-- Misuse in a spec or a getter: the error names the line that called the public function.
local function misuse(...)
  error(string.format(...), 3)
end

-- What the getter did wrong is told even when the getter catches errors.
local function complain(...)
  local message = string.format(...)
  if state.load then state.load.complaint = state.load.complaint or message end
  error(message, 0)
end

local function need_load(name)
  if not state.load then
    error(name .. " waits, so it can be called only while a getter runs (in a spec: inside t.run)", 3)
  end
end

local function wait(duration)
  state.now = state.now + duration
  if can_yield then
    coroutine.yield(WAIT)
  elseif state.now > state.load.deadline then
    error(TIMED_OUT, 0)
  end
end

-- Cans --------------------------------------------------------------------------------------------------------------

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

-- Records -----------------------------------------------------------------------------------------------------------

--- The requests so far, oldest first.
-- @treturn {table,...} each with method, url, headers, body, timeout and what else the getter passed
function M.requests() return state.requests end

--- What was logged so far, oldest first.
-- @treturn {table,...} each with level and message
function M.log() return state.records end

--- The seconds of each `lcache.sleep` so far.
-- @treturn {number,...}
function M.sleeps() return state.sleeps end

--- The fake's time, in seconds since the last reset.
-- @treturn number
function M.now() return state.now end

--- The groups that a script declared with `lcache.group`: name to options.
-- @treturn table
function M.declared() return state.declared end

--- What a script passed to `lcache.configure`, or nil.
-- @treturn ?table
function M.configuration() return state.configuration end

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

-- The fake ----------------------------------------------------------------------------------------------------------

local function list_of(values)
  local names = {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names)
  return #names > 0 and table.concat(names, ", ") or "none"
end

local function next_answer(request)
  local name = request.method .. " " .. request.url
  local can = state.cans[name]
  if not can then complain("no canned answer for %s; there are: %s", name, list_of(state.cans)) end
  can.uses = can.uses + 1
  if type(can.answer) == "function" then return can.answer(request) end
  if #can.answer == 0 then return can.answer end
  return can.answer[can.uses] or complain("%s was requested %d times, but has %d answers", name, can.uses, #can.answer)
end

local function lower_names(headers)
  local lower = {}
  for name, value in pairs(headers or {}) do lower[name:lower()] = value end
  return lower
end

local function send(request)
  request.method = request.method or "GET"
  state.requests[#state.requests + 1] = request
  local answer, message = next_answer(request)
  if answer == nil then return nil, message end
  local delay, limit = answer.delay or 0, request.timeout and seconds(request.timeout)
  wait(limit and math.min(delay, limit) or delay)
  if limit and delay > limit then return nil, "timed out" end
  if answer.error then return nil, answer.error end
  return { status = answer.status or 200, headers = lower_names(answer.headers), body = answer.body or "" }
end

local http = {}

function http.get(url, options)
  if type(url) ~= "string" then misuse("lcache.http.get: url must be a string, got %s", describe(url)) end
  if options ~= nil and type(options) ~= "table" then
    misuse("lcache.http.get: options must be a table, got %s", describe(options))
  end
  need_load("lcache.http.get")
  local request = { url = url }
  for name, value in pairs(options or {}) do request[name] = value end
  return send(request)
end

function http.request(options)
  if type(options) ~= "table" or type(options.url) ~= "string" then
    misuse("lcache.http.request: needs a table with a url, got %s", describe(options))
  end
  need_load("lcache.http.request")
  local request = {}
  for name, value in pairs(options) do request[name] = value end
  return send(request)
end

function http.escape(text)
  if type(text) ~= "string" then misuse("lcache.http.escape: the text must be a string, got %s", describe(text)) end
  return (text:gsub("[^%w%-._~]", function(byte) return string.format("%%%02X", byte:byte()) end))
end

local function get(group, key)
  need_load("lcache.get")
  local values = state.groups[group]
  if not values then complain("no canned group %s; there are: %s", describe(group), list_of(state.groups)) end
  wait(0)
  local value = values[key]
  if type(value) == "function" then return value(key) end
  return value
end

local function sleep(duration)
  if type(duration) ~= "number" or duration < 0 then
    misuse("lcache.sleep: seconds must be a number from 0 on, got %s", describe(duration))
  end
  need_load("lcache.sleep")
  state.sleeps[#state.sleeps + 1] = duration
  wait(duration)
end

local function secret(name)
  if type(name) ~= "string" then misuse("lcache.secret: name must be a string, got %s", describe(name)) end
  return state.secrets[name]
end

local function group(name, options)
  if type(name) ~= "string" then misuse("lcache.group: name must be a string, got %s", describe(name)) end
  if type(options) ~= "table" or type(options.getter) ~= "function" then
    misuse("group %q: getter must be a function, got %s", name, describe(options and options.getter))
  end
  if state.declared[name] then misuse("group %q is declared twice", name) end
  state.declared[name] = options
end

local function configure(options)
  if type(options) ~= "table" then misuse("lcache.configure: needs a table, got %s", describe(options)) end
  state.configuration = options
end

local log = {}
for _, level in ipairs{ "debug", "info", "warn", "error" } do
  log[level] = function(message)
    state.records[#state.records + 1] = { level = level, message = tostring(message) }
  end
end

package.loaded.lcache = {
  is_fake = true,
  http = http,
  json = json,
  log = log,
  get = get,
  sleep = sleep,
  secret = secret,
  group = group,
  configure = configure,
}

-- The runner --------------------------------------------------------------------------------------------------------

local Context = {}
Context.__index = Context

function Context.remaining() return math.max(0, state.load.deadline - state.now) end

-- As the server does with what a getter returned: a wrong type is the getter's mistake.
local function checked(value, err, ttl)
  if value == nil and (err == nil or type(err) == "string") then return nil, err end
  if value == nil then error("the getter returned nil and " .. describe(err) .. "; a message must be a string", 0) end
  if type(value) ~= "string" then
    error("the getter returned " .. describe(value) .. "; a value must be a string", 0)
  end
  if err ~= nil then error("the getter returned a value and a message, " .. describe(err), 0) end
  if ttl ~= nil and not seconds(ttl) then
    error("the getter returned the ttl " .. describe(ttl) .. '; it must be seconds or a duration such as "60s"', 0)
  end
  return value, nil, ttl
end

local function abandon(message)
  state.load = nil
  error(message, 0)
end

-- True and what the getter returned; false when its time was up.
local function finish(load, thread, ok, ...)
  if not ok and (...) == TIMED_OUT then return false end
  if load.complaint then abandon(load.complaint) end
  if not ok then abandon((...)) end
  if coroutine.status(thread) == "dead" then return true, ... end
  if (...) ~= WAIT then abandon("the getter yielded by itself; only lcache's calls may do that") end
  if state.now > load.deadline then return false end
  return finish(load, thread, coroutine.resume(thread))
end

local function result(load, ended, ...)
  state.load = nil
  if not ended then return nil, string.format("timed out after %g s", load.timeout) end
  return checked(...)
end

--- Runs a getter for one key, as the server would.
-- @tparam function getter
-- @tparam string key
-- @tparam[opt] table options `group` (default `"test"`) and `timeout` of the load in seconds or as a duration (5)
-- @treturn ?string the value, or nil
-- @treturn ?string why the source failed
-- @treturn ?number|string the value's ttl, where the getter gave one
-- Raises what the getter raises, and for what the server would refuse: a value that is no string, a request that no can
-- answers, a wait where Lua cannot wait.
function M.run(getter, key, options)
  options = options or {}
  if type(getter) ~= "function" then misuse("t.run: the getter must be a function, got %s", describe(getter)) end
  if type(key) ~= "string" then misuse("t.run: the key must be a string, got %s", describe(key)) end
  local timeout = seconds(options.timeout or DEFAULT_TIMEOUT)
  if not timeout then misuse("t.run: timeout must be seconds or a duration, got %s", describe(options.timeout)) end

  local load = { timeout = timeout, deadline = state.now + timeout }
  local context = setmetatable({ group = options.group or "test", key = key }, Context)
  local thread = coroutine.create(getter)
  state.load = load
  return result(load, finish(load, thread, coroutine.resume(thread, key, context)))
end

M.reset()

return M
