--- A getter that reads files below a folder: the key is the file's path there.
--
--     local file = require "getters.file"
--     lcache.group("pages", { getter = file.new{ root = "/srv/pages", max_bytes = 256 * 1024 }, ttl = "10s" })
--
-- A key that could leave the folder (`..`, an absolute path, a NUL or a backslash) is not found. Symbolic links are
-- followed, also those that point out of the folder: give lcache a folder in which nobody else can make links.
--
-- Reading a file blocks the worker until the disk answers, so this is for small files on a local disk. Keep devices out
-- of the folder: reading one may wait for ever.
-- @module getters.file
local M = {}

local DEFAULT_MAX_BYTES = 1024 * 1024
local FIELDS = { root = true, max_bytes = true }

-- What open and read say when there is no such file: ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG.
local ABSENT = { [2] = true, [20] = true, [21] = true, [36] = true }

local function misuse(field, want, got)
  if type(got) == "string" then got = string.format("%q", got) end
  -- 3: the line that called new, not this file.
  error(string.format("getters.file: %s must be %s, got %s", field, want, tostring(got)), 3)
end

-- A folder that may only be searched counts: opening it is refused by another error than these.
local function is_folder(path)
  local handle, _, code = io.open(path .. "/.", "rb")
  if handle then handle:close() end
  return handle ~= nil or not ABSENT[code]
end

local function stays_inside(key)
  if key == "" or key:find("[%z\\]") or key:sub(1, 1) == "/" then return false end
  for segment in key:gmatch("[^/]+") do
    if segment == ".." then return false end
  end
  return true
end

local function failure(message, code)
  if ABSENT[code] then return nil end
  -- The message begins with the path on this machine, which callers need not know.
  return nil, "cannot read the file: " .. (tostring(message):match("([^:]+)$") or ""):gsub("^%s+", "")
end

local function read_at_most(path, max_bytes)
  local file, message, code = io.open(path, "rb")
  if not file then return failure(message, code) end
  local body, read_message, read_code = file:read(max_bytes + 1)
  file:close()
  if not body then
    if read_message then return failure(read_message, read_code) end
    return ""
  end
  if #body > max_bytes then return nil, "the file is larger than " .. max_bytes .. " bytes" end
  return body
end

--- Makes a getter.
-- @tparam table options
-- @tparam string options.root the folder; relative to the folder that lcache was started in
-- @tparam[opt=1048576] number options.max_bytes a larger file is a failure of the source; a read takes this much of
-- `--lua-memory` for a moment, however small the file is
-- @treturn function the getter
function M.new(options)
  if type(options) ~= "table" then misuse("new's argument", 'a table such as { root = "/srv/pages" }', options) end
  for name in pairs(options) do
    if not FIELDS[name] then misuse("a field", "root or max_bytes", tostring(name)) end
  end
  local root, max_bytes = options.root, options.max_bytes or DEFAULT_MAX_BYTES
  if type(root) ~= "string" or root == "" then misuse("root", 'a folder such as "/srv/pages"', root) end
  if type(max_bytes) ~= "number" or max_bytes < 1 or max_bytes % 1 ~= 0 then
    misuse("max_bytes", "a whole number of bytes such as 65536", max_bytes)
  end
  if not is_folder(root) then
    local from = root:sub(1, 1) ~= "/" and " in the folder that lcache was started in" or ""
    error(string.format("getters.file: root %q is not a folder%s", root, from), 2)
  end

  return function(key)
    if not stays_inside(key) then return nil end
    return read_at_most(root .. "/" .. key, max_bytes)
  end
end

return M
