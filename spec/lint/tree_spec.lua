local lfs = require "lfs"

local top_level = {}
for name in ([[
  CMakeLists.txt CMakePresets.json CHANGELOG.md LICENSE README.md examples lua proto spec src
]]):gmatch("%S+") do
  top_level[name] = true
end

local max_lines = 600
local counted = { c = true, h = true, lua = true, proto = true, py = true, js = true, go = true, cmake = true }
local passed_over = { node_modules = true, __pycache__ = true, venv = true }

local function strays(names)
  local found = {}
  for _, name in ipairs(names) do
    if not name:find("^%.") and not top_level[name] then
      found[#found + 1] = name
    end
  end
  return found
end

local function entries(folder)
  local names = {}
  for name in lfs.dir(folder) do
    if name ~= "." and name ~= ".." then
      names[#names + 1] = name
    end
  end
  return names
end

local function each_file(folder, visit)
  for _, name in ipairs(entries(folder)) do
    local path = folder .. "/" .. name
    if lfs.symlinkattributes(path, "mode") == "directory" then
      if not passed_over[name] and not name:find("^%.") then
        each_file(path, visit)
      end
    else
      visit(path)
    end
  end
end

local function line_count(path)
  local count = 0
  for _ in io.lines(path) do
    count = count + 1
  end
  return count
end

describe("the tree", function()
  it("has nothing at the top but what belongs there", function()
    assert.same({}, strays(entries(".")))
  end)

  it("would show a stray file at the top", function()
    assert.same({ "notes.txt" }, strays({ "src", "notes.txt", ".gitignore" }))
  end)

  it("has no file over " .. max_lines .. " lines", function()
    local long = {}
    for _, folder in ipairs({ "src", "lua", "proto", "spec", "examples" }) do
      if lfs.attributes(folder) then
        each_file(folder, function(path)
          if counted[path:match("%.(%w+)$") or ""] and line_count(path) > max_lines then
            long[#long + 1] = path
          end
        end)
      end
    end
    assert.same({}, long)
  end)
end)
