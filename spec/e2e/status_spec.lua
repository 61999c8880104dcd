-- What each call answers: statuses, served_from, ttl, batches, the Go LCache's service, lcachectl.
local drivers = require "spec.e2e.support.driver"
local lcache = require "spec.e2e.support.lcache"

local SCRIPT = [[
local lcache = require "lcache"
local get = {}
function get.echo(key, ctx)
  if key == "nil" then return nil end
  if key == "failed" then return nil, "the database is away: 100% \n\xc3\xbc" end
  if key == "raise" then error "some secret detail" end
  if key == "raise-table" then error({}) end
  if key == "type" then return 42 end
  if key == "ttl" then return "v", nil, 1 end
  if key == "never" then return "v", nil, math.huge end
  if key == "group" then return ctx.group .. "/" .. ctx.key end
  return "value of " .. key
end
function get.big(key) return ("x"):rep(tonumber(key)) end
function get.slow(key) lcache.sleep(tonumber(key)) return "slow" end
lcache.group("echo", { getter = get.echo, ttl = "60s", bytes = "16MB" })
lcache.group("no-ttl", { getter = get.echo, bytes = "1MB" })
lcache.group("small", { getter = get.echo, bytes = "1MB", max_key = 8, max_value = 1024 })
lcache.group("big", { getter = get.big, bytes = "64MB", timeout = "30s" })
lcache.group("slow", { getter = get.slow, bytes = "1MB", timeout = "300ms" })
lcache.group("other", { getter = function(key) return lcache.get("echo", key) end, bytes = "1MB" })
lcache.group("cycle", { getter = function(key) return lcache.get("cycle", key) end, bytes = "1MB" })
]]

