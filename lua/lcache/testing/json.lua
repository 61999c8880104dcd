--- JSON for specs, with the conventions of the server's `lcache.json`.
-- In plain Lua because a spec has to run with nothing but busted, and under any Lua: the server's own is C. Made to be
-- right, not fast.
-- @module lcache.testing.json
local M = {}

local MAX_DEPTH = 128

--- What a JSON null is in Lua: a value of its own, so that it can stand in a table.
M.null = setmetatable({}, {
  __tostring = function() return "null" end,
  __newindex = function() error("lcache.json.null is not a table", 2) end,
})

--- The metatable of decoded arrays: it tells `[]` from `{}`.
M.array_mt = { __name = "lcache.json.array" }

--- Marks a table as an array, so that it is encoded as one even when it is empty.
-- @tparam table t
-- @treturn table the same table; a new one when called without
function M.array(t)
  return setmetatable(t or {}, M.array_mt)
end

local ESCAPES = {
  ['"'] = '\\"', ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t",
}
local UNESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t", ['"'] = '"', ["\\"] = "\\", ["/"] = "/" }

local function escape_byte(byte)
  return ESCAPES[byte] or string.format("\\u%04x", byte:byte())
end

local function encode_string(text)
  return '"' .. text:gsub('[%z\1-\31\127"\\]', escape_byte) .. '"'
end

local function encode_number(number)
  if number ~= number or number == math.huge or number == -math.huge then
    error("lcache.json.encode: JSON has no inf and no nan", 0)
  end
  if number == math.floor(number) and math.abs(number) < 1e15 then return string.format("%d", number) end
  local short = string.format("%.15g", number)
  return tonumber(short) == number and short or string.format("%.17g", number)
end

local encode_value

local function encode_array(list, depth)
  local out = {}
  for index = 1, #list do
    out[index] = encode_value(list[index], depth)
  end
  return "[" .. table.concat(out, ",") .. "]"
end

local function encode_object(object, depth)
  local names = {}
  for name in pairs(object) do
    if type(name) ~= "string" then
      error("lcache.json.encode: a table with holes, or with keys of different types, is neither array nor object", 0)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  for index, name in ipairs(names) do
    names[index] = encode_string(name) .. ":" .. encode_value(object[name], depth)
  end
  return "{" .. table.concat(names, ",") .. "}"
end

-- True if the keys are 1 to #list, and nothing else.
local function is_sequence(list)
  local count = 0
  for key in pairs(list) do
    if type(key) ~= "number" or key < 1 or key > #list or key % 1 ~= 0 then return false end
    count = count + 1
  end
  return count == #list
end

