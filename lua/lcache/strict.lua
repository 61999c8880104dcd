--- Raises for a name that a module lacks, with the nearest one that it has:
-- `lcache has no "htpp", did you mean "http"?`
-- @module lcache.strict

-- How many letters must be changed, added, left out or swapped with their neighbour to get from one to the other.
local function distance(a, b)
  local before
  local last, row = {}, {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    before, last, row = last, row, { [0] = i }
    for j = 1, #b do
      local same = a:byte(i) == b:byte(j)
      row[j] = math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and a:byte(i) == b:byte(j - 1) and a:byte(i - 1) == b:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
  end
  return row[#b]
end

local function names_of(module)
  local names = {}
  for name in pairs(module) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function nearest(names, wanted)
  local best, least = nil, math.min(2, math.floor(#wanted / 2)) + 1
  for _, name in ipairs(names) do
    local d = distance(wanted, name)
    if d < least then best, least = name, d end
  end
  return best
end

--- Makes a module raise at the line that reads a name it lacks.
-- @tparam table module
-- @tparam string title how the message calls it
-- @treturn table the module
return function(module, title)
  return setmetatable(module, {
    __index = function(_, wanted)
      if type(wanted) ~= "string" then return nil end
      wanted = wanted:sub(1, 64)
      local names = names_of(module)
      local near = nearest(names, wanted)
      local hint = near and ('did you mean "%s"?'):format(near) or "there are " .. table.concat(names, ", ")
      error(("%s has no %q, %s"):format(title, wanted, hint), 2)
    end,
  })
end
