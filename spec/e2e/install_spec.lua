-- cmake --install of the build tree that is being tested, into a folder of its own.
local lcache = require "spec.e2e.support.lcache"
local process = require "spec.e2e.support.process"

local TREE = lcache.bin(""):gsub("/bin/$", "")
local SCRIPT = [[
local lcache = require "lcache"
lcache.group("answers", { getter = require "getters.static".new { question = "42" } })
]]

local function read_file(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function exists(path)
  local file = io.open(path)
  return file ~= nil and file:close()
end

describe("cmake --install", function()
  local prefix

  before_each(function() prefix = process.temp_folder() end)
  after_each(lcache.finish)

  it("installs programs that find lcache's getters where they were put", function()
    local done = lcache.run { "cmake", "--install", TREE, "--prefix", prefix }
    assert.equal(0, done.status, done.err)
    assert.is_truthy(exists(prefix .. "/share/lcache/proto/lcache/v1/cache.proto"))
    assert.matches("^lcachectl ", lcache.run({ prefix .. "/bin/lcachectl", "--version" }).out)
    process.write_file(prefix .. "/app.lua", SCRIPT)
    local check = lcache.run { prefix .. "/bin/lcache", "--script", prefix .. "/app.lua", "--check" }
    assert.equal("", check.err)
    assert.matches("^ok: 1 group\n", check.out)
  end)

  it("leaves lcache-bench out where it was not built", function()
    local rules, count = read_file(TREE .. "/src/cmake_install.cmake"):gsub("bin/lcache%-bench", "bin/not-built")
    assert.is_true(count > 0)
    process.write_file(prefix .. "/rules.cmake", rules)
    local done = lcache.run { "cmake", "-DCMAKE_INSTALL_PREFIX=" .. prefix, "-P", prefix .. "/rules.cmake" }
    assert.equal(0, done.status, done.err)
    assert.is_truthy(exists(prefix .. "/bin/lcachectl"))
    assert.is_falsy(exists(prefix .. "/bin/lcache-bench"))
  end)
end)
