--- Sockets that misbehave: raw.py, one process for each use.
local json = require "lcache.testing.json"
local process = require "spec.e2e.support.process"

local M = {}

local Raw = {}
Raw.__index = Raw

local function address_of(node) return type(node) == "table" and node.address or node end

--- Starts a command of raw.py. Read what it says with `answer`.
function M.start(node, command, options)
  local argv = {
    "/usr/bin/env", "python3", process.root .. "/spec/e2e/support/raw.py", address_of(node), command,
    json.encode(options),
  }
  return setmetatable({ process = process.start { argv = argv, stdin = true } }, Raw)
end

--- The next line that it prints, decoded.
function Raw:answer(seconds)
  local line = process.wait("raw.py answers", function()
    local found, rest = self.process.out:match("^([^\n]*)\n(.*)$")
    if found then self.process.out = rest end
    if not found and self.process.status then error("raw.py ended: " .. self.process.err) end
    return found
  end, seconds or 30)
  return json.decode(line)
end

function Raw:order(order)
  self.process:write(json.encode(order) .. "\n")
  return self:answer()
end

--- More connections: { open = how many are open now, failed }.
function Raw:open(count) return self:order { open = count } end

--- Closes those of these numbers (the first is 1).
function Raw:close_some(numbers) return self:order { close = json.array(numbers) } end

--- Sends the HTTP/2 preface on each and waits up to ten seconds for an answer: { answered }.
function Raw:greet() return self:order { greet = true } end

--- Closes all.
function Raw:stop() self.process:kill() end

--- Holds that many connections open, sending nothing.
function M.hold(node, count)
  local self = M.start(node, "hold", { count = count })
  self.opened = self:answer(60)
  return self
end

--- Runs a command to its end.
function M.run(node, command, options, seconds)
  local self = M.start(node, command, options)
  local answer = self:answer(seconds)
  self.process:wait()
  return answer
end

return M
