-- The example clients, each run against a live node as a reader of the README would.
-- Their first run downloads what they need into .build/clients/.
local lcache = require "spec.e2e.support.lcache"

local WHOLE_FIRST_RUN_SECONDS = 300

local function has(program) return lcache.run({ "sh", "-c", "command -v " .. program }).status == 0 end

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- What the clients' README says that they print.
local function promised()
  local readme = read_file(lcache.root .. "/examples/clients/README.md")
  return assert(readme:match("print:\n\n```\n(.-)```"))
end

describe("the example client in", function()
  local source

  local function client(language, address)
    return lcache.run({ lcache.root .. "/examples/clients/" .. language .. "/run", address }, WHOLE_FIRST_RUN_SECONDS)
  end

  local function start_node()
    return lcache.start {
      script = read_file(lcache.root .. "/examples/scores/app.lua"), env = { SCORES_URL = "http://" .. source },
    }
  end

  setup(function()
    local process = lcache.start_process {
      argv = { "python3", lcache.root .. "/examples/scores/source.py", "--port", "0" },
    }
    source = lcache.wait("the scores are served", function() return process.out:match("listening on (%S+)\n") end)
  end)
  teardown(lcache.finish)

  for language, program in pairs { python = "python3", node = "node", go = "go" } do
    local test = has(program) and it or pending

    test(language .. " prints what its README says", function()
      local run = client(language, start_node().address)
      assert.equal(promised(), run.out, run.err)
      assert.equal(0, run.status)
    end)

    test(language .. " says on standard error that nobody answers", function()
      local run = client(language, "127.0.0.1:1")
      assert.equal(1, run.status)
      assert.equal("", run.out)
      assert.matches("UNAVAILABLE", run.err:upper())
      assert.is_nil(run.err:find("Traceback", 1, true))
    end)
  end
end)
