-- Tools that know no .proto file: the reflection and health clients that come with grpcio.
local drivers = require "spec.e2e.support.driver"
local json = require "lcache.testing.json"
local lcache = require "spec.e2e.support.lcache"

local SCRIPT = [[
local lcache = require "lcache"
lcache.group("echo", { getter = function(key) return "value of " .. key end, bytes = "1MB" })
]]

describe("grpcio's own client", function()
  local node

  setup(function() node = lcache.start { script = SCRIPT } end)
  teardown(lcache.finish)

  for _, version in ipairs { "v1", "v1alpha" } do
    it("of reflection " .. version .. " learns the services, and calls one with what it learned", function()
      local script = lcache.root .. "/spec/e2e/support/introspect.py"
      local run = lcache.run({ drivers.python(), script, node.address, version }, 60)
      assert.equal(0, run.status, run.err)
      local seen = json.decode(run.out)
      assert.same({
        "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection",
        "lcache.v1.Admin", "lcache.v1.Cache", "pb.LCache",
      }, seen.services)
      assert.same({ "BatchGet", "Delete", "Get", "Set" }, seen.methods["lcache.v1.Cache"])
      assert.same({ "Nodes", "Owner", "Stats" }, seen.methods["lcache.v1.Admin"])
      assert.same({ "Delete", "Get", "Set" }, seen.methods["pb.LCache"])
      assert.equal("value of reflected", seen.value)
      assert.same({ "lcache.v1.GetRequest", "lcache.v1" }, { seen.message, seen.file })
      assert.same({ true, true }, { seen["unknown symbol"], seen["unknown file"] })
      assert.same({
        node = "SERVING", unknown = "NOT_FOUND", watch = "SERVING", ["watch of unknown"] = "SERVICE_UNKNOWN",
        services = { ["lcache.v1.Admin"] = "SERVING", ["lcache.v1.Cache"] = "SERVING", ["pb.LCache"] = "SERVING" },
      }, seen.health)
    end)
  end
end)