describe("a call", function()
  local node, driver

  setup(function()
    driver = drivers.start()
    node = lcache.start { script = SCRIPT }
  end)
  teardown(lcache.finish)

  it("loads on a miss and says SOURCE, answers a hit and says STORE", function()
    local first, second = driver:get(node, "echo", "a"), driver:get(node, "echo", "a")
    assert.same({ "OK", "value of a", "SOURCE" }, { first.code, first.value, first.from })
    assert.same({ "OK", "value of a", "STORE" }, { second.code, second.value, second.from })
    assert.equal(60000, tonumber(first.reply.ttl_ms))
    assert.is_true(tonumber(second.reply.ttl_ms) <= 60000)
  end)

  it("takes keys and values of any bytes", function()
    local key = ""
    for byte = 0, 255 do key = key .. string.char(byte) end
    assert.equal("value of " .. key, driver:get(node, "echo", key).value)
    assert.equal("OK", driver:set(node, "echo", key, key).code)
    assert.equal(key, driver:get(node, "echo", key).value)
  end)

  it("gives the getter its group and key", function()
    assert.equal("echo/group", driver:get(node, "echo", "group").value)
  end)

  for _, case in ipairs {
    { "an unknown group", "no such group", "k", "NOT_FOUND", "unknown group" },
    { "a key that the source doesn't have", "echo", "nil", "NOT_FOUND" },
    { "an empty key", "echo", "", "INVALID_ARGUMENT", "key" },
    { "an empty group", "", "k", "INVALID_ARGUMENT", "group" },
    { "a key over its limit", "small", "123456789", "INVALID_ARGUMENT", "key" },
    { "a huge key", "echo", ("k"):rep(100000), "INVALID_ARGUMENT", "key" },
    { "a source that failed", "echo", "failed", "UNAVAILABLE", "the database is away: 100%% \n\xc3\xbc" },
    { "a getter that raised", "echo", "raise", "INTERNAL", "^getter failed" },
    { "a getter that raised a table", "echo", "raise-table", "INTERNAL", "^getter failed" },
    { "a getter that returned a number", "echo", "type", "INTERNAL", "getter" },
    { "a value over the group's limit", "small", "echo1234", "OK" },
    { "a load over the group's timeout", "slow", "20", "DEADLINE_EXCEEDED" },
    { "a key that waits for itself", "cycle", "k", "UNAVAILABLE" },
  } do
    it("on " .. case[1] .. " is " .. case[4], function()
      local answer = driver:get(node, case[2], case[3])
      assert.equal(case[4], answer.code, answer.message)
      if case[5] then assert.matches(case[5], answer.message) end
    end)
  end

  it("keeps a getter's error text from clients, and puts the traceback into the log", function()
    local answer = driver:get(node, "echo", "raise")
    assert.is_nil(answer.message:find("secret", 1, true))
    assert.is_truthy(node:wait_log("some secret detail"))
    assert.is_truthy(node:wait_log("app%.lua:6"))
  end)

  it("does not remember a failure", function()
    local before = node:group_stats("echo").loads
    driver:get(node, "echo", "failed")
    driver:get(node, "echo", "failed")
    driver:get(node, "echo", "nil")
    driver:get(node, "echo", "nil")
    assert.equal(before + 4, node:group_stats("echo").loads)
  end)

  it("ends at the caller's deadline", function()
    local answer = driver:get(node, "big", "2000000", { timeout = 20 })
    assert.equal("OK", answer.code)
    answer = driver:request(node, "/lcache.v1.Cache/Get", {
      headers = { { "grpc-timeout", "50m" } },
      body = drivers.grpc(drivers.field(1, "slow") .. drivers.field(2, "10")),
    })
    assert.equal("4", answer.grpc_status)
    assert.is_true(answer.ms < 290 * lcache.slowness)
  end)

  it("with only_if_cached is NOT_FOUND without a load, and answers what is there", function()
    local peek = { fields = { only_if_cached = true } }
    assert.equal("NOT_FOUND", driver:get(node, "echo", "peek", peek).code)
    assert.equal("NOT_FOUND", driver:get(node, "echo", "peek", peek).code)
    driver:get(node, "echo", "peek")
    assert.equal("STORE", driver:get(node, "echo", "peek", peek).from)
  end)

  it("with refresh loads anew", function()
    driver:set(node, "echo", "refresh", "old")
    assert.equal("old", driver:get(node, "echo", "refresh").value)
    local answer = driver:get(node, "echo", "refresh", { fields = { refresh = true } })
    assert.same({ "value of refresh", "SOURCE" }, { answer.value, answer.from })
    assert.equal("value of refresh", driver:get(node, "echo", "refresh").value)
  end)

  it("takes a TTL from the getter, and none from a group without one", function()
    assert.equal(1000, tonumber(driver:get(node, "echo", "ttl").reply.ttl_ms))
    assert.equal(0, tonumber(driver:get(node, "echo", "never").reply.ttl_ms))
    assert.equal(0, tonumber(driver:get(node, "no-ttl", "a").reply.ttl_ms))
    lcache.wait("the item has expired", function() return driver:get(node, "echo", "ttl").from == "SOURCE" end)
  end)

  it("Set puts a value with its TTL, and Delete says whether it was there", function()
    assert.equal("OK", driver:set(node, "echo", "s", "mine", { fields = { ttl_ms = 5000 } }).code)
    local answer = driver:get(node, "echo", "s")
    assert.equal("mine", answer.value)
    assert.is_true(tonumber(answer.reply.ttl_ms) <= 5000)
    driver:set(node, "echo", "s", "mine", { fields = { ttl_ms = -1 } })
    assert.equal(0, tonumber(driver:get(node, "echo", "s").reply.ttl_ms))
    assert.is_true(driver:delete(node, "echo", "s").reply.deleted)
    assert.is_false(driver:delete(node, "echo", "s").reply.deleted)
    assert.equal("value of s", driver:get(node, "echo", "s").value)
  end)

  it("Set refuses what a Get would refuse", function()
    assert.equal("NOT_FOUND", driver:set(node, "no such group", "k", "v").code)
    assert.equal("INVALID_ARGUMENT", driver:set(node, "echo", "", "v").code)
    assert.equal("INVALID_ARGUMENT", driver:set(node, "small", "123456789", "v").code)
    assert.equal("INVALID_ARGUMENT", driver:set(node, "echo", "k", "v", { fields = { ttl_ms = -2 } }).code)
    assert.equal("NOT_FOUND", driver:delete(node, "no such group", "k").code)
    assert.equal("INVALID_ARGUMENT", driver:delete(node, "echo", "").code)
  end)

  it("Set refused for its size removes the old value", function()
    driver:set(node, "small", "k", "old")
    assert.equal("INVALID_ARGUMENT", driver:set(node, "small", "k", ("x"):rep(1025)).code)
    assert.equal("NOT_FOUND", driver:get(node, "small", "k", { fields = { only_if_cached = true } }).code)
  end)

  it("Set of a value that holds a quarter of the group and more evicts nothing", function()
    driver:set(node, "no-ttl", "keep", "me")
    assert.equal("INVALID_ARGUMENT", driver:set(node, "no-ttl", "huge", ("x"):rep(300000)).code)
    assert.equal("me", driver:get(node, "no-ttl", "keep").value)
  end)

  it("answers values of every size whole", function()
    for _, size in ipairs { 0, 1, 255, 256, 4095, 4096, 16384, 65536, 1000000, 4000000 } do
      local answer = driver:get(node, "big", tostring(size))
      assert.equal("OK", answer.code, size .. ": " .. answer.message)
      assert.equal(size, #answer.value)
      assert.is_nil(answer.value:find("[^x]"))
    end
  end)

  it("answers a large value to a client with 64 KiB windows", function()
    local answer = driver:request(node, "/lcache.v1.Cache/Get", {
      body = drivers.grpc(drivers.field(1, "big") .. drivers.field(2, "3000000")),
    })
    assert.equal("0", answer.grpc_status)
    assert.is_true(answer.body_length > 3000000)
  end)

  it("BatchGet answers each key with a status of its own, in order", function()
    local answer = driver:batch(node, "echo", { "b1", "nil", "", "failed", "b1", "raise" })
    assert.equal("OK", answer.code)
    local codes = {}
    for i, result in ipairs(answer.reply.results) do codes[i] = result.code end
    assert.same({ 0, 5, 3, 14, 0, 13 }, codes)
    assert.equal("value of b1", drivers.unb64(answer.reply.results[1].value))
    assert.equal("value of b1", drivers.unb64(answer.reply.results[5].value))
    assert.matches("the database is away", answer.reply.results[4].message)
  end)

  it("BatchGet of an unknown group is NOT_FOUND", function()
    local answer = driver:batch(node, "no such group", { "a" })
    local code = answer.code == "OK" and answer.reply.results[1].code or answer.code
    assert.is_true(code == 5 or code == "NOT_FOUND")
  end)

  it("BatchGet is bounded in keys and in the size of its reply", function()
    local keys = {}
    for i = 1, 10001 do keys[i] = "k" .. i end
    assert.equal("INVALID_ARGUMENT", driver:batch(node, "echo", keys).code)
    keys[10001] = nil
    assert.equal(10000, #driver:batch(node, "echo", keys, { timeout = 60 }).reply.results)
    local answer = driver:batch(node, "big", { "3000000", "3000001", "3000002" })
    if answer.code == "OK" then
      local bytes = 0
      for _, result in ipairs(answer.reply.results) do bytes = bytes + #drivers.unb64(result.value) end
      assert.is_true(bytes <= 4 * 1024 * 1024)
    else
      assert.equal("RESOURCE_EXHAUSTED", answer.code)
    end
  end)

  it("a getter can ask for another group", function()
    assert.equal("value of x", driver:get(node, "other", "x").value)
    assert.equal("STORE", driver:get(node, "echo", "x").from)
  end)

  it("pb.LCache means the same", function()
    local fields = { group = "echo", key = "pb" }
    local answer = driver:call(node, "pb.LCache/Get", fields)
    assert.equal("value of pb", drivers.unb64(answer.reply.value))
    fields.value = drivers.b64("set")
    assert.equal("OK", driver:call(node, "pb.LCache/Set", fields).code)
    assert.equal("set", driver:get(node, "echo", "pb").value)
    assert.is_true(driver:call(node, "pb.LCache/Delete", { group = "echo", key = "pb" }).reply.value)
    assert.is_false(driver:call(node, "pb.LCache/Delete", { group = "echo", key = "pb" }).reply.value)
    assert.equal("NOT_FOUND", driver:call(node, "pb.LCache/Get", { group = "echo", key = "nil" }).code)
  end)

  it("of an unknown method is UNIMPLEMENTED", function()
    local answer = driver:request(node, "/lcache.v1.Cache/Nothing", { body = drivers.grpc("") })
    assert.equal("12", answer.grpc_status)
    answer = driver:request(node, "/no.such.Service/Get", { body = drivers.grpc("") })
    assert.equal("12", answer.grpc_status)
  end)

  it("of reflection lists the services, so that grpcurl works without files", function()
    for _, version in ipairs { "v1", "v1alpha" } do
      local answer = driver:request(node, "/grpc.reflection." .. version .. ".ServerReflection/ServerReflectionInfo", {
        body = drivers.grpc(drivers.field(7, "")),
      })
      assert.equal("0", answer.grpc_status)
      local body = drivers.unhex(answer.body)
      for _, service in ipairs { "lcache.v1.Cache", "lcache.v1.Admin", "pb.LCache", "grpc.health.v1.Health" } do
        assert.is_truthy(body:find(service, 1, true), service)
      end
    end
  end)

  it("health is SERVING for the node and its services, and unknown for others", function()
    local check = "grpc.health.v1.Health/Check"
    assert.equal("SERVING", driver:call(node, check, { service = "" }).reply.status)
    assert.equal("SERVING", driver:call(node, check, { service = "lcache.v1.Cache" }).reply.status)
    assert.equal("NOT_FOUND", driver:call(node, check, { service = "x" }).code)
    local watch = driver:watch(node)
    assert.equal("SERVING", driver:next_status(watch))
  end)

  it("an item that expired is swept without being asked for", function()
    driver:set(node, "echo", "sweep", "v", { fields = { ttl_ms = 50 } })
    local before = node:group_stats("echo").evicted_expired
    lcache.wait("it is swept", function() return node:group_stats("echo").evicted_expired > before end)
  end)

  describe("by lcachectl", function()
    it("prints the value and exits 0, 1 for not found, 2 for an error", function()
      local found, missing = node:ctl("get", "echo", "c"), node:ctl("get", "echo", "nil")
      local failed = node:ctl("get", "echo", "raise")
      assert.same({ 0, "value of c" }, { found.status, found.out })
      assert.equal(1, missing.status)
      assert.equal(2, failed.status)
      assert.matches("^[^\n]+\n$", failed.err)
      assert.equal("", failed.out)
    end)

    it("sets, deletes, batches, and says who owns a key", function()
      assert.equal(0, node:ctl("set", "echo", "ctl", "by hand").status)
      assert.equal("by hand", node:ctl("get", "echo", "ctl").out)
      assert.equal(0, node:ctl("delete", "echo", "ctl").status)
      assert.equal("value of ctl", node:ctl("get", "echo", "ctl").out)
      assert.matches("value of b", node:ctl("batch", "echo", "a", "b").out)
      assert.equal(node.address, node:ctl_json("owner", "echo", "k").address)
    end)

    it("shows the node alone on its ring", function()
      local nodes = node:ctl_json("nodes")
      assert.equal(node.address, nodes.self)
      assert.equal(1, #nodes.nodes)
      assert.same({ node.address, "up", 1 }, { nodes.nodes[1].address, nodes.nodes[1].state, nodes.nodes[1].share })
    end)

    it("says that nobody listens, on one line", function()
      local run = lcache.run { lcache.bin("lcachectl"), "--server", "127.0.0.1:1", "get", "echo", "k" }
      assert.equal(2, run.status)
      assert.matches("^[^\n]+\n$", run.err)
    end)
  end)
end)
