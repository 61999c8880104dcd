local lfs = require "lfs"
local includes = dofile("spec/lint/includes.lua")

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

local function each_source(layer, visit)
  local folder = "src/" .. layer
  if lfs.attributes(folder, "mode") ~= "directory" then
    return
  end
  for name in lfs.dir(folder) do
    if name:find("%.[ch]$") then
      visit(folder .. "/" .. name)
    end
  end
end

describe("the include table", function()
  local rows = includes.parse_layers(read("src/CMakeLists.txt"))

  it("has a row for every folder with sources in src/", function()
    for name in lfs.dir("src") do
      local count = 0
      if not name:find("^%.") then
        each_source(name, function()
          count = count + 1
        end)
      end
      assert.is_true(count == 0 or rows.by_name[name] ~= nil, "src/" .. name .. " has no row in src/CMakeLists.txt")
    end
  end)

  it("has no cycles: a row names only rows above it", function()
    local above = {}
    for _, row in ipairs(rows) do
      for layer in pairs(row.layers) do
        assert.is_true(above[layer] ~= nil, row.name .. " names " .. layer .. ", which stands below it or nowhere")
      end
      above[row.name] = true
    end
  end)

  it("says the same in src/README.md", function()
    local readme = read("src/README.md")
    if not readme then
      return pending("src/README.md is not written yet")
    end
    for _, row in ipairs(rows) do
      local documented = includes.documented_layers(rows, readme, row.name)
      assert.is_table(documented, "src/README.md has no row for src/" .. row.name .. "/")
      if not documented.all then
        assert.same(row.layers, documented, "the row of src/" .. row.name .. "/ in src/README.md")
      end
    end
  end)

  it("keeps Lua in script/, nghttp2 and protobuf-c in wire/, and libcurl out of the rest", function()
    for _, row in ipairs(rows) do
      assert.equal(row.name == "script", row.libraries.luajit or false, row.name)
      assert.equal(row.name == "wire", row.libraries.nghttp2 or false, row.name)
      assert.equal(row.name == "wire", row.libraries["protobuf-c"] or false, row.name)
      assert.is_true(not row.libraries.curl or row.name == "loop" or row.name == "registry", row.name)
    end
    assert.same({}, rows.by_name.group.libraries)
  end)

  for _, row in ipairs(rows) do
    it("holds in src/" .. row.name .. "/", function()
      each_source(row.name, function(path)
        assert.same({}, includes.violations(rows, row.name, path, read(path)))
      end)
    end)
  end
end)

describe("the include checker", function()
  local rows = includes.parse_layers([[
    function(lc_layers)
      lc_layer(base LAYERS LIBRARIES xxhash)
      lc_layer(wire LAYERS base LIBRARIES protobuf-c)
      lc_layer(ctl PROGRAM lcachectl LAYERS base
                       wire LIBRARIES)
    endfunction()
  ]])

  local function violations(layer, source)
    return includes.violations(rows, layer, "x.c", source)
  end

  it("allows libc, the layer itself, the layers and the libraries of its row", function()
    local source = '#include <stdio.h>\n#include <sys/socket.h>\n#include "wire/a.h"\n#include "base/b.h"\n'
      .. '# include "lcache/v1/cache.pb-c.h"\n'
    assert.same({}, violations("wire", source))
    assert.same({}, violations("ctl", '#include "wire/a.h"'))
  end)

  it("finds a layer that the row doesn't name", function()
    assert.same({ "x.c:2: wire/a.h: the row has no layer wire" }, violations("base", '\n#include "wire/a.h"'))
  end)

  it("finds a library that the row doesn't name", function()
    assert.same({ "x.c:1: lua.h: the row has no library luajit" }, violations("wire", "#include <lua.h>"))
    assert.same({ "x.c:1: a.pb-c.h: the row has no library protobuf-c" }, violations("ctl", '#include "a.pb-c.h"'))
  end)

  it("finds headers by a relative path and of unknown libraries", function()
    assert.equal(1, #violations("wire", '#include "a.h"'))
    assert.equal(1, #violations("wire", '#include "../base/b.h"'))
    assert.equal(1, #violations("wire", "#include <zlib.h>"))
  end)

  it("reads a row of the documentation", function()
    local readme = "| `src/ctl/`, `src/bench/` | the tools | base, wire |\n"
    assert.same({ base = true, wire = true }, includes.documented_layers(rows, readme, "ctl"))
    assert.is_nil(includes.documented_layers(rows, readme, "wire"))
  end)
end)
