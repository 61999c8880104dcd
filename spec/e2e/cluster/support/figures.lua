--- Prints what a spec has measured, beside what it should be: `# figure: …` lines, which spec/run shows.
local M = {}

--- The long form of the specs, by `./spec/run --full`.
M.full = os.getenv("LCACHE_FULL") == "1"

--- One of two: the value for the long form, the value for the short one.
function M.size(long, short)
  if M.full then return long end
  return short
end

--- Prints one figure. value and target: text or numbers.
function M.print(name, value, target)
  if type(value) == "number" and value ~= math.floor(value) then value = ("%.3g"):format(value) end
  io.write("# figure: ", name, ": ", tostring(value), target and " (" .. tostring(target) .. ")" or "", "\n")
  io.flush()
end

return M
