-- Holds the #include lines of src/ against the table of layers in src/CMakeLists.txt.
local M = {}

-- The headers of each library that a row of the table can name.
local library_headers = {
  xxhash = { "^xxhash%.h$" },
  nghttp2 = { "^nghttp2/" },
  ["protobuf-c"] = { "^protobuf%-c/", "%.pb%-c%.h$" },
  uv = { "^uv%.h$", "^uv/" },
  curl = { "^curl/" },
  luajit = { "^lua%.h$", "^lauxlib%.h$", "^lualib%.h$", "^luaconf%.h$", "^luajit%.h$" },
  cjson = { "^cJSON%.h$", "^cjson/" },
}

local libc = {}
for name in ([[
  assert ctype dirent dlfcn errno execinfo fcntl fenv float getopt ifaddrs inttypes limits locale malloc math netdb poll
  pthread pwd sched search semaphore setjmp signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib
  stdnoreturn string strings syslog termios threads time ucontext unistd wchar
]]):gmatch("%S+") do
  libc[name .. ".h"] = true
end
-- sanitizer/ comes with the compiler.
local libc_folders = { sys = true, net = true, netinet = true, arpa = true, linux = true, sanitizer = true }

local function set_of(list)
  local set = {}
  for _, name in ipairs(list) do
    set[name] = true
  end
  return set
end

-- One row, from what stands between the brackets of lc_layer(…).
local function parse_row(text)
  local fields = { LAYERS = {}, LIBRARIES = {}, PROGRAM = {} }
  local name, field
  for word in text:gmatch("%S+") do
    if not name then
      name = word
    elseif fields[word] then
      field = fields[word]
    else
      field[#field + 1] = word
    end
  end
  return { name = name, layers = set_of(fields.LAYERS), libraries = set_of(fields.LIBRARIES) }
end

--- The table of layers: rows in their order, and by name.
function M.parse_layers(cmake)
  local body = assert(cmake:match("function%(lc_layers%)(.-)endfunction%(%)"), "no function(lc_layers)")
  local rows = { by_name = {} }
  for text in body:gmatch("lc_layer(%b())") do
    local row = parse_row(text:sub(2, -2))
    rows[#rows + 1] = row
    rows.by_name[row.name] = row
  end
  return rows
end

local function library_of(header)
  for library, patterns in pairs(library_headers) do
    for _, pattern in ipairs(patterns) do
      if header:find(pattern) then
        return library
      end
    end
  end
end

local function is_libc(header)
  return libc[header] or libc_folders[header:match("^(%w+)/") or ""] or false
end

-- Why a file of `row` may not include the header, or nil if it may.
local function objection(rows, row, header)
  local library = library_of(header)
  if library then
    return not row.libraries[library] and "the row has no library " .. library or nil
  end
  local layer = header:match("^([%w_]+)/")
  if layer and rows.by_name[layer] then
    return layer ~= row.name and not row.layers[layer] and "the row has no layer " .. layer or nil
  end
  return not is_libc(header) and "neither libc, nor a path from src/, nor a known library" or nil
end

--- The forbidden includes of a file of the layer `name`, as lines of text.
function M.violations(rows, name, path, source)
  local row = assert(rows.by_name[name], "no layer " .. name)
  local found, number = {}, 0
  for line in (source .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local header = line:match('^%s*#%s*include%s*[<"]([^>"]+)[>"]')
    local why = header and objection(rows, row, header)
    if why then
      found[#found + 1] = ("%s:%d: %s: %s"):format(path, number, header, why)
    end
  end
  return found
end

--- The layers that the table in src/README.md lets `name` include: a set, or nil if it has no such row. A cell "all"
--- stands for every other layer above it.
function M.documented_layers(rows, readme, name)
  for line in readme:gmatch("[^\n]+") do
    local first, last = line:match("^|([^|]*)|.*|([^|]*)|%s*$")
    if first and first:find("`src/" .. name .. "/`", 1, true) then
      local set = {}
      for word in last:gmatch("[%w_]+") do
        if rows.by_name[word] or word == "all" then
          set[word] = true
        end
      end
      return set
    end
  end
end

return M
