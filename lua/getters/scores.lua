--- Player scores from an HTTP API that answers JSON: a small getter to copy and change.
-- The API's address comes from the environment: SCORES_URL.
-- @module getters.scores
local lcache = require "lcache"

local base = os.getenv("SCORES_URL") or "http://127.0.0.1:9000"

--- Loads one player, as the JSON text that the API sent.
-- @tparam string key the player's id
-- @treturn[1] string the player as JSON
-- @treturn[2] nil no such player
-- @treturn[3] nil
-- @treturn[3] string why the API could not answer
return function(key)
  local reply, err = lcache.http.get(base .. "/scores/" .. lcache.http.escape(key))
  if not reply then return nil, err end
  if reply.status == 404 then return nil end
  if reply.status < 200 or reply.status > 299 then return nil, "source answered " .. reply.status end

  local player, broken = lcache.json.decode(reply.body)
  if type(player) ~= "table" then return nil, "source sent no player: " .. (broken or "not an object") end
  return reply.body
end
