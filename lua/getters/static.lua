--- A getter with no source behind it: a table, a constant or a function. For tests, feature flags and first steps.
--
--     local static = require "getters.static"
--     lcache.group("flags", { getter = static.new{ dark_mode = "on", beta = "off" } })
--     lcache.group("motd", { getter = static.new("hello") })
--     lcache.group("echo", { getter = static.new(function(key) return key end) })
-- @module getters.static
local M = {}

local function misuse(field, want, got)
  -- 3: the line that called new, not this file.
  error(string.format("getters.static: %s must be %s, got a %s", field, want, type(got)), 3)
end

--- Makes a getter.
-- @tparam table|string|function source a table of keys and values (copied; a key it lacks is not found), one value for
-- every key, or a function, which is called as any getter is
-- @treturn function the getter
function M.new(source)
  if type(source) == "function" then return source end
  if type(source) == "string" then
    return function() return source end
  end
  if type(source) ~= "table" then misuse("new's argument", "a table, a string or a function", source) end

  local values = {}
  for key, value in pairs(source) do
    if type(key) ~= "string" then misuse("each key", 'a string such as ["7"]', key) end
    if type(value) ~= "string" then misuse(string.format("the value of %q", key), "a string; use tostring", value) end
    values[key] = value
  end
  return function(key) return values[key] end
end

return M
