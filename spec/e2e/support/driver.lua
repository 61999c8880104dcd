--- A gRPC client for the specs, and a source of odd bytes: driver.py in a process of its own, spoken to in JSON lines.
local json = require "lcache.testing.json"
local mime = require "mime"
local process = require "spec.e2e.support.process"

local M = {}

local Driver = {}
Driver.__index = Driver

local function must(run, what)
  if run.status ~= 0 then error(what .. " failed:\n" .. run.out .. run.err, 0) end
end

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local text = file:read("*a")
  file:close()
  return text
end

-- A virtual environment below .build/, made anew when the pinned versions change.
local function python()
  local folder = process.root .. "/.build/e2e/venv"
  local wanted = process.root .. "/spec/e2e/support/requirements.txt"
  if read_file(folder .. "/requirements.txt") ~= read_file(wanted) then
    must(process.run({ argv = { "python3", "-m", "venv", "--clear", folder } }, 60), "python3 -m venv")
    local pip = { folder .. "/bin/pip", "install", "--quiet", "--disable-pip-version-check", "-r", wanted }
    must(process.run({ argv = pip }, 300), "pip install")
    must(process.run { argv = { "cp", wanted, folder .. "/requirements.txt" } }, "cp")
  end
  return folder .. "/bin/python3"
end

--- The interpreter with requirements.txt installed.
M.python = python

--- Starts one. Every method of it takes a node (anything with an `address`) or an address. program: another one that
-- is spoken to in the same way, by its path in the tree; it has `begin`, `finish` and `stop` of the methods.
function M.start(program)
  local self = setmetatable({ next_id = 1, answers = {} }, Driver)
  local path = process.root .. "/" .. (program or "spec/e2e/support/driver.py")
  self.process = process.start {
    argv = { python(), path, process.root .. "/proto" }, stdin = true,
  }
  process.wait("the driver is ready", function()
    if self.process.status then error("the driver ended: " .. self.process.err) end
    return self.process.out:find("ready\n", 1, true)
  end, 30)
  self.process.out = ""
  return self
end

function Driver:stop() self.process:kill() end

--- Begins an operation; give the result to `finish`.
function Driver:begin(operation)
  operation.id = self.next_id
  self.next_id = self.next_id + 1
  self.process:write(json.encode(operation) .. "\n")
  return operation.id
end

function Driver:take_lines()
  local text = self.process.out
  if not text:find("\n", 1, true) then return end
  local whole, rest = text:match("^(.*\n)([^\n]*)$")
  self.process.out = rest
  for line in whole:gmatch("[^\n]+") do
    local answer = json.decode(line)
    self.answers[answer.id] = answer
  end
end

--- True when the operation has ended.
function Driver:is_done(id)
  process.pump(0)
  self:take_lines()
  return self.answers[id] ~= nil
end

--- The operation's answer, when it has ended.
function Driver:finish(id, seconds)
  process.wait("the driver answers", function()
    self:take_lines()
    if self.process.status then error("the driver died: " .. self.process.err) end
    return self.answers[id]
  end, seconds or 30)
  local answer = self.answers[id]
  self.answers[id] = nil
  if answer.broken then error("driver: " .. answer.broken, 2) end
  return answer
end

local function address_of(node) return type(node) == "table" and node.address or node end

-- Bytes travel in base64, which is also what protobuf's JSON form has for `bytes`.
function M.b64(bytes) return (mime.b64(bytes)) or "" end

function M.unb64(text) return (mime.unb64(text or "")) or "" end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return string.format("%02x", c:byte()) end))
end
M.hex = hex

function M.unhex(text)
  return (text:gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end))
end

