--- A stand-in for `lcache.core`, the part of lcache that is C in the server; `lcache` itself is the real one on top.
-- Sources answer from cans and time is a number. `lcache.testing` is what specs call.
-- @module lcache.testing.core
local json = require "lcache.testing.json"

local M = {
  json = { encode = json.encode, decode = json.decode, array = json.array, array_mt = json.array_mt, null = json.null },
  log = {},
}

local DURATIONS = { [""] = 1, ms = 0.001, s = 1, m = 60, h = 3600 }
local SIZES = { [""] = 1, b = 1, kb = 1024, mb = 1024 ^ 2, gb = 1024 ^ 3 }
local LOG_FIELDS, HEADERS = 16, 100
local LINE_FIELDS = { time = true, level = true, event = true, message = true, cut = true }

-- What the runner is told when the fake waits, and what a plain Lua 5.1 raises instead of being abandoned.
local WAIT, TIMED_OUT = {}, {}

-- Plain Lua 5.1 cannot yield across pcall. There the fake does not yield, so it misses yields that the server refuses.
local can_yield = coroutine.wrap(function()
  return pcall(coroutine.yield, true)
end)()

-- All that a spec put in and all that was seen.
local state = {}

local function reset()
  state.now = 0 -- seconds
  state.load = nil -- { thread, deadline, complaint } of the getter that runs
  state.cans, state.groups, state.secrets = {}, {}, {}
  state.requests, state.records, state.sleeps = {}, {}, {}
  state.declared, state.settings, state.settings_at = {}, {}, {}
end

local function describe(value)
  if type(value) == "string" then return string.format("%q", value) end
  if type(value) == "number" or value == nil then return tostring(value) end
  return "a " .. type(value)
end

-- Raises at the caller of the function that called this.
local function misuse(...)
  local level = 3
  local caller = debug.getinfo(level, "S")
  -- Only plain Lua 5.1 counts a tail call as a level.
  if caller and caller.what == "tail" then level = level + 1 end
  error(string.format(...), level)
end

local OWN_FILES = { ["lcache/init.lua"] = true, ["lcache/testing/core.lua"] = true, ["lcache/testing.lua"] = true }

-- The line of the script that runs; of a getter that ended in a tail call, where the getter begins.
local function script_line()
  local level = 3
  local info = debug.getinfo(level, "Sl")
  while info and (info.currentline < 1 or OWN_FILES[info.source:match("lcache/.*$")]) do
    level = level + 1
    info = debug.getinfo(level, "Sl")
  end
  if info and coroutine.running() then return info.short_src .. ":" .. info.currentline end
  info = state.load and debug.getinfo(state.load.getter, "S")
  return info and info.short_src .. ":" .. info.linedefined or "?"
end

-- What the spec has no answer for is told even when the getter catches errors.
local function complain(...)
  local message = script_line() .. ": " .. string.format(...)
  if state.load then state.load.complaint = state.load.complaint or message end
  error(message, 0)
end

