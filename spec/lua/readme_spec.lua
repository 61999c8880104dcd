-- lua/README.md: what it shows to be typed works as it is, in a folder that knows nothing of lcache.
local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  file:write(text)
  file:close()
end

local function output_of(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

describe("lua/README.md's spec of a getter", function()
  local root = output_of("pwd"):gsub("\n", "")
  local chapter = read("lua/README.md"):match("\n## Testing a getter\n(.*)$")
  local folder

  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    output_of(("mkdir -p '%s/spec'"):format(folder))
  end)

  after_each(function() output_of(("rm -rf '%s'"):format(folder)) end)

  it("passes with the command beside it", function()
    write(folder .. "/spec/scores_spec.lua", chapter:match("```lua\n(.-)```"))
    local commands, changed = chapter:match("```sh\n(.-)```"):gsub("\nL=%S+", "\nL='" .. root .. "/lua'")
    assert.equal(1, changed)
    commands = commands:gsub("^apt%-get[^\n]*\n", "")
    local said = output_of(("cd '%s' && unset LUA_PATH && { %s}"):format(folder, commands))
    assert.matches("2 successes / 0 failures / 0 errors", said)
  end)
end)
