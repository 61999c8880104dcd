--- What a script calls: groups, settings, HTTP, JSON, sleep, log, secrets. lua/README.md is the reference.
-- The functions that check much and run rarely are here; the rest comes from C as it is.
-- @module lcache
local core = require "lcache.core"
local strict = require "lcache.strict"

local M = {
  get = core.get,
  json = core.json,
  log = core.log,
  secret = core.secret,
  sleep = core.sleep,
}

local GROUP_OPTIONS = "getter, bytes, ttl, timeout, policy, max_key, max_value, mirror_ttl, on_evict"
local NAME_MAX = 255
local KEY_MAX = 65535
local A_SIZE = 'a size (like "64MB")'

-- A value as a message shows it.
local function show(value)
  local kind = type(value)
  if kind == "string" then
    local text = #value > 64 and value:sub(1, 64) .. "..." or value
    return '"' .. text:gsub("[%c\"\\]", function(c) return ("\\x%02x"):format(c:byte()) end) .. '"'
  end
  if kind == "number" or kind == "boolean" or kind == "nil" then return tostring(value) end
  return "a " .. kind
end

local function must_be(what, wanted, value)
  return ("%s must be %s, got %s"):format(what, wanted, show(value))
end

-- Each check returns what C takes, or nil and a message.
local checks = {}

function checks.getter(value)
  if value == nil then return nil, "getter is missing, add getter = function(key, ctx) ... end" end
  if type(value) == "function" then return value end
  local is_module = type(value) == "table" and type(rawget(value, "new")) == "function"
  return nil, must_be("getter", "a function", value) .. (is_module and " (a module's .new{...} makes one)" or "")
end

function checks.on_evict(value)
  if value ~= nil and type(value) ~= "function" then return nil, must_be("on_evict", "a function", value) end
  return value
end

local function is_negative(value) return type(value) == "number" and value < 0 end

local function duration(what, value)
  if value == nil then return nil end
  local ms = core.duration(value)
  if ms == 0 or is_negative(value) then return nil, must_be(what, "more than 0", value) end
  if not ms then return nil, must_be(what, "a duration", value) end
  return ms
end

function checks.ttl(value) return duration("ttl", value) end

function checks.timeout(value) return duration("timeout", value) end

-- 0 is a value: no mirrors.
function checks.mirror_ttl(value)
  if value == nil then return nil end
  local ms = not is_negative(value) and core.duration(value)
  if not ms then return nil, must_be("mirror_ttl", "a duration, or 0 for no mirrors", value) end
  return ms
end

local function size(what, value)
  if value == nil then return nil end
  local bytes = core.size(value)
  if bytes == 0 or is_negative(value) then return nil, must_be(what, "more than 0", value) end
  if not bytes then return nil, must_be(what, A_SIZE, value) end
  return bytes
end

function checks.bytes(value) return size("bytes", value) end

function checks.max_value(value) return size("max_value", value) end

function checks.max_key(value)
  local bytes, message = size("max_key", value)
  if bytes and bytes > KEY_MAX then return nil, must_be("max_key", "at most " .. KEY_MAX, value) end
  return bytes, message
end

function checks.policy(value)
  if value ~= nil and value ~= "lru2" and value ~= "lru" then
    return nil, must_be("policy", '"lru2" or "lru"', value)
  end
  return value
end

local ORDER = { "getter", "on_evict", "bytes", "ttl", "timeout", "policy", "max_key", "max_value", "mirror_ttl" }

local function check_name(name)
  if name == M then return must_be("the group's name", "a string", name) .. " (call lcache.group with a dot)" end
  if type(name) ~= "string" then return must_be("the group's name", "a string", name) end
  if name == "" then return "the group's name must not be empty" end
  if #name > NAME_MAX then return "the group's name must be at most " .. NAME_MAX .. " bytes" end
  if name:find("%z") then return "the group's name must not contain a NUL" end
end

local function check_options(options)
  if type(options) ~= "table" then
    return nil, must_be("the second argument", "a table of options such as { getter = ... }", options)
  end
  for option in pairs(options) do
    if type(option) ~= "string" or not checks[option] then
      return nil, ("unknown option %s, there are %s"):format(show(option), GROUP_OPTIONS)
    end
  end
  local values = {}
  for i, option in ipairs(ORDER) do
    local value, message = checks[option](options[option])
    if message then return nil, message end
    values[i] = value
  end
  return values
end

--- Declares a group. Only while the script loads.
-- @tparam string name
-- @tparam table options
-- @tparam function options.getter `getter(key, ctx)`: returns a value (a string); or value, nil, ttl; or nil: there is
-- no such key; or nil, message: the source failed
-- @tparam[opt] string|number options.bytes the group's cap, `"64MB"`; without one, groups share what is left
-- @tparam[opt] string|number options.ttl how long values live, `"60s"`; without one, until they are evicted
-- @tparam[opt="5s"] string|number options.timeout of one load
-- @tparam[opt="lru2"] string options.policy `"lru2"` or `"lru"`
-- @tparam[opt="4KB"] string|number options.max_key
-- @tparam[opt] string|number options.max_value
-- @tparam[opt="5s"] string|number options.mirror_ttl how long a copy of another node's key may live here; 0: never kept
-- @tparam[opt] function options.on_evict `on_evict(key, reason)`, later, when an item has left
function M.group(name, options)
  if not core.loading() then error("lcache.group can be called only while the script loads", 2) end
  local message = check_name(name)
  if message then error("lcache.group: " .. message, 2) end
  local values
  values, message = check_options(options)
  if message then error(("group %s: %s"):format(show(name), message), 2) end
  local before = core.declared(name)
  if before then error(("group %s is declared twice, first at %s"):format(show(name), before), 2) end
  core.group(name, values[1], values[2], values[3], values[4], values[5], values[6], values[7], values[8],
    values[9], core.where(2))