local function list_of(values)
  local names = {}
  for name in pairs(values) do names[#names + 1] = name end
  table.sort(names)
  return #names > 0 and table.concat(names, ", ") or "none"
end

-- Why the caller cannot wait here, in the server's words; nil when it can.
local function cannot_wait(call)
  if not state.load then return call .. " can be called only by a getter (in a spec: inside run)" end
  if coroutine.running() ~= state.load.thread then
    return call .. " was called in a coroutine that the script made; call it in the getter itself"
  end
  if can_yield and coroutine.isyieldable and not coroutine.isyieldable() then
    return call .. " has to wait, and can't inside a function that table.sort, string.gsub, require, load or another C "
      .. "function calls (attempt to yield across C-call boundary); call it before or after"
  end
end

local function wait(seconds)
  state.now = state.now + seconds
  if can_yield then
    coroutine.yield(WAIT)
  elseif state.now > state.load.deadline then
    error(TIMED_OUT, 0)
  end
end

-- Values --------------------------------------------------------------------------------------------------------------

local function with_unit(value, units)
  if type(value) == "number" then return value >= 0 and value < math.huge and value or nil end
  if type(value) ~= "string" then return nil end
  local digits, unit = value:match("^(%d*%.?%d*)(%a*)$")
  local factor, number = units[(unit or "-"):lower()], tonumber(digits)
  return factor and number and number * factor
end

--- Milliseconds of `0.25`, `"250ms"`, `"5m"`; nil for what is no duration.
function M.duration(value)
  local seconds = with_unit(value, DURATIONS)
  return seconds and math.ceil(seconds * 1000)
end

--- Bytes of `4096`, `"64MB"`; nil for what is no size.
function M.size(value)
  local bytes = with_unit(value, SIZES)
  return bytes and bytes % 1 == 0 and bytes or nil
end

--- The text with all bytes percent-encoded but those that RFC 3986 leaves unreserved; "." and ".." too.
function M.escape(text)
  if type(text) == "number" then text = tostring(text) end
  if type(text) ~= "string" then misuse("lcache.http.escape: the text must be a string, got %s", describe(text)) end
  if text == "." or text == ".." then return (text:gsub("%.", "%%2E")) end
  return (text:gsub("[^%w%-._~]", function(byte) return string.format("%%%02X", byte:byte()) end))
end

-- Declarations --------------------------------------------------------------------------------------------------------

--- Where the function runs that is so many levels above the caller: `"app.lua:7"`.
function M.where(level)
  local info = debug.getinfo(level + 1, "Sl")
  return info and info.short_src .. ":" .. info.currentline or "?"
end

function M.loading() return state.load == nil end

function M.declared(name)
  return state.declared[name] and state.declared[name].where
end

function M.group(name, getter, on_evict, bytes, ttl_ms, timeout_ms, policy, max_key, max_value, mirror_ttl_ms, where)
  state.declared[name] = {
    getter = getter, on_evict = on_evict, bytes = bytes, ttl_ms = ttl_ms, timeout_ms = timeout_ms, policy = policy,
    max_key = max_key, max_value = max_value, mirror_ttl_ms = mirror_ttl_ms, where = where,
  }
end

function M.setting(name, value, where)
  if state.settings[name] then return state.settings_at[name] end
  state.settings[name], state.settings_at[name] = value, where
end

-- Sources -------------------------------------------------------------------------------------------------------------

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

local function header_mistake(headers)
  local count = 0
  for name, value in pairs(headers or {}) do
    count = count + 1
    if type(name) ~= "string" or type(value) ~= "string" then
      return "lcache.http: headers must be strings, got a " .. (type(name) ~= "string" and type(name) or type(value))
    end
    if (name .. value):find("[%z\r\n]") then return "lcache.http: a header holds a line end or a NUL" end
  end
  if count > HEADERS then return "lcache.http: more than " .. HEADERS .. " headers" end
end

local function timed_out(url, ms)
  local host = url:match("^%a+://([^/?#]+)") or url
  return ms % 1000 == 0 and string.format("%s: timed out after %ds", host, ms / 1000)
    or string.format("%s: timed out after %dms", host, ms)
end

--- One HTTP request; durations in milliseconds.
function M.fetch(method, url, headers, body, timeout_ms, connect_timeout_ms, max_bytes, redirects)
  local reason = header_mistake(headers) or cannot_wait("lcache.http")
  if reason then misuse("%s", reason) end
  local request = {
    method = method, url = url, headers = headers or {}, body = body, timeout_ms = timeout_ms,
    connect_timeout_ms = connect_timeout_ms, max_bytes = max_bytes, redirects = redirects,
  }
  state.requests[#state.requests + 1] = request
  local answer, message = next_answer(request)
  if answer == nil then return nil, message end
  local delay, limit = answer.delay or 0, timeout_ms and timeout_ms / 1000 or math.huge
  wait(math.min(delay, limit))
  if delay > limit then return nil, timed_out(url, timeout_ms) end
  if answer.error then return nil, answer.error end
  return { status = answer.status or 200, headers = lower_names(answer.headers), body = answer.body or "" }
end

--- Asks another group, which a spec has canned.
function M.get(group, key)
  local reason = cannot_wait("lcache.get")
  if reason then misuse("%s", reason) end
  local values = state.groups[group]
  if not values then
    complain("lcache.get: there is no group %s; there are: %s", describe(group), list_of(state.groups))
  end
  wait(0)
  local value = values[key]
  if type(value) == "function" then return value(key) end
  return value
end

function M.sleep(duration)
  local ms = M.duration(duration)
  if not ms then
    misuse('lcache.sleep: the time must be seconds or a duration such as "250ms", got %s', describe(duration))
  end
  local reason = cannot_wait("lcache.sleep")
  if reason then misuse("%s", reason) end
  state.sleeps[#state.sleeps + 1] = ms / 1000
  wait(ms / 1000)
end

function M.secret(name)
  if type(name) ~= "string" or not name:find("^[%w_]+$") then
    misuse("lcache.secret: a name is made of letters, digits and '_', got %s", describe(name))
  end
  return state.secrets[name]
end

local function field_mistake(fields)
  local count = 0
  for name, value in pairs(fields) do
    count = count + 1
    if type(name) ~= "string" or not name:find("^[%w_.-]+$") then
      return "lcache.log: a field's name must be of letters, digits, '_', '.' and '-'"
    end
    if LINE_FIELDS[name] then
      return "lcache.log: a field can't be named " .. name .. ": the line has one of its own"
    end
    if type(value) ~= "string" and type(value) ~= "number" and type(value) ~= "boolean" then
      return "lcache.log: field " .. name .. " must be a string, a number or a boolean, got a " .. type(value)
    end
  end
  if count > LOG_FIELDS then return "lcache.log: more than " .. LOG_FIELDS .. " fields" end
end

for _, level in ipairs{ "debug", "info", "warn", "error" } do
  M.log[level] = function(message, fields)
    if type(message) ~= "string" then misuse("lcache.log: the message must be a string, got %s", describe(message)) end
    if fields ~= nil and type(fields) ~= "table" then
      misuse("lcache.log: the fields must be a table, got %s", describe(fields))
    end
    local mistake = field_mistake(fields or {})
    if mistake then misuse("%s", mistake) end
    state.records[#state.records + 1] = { level = level, message = message, fields = fields or {} }
  end
end

return {
  core = M,
  state = state,
  reset = reset,
  describe = describe,
  WAIT = WAIT,
  TIMED_OUT = TIMED_OUT,
}
