--- A getter for any HTTP source whose URL follows from the key.
--
--     local http = require "getters.http"
--     lcache.group("users", {
--       getter = http.new{ url = "http://users.internal/v1/{key}", timeout = 2, ttl = "5m" },
--     })
--
-- The value is the body of a 2xx answer. A status in `not_found` means that there is no such key. Any other status, a
-- source that cannot be reached and one that is too slow mean that the source failed.
-- @module getters.http
local lcache = require "lcache"

local M = {}

local FIELDS = { url = true, headers = true, timeout = true, ttl = true, not_found = true }

local function misuse(field, want, got)
  if type(got) == "string" then got = string.format("%q", got) end
  -- 4: misuse, check, new, then the line that called new.
  error(string.format("getters.http: %s must be %s, got %s", field, want, tostring(got)), 4)
end

local UNITS = { [""] = true, ms = true, s = true, m = true, h = true }

local function is_duration(value)
  if type(value) == "number" then return value > 0 and value < math.huge end
  local number, unit = tostring(value):match("^(%d+%.?%d*)(%a*)$")
  return number and tonumber(number) > 0 and UNITS[unit]
end

local function has_only_known_places(url)
  for place in url:gmatch("{(.-)}") do
    if place ~= "key" and place ~= "group" then return false end
  end
  return true
end

local function is_header_list(headers)
  if type(headers) ~= "table" then return false end
  for name, value in pairs(headers) do
    if type(name) ~= "string" or type(value) ~= "string" then return false end
  end
  return true
end

local function is_status_list(statuses)
  if type(statuses) ~= "table" then return false end
  for _, status in pairs(statuses) do
    if type(status) ~= "number" then return false end
  end
  return true
end

local function as_set(list)
  local set = {}
  for _, member in ipairs(list) do set[member] = true end
  return set
end

local function url_for(template, key, group)
  local values = { key = lcache.http.escape(key), group = lcache.http.escape(group) }
  return (template:gsub("{(%a+)}", values))
end

local function check(options)
  if type(options) ~= "table" then misuse("new's argument", 'a table like { url = "http://host/{key}" }', options) end
  for name in pairs(options) do
    if not FIELDS[name] then misuse("a field", "url, headers, timeout, ttl or not_found", tostring(name)) end
  end
  local url, headers, not_found = options.url, options.headers, options.not_found
  if type(url) ~= "string" or not url:find("^https?://") then misuse("url", 'a URL like "http://host/{key}"', url) end
  if not url:find("{key}", 1, true) then misuse("url", "a URL with {key} in it", url) end
  if not has_only_known_places(url) then misuse("url", "a URL with no other places than {key} and {group}", url) end
  if headers ~= nil and not is_header_list(headers) then
    misuse("headers", 'a table of strings like { accept = "text/plain" }', headers)
  end
  if not_found ~= nil and not is_status_list(not_found) then
    misuse("not_found", "a list of statuses like { 404, 410 }", not_found)
  end
  for _, name in ipairs{ "timeout", "ttl" } do
    if options[name] ~= nil and not is_duration(options[name]) then
      misuse(name, 'seconds or a duration like "250ms", "60s"', options[name])
    end
  end
end

--- Makes a getter.
-- @tparam table options
-- @tparam string options.url `{key}` and `{group}` in it are replaced, percent-encoded; needed
-- @tparam[opt] table options.headers sent with each request, `{ ["authorization"] = "Bearer …" }`
-- @tparam[opt] number|string options.timeout for one request: seconds or `"250ms"`; the load's deadline holds anyway
-- @tparam[opt] number|string options.ttl of the values; without one, the group's
-- @tparam[opt={404}] {number,...} options.not_found statuses that mean that the key does not exist
-- @treturn function the getter
function M.new(options)
  check(options)
  local url, ttl = options.url, options.ttl
  local request = { headers = options.headers, timeout = options.timeout }
  local is_not_found = as_set(options.not_found or { 404 })

  return function(key, ctx)
    local reply, err = lcache.http.get(url_for(url, key, ctx.group), request)
    if not reply then return nil, err end
    if is_not_found[reply.status] then return nil end
    if reply.status < 200 or reply.status > 299 then return nil, "source answered " .. reply.status end
    return reply.body, nil, ttl
  end
end

return M