--- Begins one call. fields: the request in protobuf's JSON form; options: timeout (seconds, default 20), metadata, raw
-- (the request's bytes instead of fields), channel (calls of one name share a connection).
function Driver:begin_call(node, method, fields, options)
  options = options or {}
  return self:begin {
    op = "call", to = address_of(node), method = method, fields = fields, timeout = options.timeout or 20,
    no_timeout = options.no_timeout, metadata = options.metadata, raw = options.raw and hex(options.raw),
    channel = options.channel,
  }
end

--- One call: { code = "OK", message, reply, ms }.
function Driver:call(node, method, fields, options)
  return self:finish(self:begin_call(node, method, fields, options))
end

local CACHE = "lcache.v1.Cache/"

local function key_fields(group, key, extra)
  local fields = { group = group, key = M.b64(key) }
  for name, value in pairs(extra or {}) do fields[name] = value end
  return fields
end

local function with_value(answer)
  if answer.reply then answer.value = M.unb64(answer.reply.value) end
  return answer
end

--- Get: the answer also has `value` (bytes) and `from` ("SOURCE", "STORE", …).
function Driver:get(node, group, key, options)
  local answer = with_value(self:call(node, CACHE .. "Get", key_fields(group, key, (options or {}).fields), options))
  if answer.reply then answer.from = (answer.reply.served_from or ""):gsub("^SERVED_FROM_", "") end
  return answer
end

function Driver:begin_get(node, group, key, options)
  return self:begin_call(node, CACHE .. "Get", key_fields(group, key), options)
end

function Driver:set(node, group, key, value, options)
  local fields = key_fields(group, key, { value = M.b64(value) })
  for name, extra in pairs((options or {}).fields or {}) do fields[name] = extra end
  return self:call(node, CACHE .. "Set", fields, options)
end

function Driver:delete(node, group, key, options)
  return self:call(node, CACHE .. "Delete", key_fields(group, key), options)
end

function Driver.batch_fields(group, keys)
  local encoded = {}
  for i, key in ipairs(keys) do encoded[i] = M.b64(key) end
  return { group = group, keys = json.array(encoded) }
end

function Driver:batch(node, group, keys, options)
  return self:call(node, CACHE .. "BatchGet", self.batch_fields(group, keys), options)
end

--- Many Gets at once over `connections` channels: { codes = { OK = 90, … }, froms, values (distinct), ms }.
function Driver:begin_many(node, group, keys, options)
  options = options or {}
  local encoded = {}
  for i, key in ipairs(keys) do encoded[i] = M.b64(key) end
  return self:begin {
    op = "many", to = address_of(node), group = group, keys = json.array(encoded),
    connections = options.connections or 4, timeout = options.timeout or 30, times = options.times or 1,
  }
end

function Driver:many(node, group, keys, options) return self:finish(self:begin_many(node, group, keys, options), 90) end

--- Sends bytes over a fresh TCP connection, a piece each `pause` seconds, and reads until the server closes or
-- `seconds` have passed: { closed, data (hex), frames }. pieces: strings. options: preface (true: the HTTP/2 preface
-- and SETTINGS go first), seconds, pause, hold (seconds without reading), half_close, stop_at (end on a frame:
-- "goaway", "rst", or on "end_stream").
function Driver:raw(node, pieces, options)
  return self:finish(self:begin_raw(node, pieces, options), 60)
end

function Driver:begin_raw(node, pieces, options)
  options = options or {}
  local encoded = {}
  for i, piece in ipairs(pieces) do encoded[i] = hex(piece) end
  return self:begin {
    op = "raw", to = address_of(node), pieces = json.array(encoded), preface = options.preface or false,
    seconds = options.seconds or 5, pause = options.pause or 0, half_close = options.half_close or false,
    stop_at = options.stop_at, hold = options.hold or 0, window = options.window,
  }
end

--- One request over HTTP/2 with any headers and body: { status, headers, trailers, body (hex), reset }.
-- options: headers (list of {name, value}, after the usual ones), replace (name to value or false), body (bytes),
-- pieces (list of bytes, one DATA frame each), window (initial stream window), no_end, seconds.
function Driver:request(node, path, options)
  return self:finish(self:begin_request(node, path, options), 60)
end

function Driver:begin_request(node, path, options)
  local pieces = {}
  for i, piece in ipairs(options.pieces or { options.body or "" }) do pieces[i] = hex(piece) end
  return self:begin {
    op = "request", to = address_of(node), path = path, headers = json.array(options.headers or {}),
    replace = options.replace or {}, pieces = json.array(pieces), window = options.window,
    no_end = options.no_end or false, seconds = options.seconds or 10, cancel_after = options.cancel_after,
  }
end

--- Opens a health Watch; read statuses with `next_status`.
function Driver:watch(node, service)
  local answer = self:finish(self:begin { op = "watch", to = address_of(node), service = service or "" })
  return answer.watch
end

function Driver:next_status(watch, seconds)
  local id = self:begin { op = "watch_next", watch = watch, seconds = (seconds or 10) * process.slowness }
  return self:finish(id, 60).status
end

--- Holds n TCP connections open, sending nothing; the result is for `release`. { connected }.
function Driver:hold(node, count)
  return self:finish(self:begin { op = "hold", to = address_of(node), count = count })
end

function Driver:release() return self:finish(self:begin { op = "release" }) end

--- A protobuf field of bytes: for messages made by hand.
function M.field(number, bytes)
  local length, size = "", #bytes
  repeat
    local low = size % 128
    size = math.floor(size / 128)
    length = length .. string.char(size > 0 and low + 128 or low)
  until size == 0
  return string.char(number * 8 + 2) .. length .. bytes
end

local function big_endian(number, count)
  local out = ""
  for _ = 1, count do
    out = string.char(number % 256) .. out
    number = math.floor(number / 256)
  end
  return out
end

--- A gRPC message with its 5-byte prefix; `length` lies about its length.
function M.grpc(message, length, flag)
  return string.char(flag or 0) .. big_endian(length or #message, 4) .. message
end

--- An HTTP/2 frame; `length` lies about its length.
function M.frame(kind, flags, stream, payload, length)
  return big_endian(length or #payload, 3) .. string.char(kind, flags) .. big_endian(stream, 4) .. payload
end

return M