end

local function setting_text(value)
  local kind = type(value)
  if kind == "string" or kind == "boolean" then return tostring(value) end
  if kind == "number" then return ("%.14g"):format(value) end
  if kind ~= "table" then return nil end
  for _, element in ipairs(value) do
    if type(element) ~= "string" then return nil end
  end
  return table.concat(value, ",")
end

--- Sets what the command line and the environment leave open: `lcache.configure{ memory = "1GB", workers = 2 }`.
-- @tparam table settings names as on the command line, with `_` for `-`
function M.configure(settings)
  if not core.loading() then error("lcache.configure can be called only while the script loads", 2) end
  if type(settings) ~= "table" then
    error(must_be("lcache.configure: the argument", 'a table such as { memory = "1GB" }', settings), 2)
  end
  for name, value in pairs(settings) do
    if type(name) ~= "string" then error(must_be("lcache.configure: each name", "a string", name), 2) end
    local text = setting_text(value)
    if not text or text:find("%z") or name:find("%z") then
      error(must_be("lcache.configure: " .. name, "a string, a number, true, false or a list of strings", value), 2)
    end
    local before = core.setting(name, text, core.where(2))
    if before then error(("lcache.configure: %s is set twice, first at %s"):format(name, before), 2) end
  end
end

-- Options of a request: name to what it must be.
local GET_OPTIONS = {
  headers = "table", timeout = true, connect_timeout = true, max_bytes = true, redirects = "number",
}
local REQUEST_OPTIONS = { method = "string", url = "string", body = "string" }
for name, kind in pairs(GET_OPTIONS) do REQUEST_OPTIONS[name] = kind end
local GET_NAMES = "headers, timeout, connect_timeout, max_bytes, redirects"
local REQUEST_NAMES = "url, method, body, " .. GET_NAMES

local LIMITS = {
  { "timeout", core.duration, "a duration" },
  { "connect_timeout", core.duration, "a duration" },
  { "max_bytes", core.size, A_SIZE },
}

-- Raises at the line of the script that called the function which called this.
local function check_request(call, options, known)
  if type(options) ~= "table" then error(must_be(call .. ": the options", "a table", options), 3) end
  for name, value in pairs(options) do
    local kind = known[name]
    if not kind then
      local names = known == GET_OPTIONS and GET_NAMES or REQUEST_NAMES
      error(("%s: unknown option %s, there are %s"):format(call, show(name), names), 3)
    end
    if kind ~= true and type(value) ~= kind then error(must_be(call .. ": " .. name, "a " .. kind, value), 3) end
  end
  local limits = {}
  for i, limit in ipairs(LIMITS) do
    local name, parse, kind = limit[1], limit[2], limit[3]
    local value = options[name]
    limits[i] = value ~= nil and parse(value) or nil
    if value ~= nil and not limits[i] then error(must_be(call .. ": " .. name, kind, value), 3) end
  end
  return limits[1], limits[2], limits[3]
end

local NO_OPTIONS = {}

M.http = { escape = core.escape }

--- Asks an HTTP source. Waits; only in a getter.
-- @tparam string url
-- @tparam[opt] table options headers, timeout, connect_timeout, max_bytes, redirects
-- @treturn[1] table `{ status = 200, headers = { ["content-type"] = ... }, body = "..." }`, whatever the status
-- @treturn[2] nil
-- @treturn[2] string why there is no answer
function M.http.get(url, options)
  if type(url) ~= "string" then error(must_be("lcache.http.get: the URL", "a string", url), 2) end
  options = options == nil and NO_OPTIONS or options
  local timeout, connect, max_bytes = check_request("lcache.http.get", options, GET_OPTIONS)
  -- A tail call, so that what C raises names the script's line.
  return core.fetch("GET", url, options.headers, nil, timeout, connect, max_bytes, options.redirects)
end

--- Asks an HTTP source by any method. Waits; only in a getter.
-- @tparam table options as for get, and url, method (`"GET"`, or `"POST"` with a body), body
-- @return as get
function M.http.request(options)
  local timeout, connect, max_bytes = check_request("lcache.http.request", options, REQUEST_OPTIONS)
  if not options.url then error("lcache.http.request: url is missing", 2) end
  local method = options.method or (options.body and "POST" or "GET")
  return core.fetch(method, options.url, options.headers, options.body, timeout, connect, max_bytes, options.redirects)
end

strict(M.http, "lcache.http")
strict(M.json, "lcache.json")
strict(M.log, "lcache.log")

return strict(M, "lcache")
