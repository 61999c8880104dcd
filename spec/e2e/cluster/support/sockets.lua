--- Free ports that stay free: below the range that outgoing connections take theirs from.
local socket = require "socket"

local M = {}

local FIRST, LAST = 20000, 31999
local given = {}

math.randomseed(math.floor(socket.gettime() * 1000) % 2 ^ 31)

local function is_free(port)
  local probe = socket.bind("0.0.0.0", port)
  if probe then probe:close() end
  return probe ~= nil
end

--- A port that nobody listens on, and that this process has not given before.
function M.free_port()
  for _ = 1, 1000 do
    local port = math.random(FIRST, LAST)
    if not given[port] and is_free(port) then
      given[port] = true
      return port
    end
  end
  error("no free port")
end

return M
