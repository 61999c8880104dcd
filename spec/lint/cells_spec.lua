-- src/cluster/README.md: every cell of the table "The copies of a key" has a test, and every test named there exists.

local function read(path)
  local file = io.open(path, "rb")
  if not file then
    return nil
  end
  local text = file:read("*a")
  file:close()
  return text
end

-- The rows of the first table after that heading, without its rule; each a list of trimmed cells.
local function table_below(markdown, heading)
  local rows, at = {}, markdown:find("\n## " .. heading .. "\n", 1, true)
  if not at then
    return rows
  end
  for line in (markdown:sub(at + 1) .. "\n"):gmatch("([^\n]*)\n") do
    if line:find("^|") then
      local row = {}
      for cell in line:gmatch("|([^|]*)") do
        row[#row + 1] = cell:match("^%s*(.-)%s*$")
      end
      row[#row] = nil -- what follows the last bar
      if not line:find("^| %-%-%-") then
        rows[#rows + 1] = row
      end
    elseif #rows > 0 then
      break
    end
  end
  return rows
end

-- "event / copy" of all cells that say something.
local function cells_of(markdown)
  local rows, cells = table_below(markdown, "The copies of a key"), {}
  for i = 2, #rows do
    for j = 2, #rows[i] do
      if rows[i][j] ~= "" then
        cells[rows[i][1] .. " / " .. rows[1][j]] = true
      end
    end
  end
  return cells
end

-- The same of all cells that have a test, and a list of the tests' names.
local function tests_of(markdown)
  local rows, cells, tests = table_below(markdown, "Where each cell is tested"), {}, {}
  for i = 2, #rows do
    local event, copies, names = rows[i][1], rows[i][2], rows[i][3]
    for copy in (copies .. " / "):gmatch("(.-) / ") do
      cells[event .. " / " .. copy] = names:find("`") ~= nil
    end
    for name in names:gmatch("`([^`]*)`") do
      tests[#tests + 1] = name
    end
  end
  return cells, tests
end

local function lacking(wanted, given)
  local names = {}
  for name in pairs(wanted) do
    if not given[name] then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

local function count(text, name)
  local found = 0
  for word in text:gmatch("[%w_]+") do
    found = found + (word == name and 1 or 0)
  end
  return found
end

-- A C test stands in its file twice: where it is written, and in the list that runs it.
local function exists(test, read_file)
  local file, name = test:match("^([%w_]+): (.+)$")
  if not file then
    return false
  end
  local source = read_file("spec/c/test_" .. file .. ".c")
  if source and count(source, name) >= 2 then
    return true
  end
  local spec = read_file("spec/e2e/cluster/" .. file .. "_spec.lua")
  return spec ~= nil and spec:find('it("' .. name .. '"', 1, true) ~= nil
end

local function missing(tests, read_file)
  local names = {}
  for _, test in ipairs(tests) do
    if not exists(test, read_file) then
      names[#names + 1] = test
    end
  end
  return names
end

describe("the table of copies in src/cluster/README.md", function()
  local readme = read("src/cluster/README.md")
  local cells, tested, tests = cells_of(readme), tests_of(readme)

  it("is found", function()
    assert.is_true(cells["Get here / mirror"])
    assert.is_true(#tests > 12)
  end)

  it("has a test for every cell", function()
    assert.same({}, lacking(cells, tested))
  end)

  it("has tests for its own cells only", function()
    assert.same({}, lacking(tested, cells))
  end)

  it("names tests that exist", function()
    assert.same({}, missing(tests, read))
  end)
end)

describe("the checker of that table", function()
  local page = [[

## The copies of a key

| event | owner copy | load, peek |
| --- | --- | --- |
| Get | served | joined |
| Set | replaced | |

## Where each cell is tested

| event | copy | tests |
| --- | --- | --- |
| Get | owner copy / load, peek | `a: test_x`; `b: says no` |
| Set | load, peek | |
]]
  local files = {
    ["spec/c/test_a.c"] = "void test_x(void) {} TEST(test_x) void test_xy(void) {}",
    ["spec/e2e/cluster/b_spec.lua"] = 'it("says no", function() end)',
  }

  local function read_file(path)
    return files[path]
  end

  it("finds a cell without a test, and a test of no cell", function()
    local cells, tested = cells_of(page), tests_of(page)
    assert.same({ "Set / owner copy" }, lacking(cells, tested))
    tested["Set / gone"] = true
    assert.same({ "Set / gone", "Set / load, peek" }, lacking(tested, cells))
  end)

  it("finds a test that is gone, not run, or of another name", function()
    local _, tests = tests_of(page)
    assert.same({}, missing(tests, read_file))
    local wrong = { "a: test_xy", "a: test", "a: test_gone", "b: says", "c: test_x", "test_x" }
    assert.same(wrong, missing(wrong, read_file))
  end)
end)
