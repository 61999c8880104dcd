-- Clients of the Go LCache see the same cluster, whichever node they ask.
local clusters = require "spec.e2e.cluster.support.cluster"
local drivers = require "spec.e2e.support.driver"

describe("pb.LCache", function()
  local cluster, driver

  setup(function()
    cluster = clusters.start { lease = 3 }
    driver = drivers.start()
  end)
  teardown(function() clusters.finish(cluster) end)

  local function call(node, method, key, value)
    local fields = { group = "g", key = key, value = value and drivers.b64(value) }
    local answer = driver:call(node, "pb.LCache/" .. method, fields)
    assert.equal("OK", answer.code, answer.message)
    return answer.reply.value
  end

  it("gets on every node what was set on another", function()
    for i, writer in ipairs(cluster.nodes) do
      local key = "set-" .. i
      call(writer, "Set", key, "value " .. i)
      for _, reader in ipairs(cluster.nodes) do
        assert.equal("value " .. i, drivers.unb64(call(reader, "Get", key)))
      end
    end
  end)

  it("loads through any node, once", function()
    cluster.source:reset()
    for i = 1, 30 do
      for _, node in ipairs(cluster.nodes) do
        assert.equal(("load-%d:1"):format(i), drivers.unb64(call(node, "Get", "load-" .. i)))
      end
    end
    assert.equal(30, cluster.source:stats().loads)
  end)

  it("deletes everywhere", function()
    for i, deleter in ipairs(cluster.nodes) do
      local key = "delete-" .. i
      for _, node in ipairs(cluster.nodes) do call(node, "Get", key) end
      cluster.source:bump(key)
      assert.is_true(call(deleter, "Delete", key))
      for _, node in ipairs(cluster.nodes) do
        assert.equal(key .. ":2", drivers.unb64(call(node, "Get", key)))
      end
    end
  end)

  it("means the same as lcache.v1.Cache", function()
    driver:set(cluster.nodes[1], "g", "both", "of v1")
    assert.equal("of v1", drivers.unb64(call(cluster.nodes[2], "Get", "both")))
    call(cluster.nodes[3], "Set", "both", "of pb")
    assert.equal("of pb", driver:get(cluster.nodes[1], "g", "both").value)
  end)
end)