local function encode_table(value, depth)
  if depth >= MAX_DEPTH then
    local hint = "lcache.json.encode: nested deeper than %d (does the table contain itself?)"
    error(hint:format(MAX_DEPTH), 0)
  end
  local marked, sequence = getmetatable(value) == M.array_mt, is_sequence(value)
  if marked and not sequence then
    error("lcache.json.encode: an array has holes or keys that are no positions", 0)
  end
  if marked or (sequence and #value > 0) then return encode_array(value, depth + 1) end
  return encode_object(value, depth + 1)
end

function encode_value(value, depth)
  local kind = type(value)
  if value == nil or value == M.null then return "null" end
  if kind == "string" then return encode_string(value) end
  if kind == "number" then return encode_number(value) end
  if kind == "boolean" then return tostring(value) end
  if kind == "table" then return encode_table(value, depth) end
  error("lcache.json.encode: a " .. kind .. " has no form in JSON", 0)
end

--- Encodes a Lua value. Raises for what JSON cannot hold. An object's names are sorted here; in the server they are in
-- no particular order, and bytes that are not UTF-8 become U+FFFD there.
function M.encode(value)
  local ok, text = pcall(encode_value, value, 0)
  if not ok then error(text, 2) end
  return text
end

-- The decoder: each function takes the text and a position, and returns a value and the position behind it.

local function fail(position, what)
  error({ json = string.format("not JSON at byte %d: %s", position, what) }, 0)
end

local function skip_space(text, position)
  return text:match("^[ \t\r\n]*()", position)
end

local function utf8_bytes(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then
    return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end
  return string.char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

local function hex4(text, position)
  local digits = text:match("^%x%x%x%x", position)
  if not digits then fail(position, "\\u needs four hex digits") end
  return tonumber(digits, 16)
end

local function decode_unicode(text, position)
  local code = hex4(text, position)
  if code == 0 then error({ json = "JSON with \\u0000 in a string can't be read" }, 0) end
  position = position + 4
  if code >= 0xDC00 and code <= 0xDFFF then fail(position, "half of a surrogate pair") end
  if code < 0xD800 or code > 0xDBFF then return utf8_bytes(code), position end
  if text:sub(position, position + 1) ~= "\\u" then fail(position, "half of a surrogate pair") end
  local low = hex4(text, position + 2)
  if low < 0xDC00 or low > 0xDFFF then fail(position, "half of a surrogate pair") end
  return utf8_bytes(0x10000 + (code - 0xD800) * 1024 + (low - 0xDC00)), position + 6
end

local function decode_string(text, position)
  local out, start = {}, position + 1
  while true do
    local stop = text:find('["\\]', start)
    if not stop then fail(position, "a string that does not end") end
    out[#out + 1] = text:sub(start, stop - 1)
    if text:sub(stop, stop) == '"' then return table.concat(out), stop + 1 end
    local letter = text:sub(stop + 1, stop + 1)
    if letter == "u" then
      out[#out + 1], start = decode_unicode(text, stop + 2)
    else
      out[#out + 1] = UNESCAPES[letter] or fail(stop, "an unknown escape")
      start = stop + 2
    end
  end
end

local function decode_number(text, position)
  local digits, stop = text:match("^(-?%d+%.?%d*[eE]?[+-]?%d*)()", position)
  local number = digits and tonumber(digits)
  if not number then fail(position, "not a value") end
  -- Doubles, as in the server: whole numbers over 2^53 lose digits. Lua 5.3's floats print with ".0", so whole
  -- numbers become integers there.
  number = number + 0.0
  if math.tointeger then number = math.tointeger(number) or number end
  return number, stop
end

local decode_value

local function decode_array(text, position, depth)
  local list, count = M.array({}), 0
  position = skip_space(text, position + 1)
  if text:sub(position, position) == "]" then return list, position + 1 end
  while true do
    count = count + 1
    list[count], position = decode_value(text, position, depth)
    position = skip_space(text, position)
    local mark = text:sub(position, position)
    if mark == "]" then return list, position + 1 end
    if mark ~= "," then fail(position, "a comma or ] is missing") end
    position = skip_space(text, position + 1)
  end
end

local function decode_member(text, position, depth)
  if text:sub(position, position) ~= '"' then fail(position, "a name in quotes is missing") end
  local name, value
  name, position = decode_string(text, position)
  position = skip_space(text, position)
  if text:sub(position, position) ~= ":" then fail(position, "a colon is missing") end
  value, position = decode_value(text, skip_space(text, position + 1), depth)
  return name, value, skip_space(text, position)
end

local function decode_object(text, position, depth)
  local object = {}
  position = skip_space(text, position + 1)
  if text:sub(position, position) == "}" then return object, position + 1 end
  while true do
    local name, value
    name, value, position = decode_member(text, position, depth)
    object[name] = value
    local mark = text:sub(position, position)
    if mark == "}" then return object, position + 1 end
    if mark ~= "," then fail(position, "a comma or } is missing") end
    position = skip_space(text, position + 1)
  end
end

local WORDS = { { "true", true }, { "false", false }, { "null", M.null } }

function decode_value(text, position, depth)
  local mark = text:sub(position, position)
  if mark == '"' then return decode_string(text, position) end
  if depth >= MAX_DEPTH and (mark == "{" or mark == "[") then error({ json = "JSON is nested too deep" }, 0) end
  if mark == "{" then return decode_object(text, position, depth + 1) end
  if mark == "[" then return decode_array(text, position, depth + 1) end
  for _, word in ipairs(WORDS) do
    if text:sub(position, position + #word[1] - 1) == word[1] then return word[2], position + #word[1] end
  end
  return decode_number(text, position)
end

local function decode_document(text)
  local value, position = decode_value(text, skip_space(text, 1), 0)
  position = skip_space(text, position)
  if position <= #text then fail(position, "text behind the value") end
  return value
end

--- Decodes a JSON text.
-- @tparam string text
-- @return the value, or nil and a message
function M.decode(text)
  if type(text) ~= "string" then
    error("lcache.json.decode: the text must be a string, got a " .. type(text), 2)
  end
  local ok, value = pcall(decode_document, text)
  if ok then return value end
  if type(value) == "table" and value.json then return nil, value.json end
  error(value, 0)
end

return M
