-- Bad bytes from clients: each gets its status or the end of its own connection, and others are unharmed.
local drivers = require "spec.e2e.support.driver"
local lcache = require "spec.e2e.support.lcache"

local frame, grpc, field, unhex = drivers.frame, drivers.grpc, drivers.field, drivers.unhex

local SCRIPT = [[
local lcache = require "lcache"
lcache.group("echo", { getter = function(key) return "value of " .. key end, bytes = "16MB" })
lcache.group("big", { getter = function(key) return ("x"):rep(tonumber(key)) end, bytes = "64MB" })
lcache.group("slow", { bytes = "1MB", timeout = "30s", getter = function(key)
  lcache.sleep(tonumber(key))
  return "slow"
end })
]]

local GET = "/lcache.v1.Cache/Get"

local DATA, HEADERS, PRIORITY, RST, SETTINGS, PING, WINDOW, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
local END_STREAM, END_HEADERS = 1, 4

-- POST to Cache/Get over plain HTTP, in HPACK without indexing or Huffman.
local function head(path, extra)
  local function literal(name, value)
    return "\0" .. string.char(#name) .. name .. string.char(#value) .. value
  end
  return unhex "8386" .. literal(":path", path or GET) .. literal(":authority", "x") ..
    literal("content-type", "application/grpc") .. literal("te", "trailers") .. (extra or "")
end

local function get_request(stream, key)
  return frame(HEADERS, END_HEADERS, stream, head()) ..
    frame(DATA, END_STREAM, stream, grpc(field(1, "echo") .. field(2, key or "k")))
end

local function find(frames, kind, stream)
  for _, candidate in ipairs(frames) do
    if candidate.type == kind and (not stream or candidate.stream == stream) then return candidate end
  end
end

describe("a client that sends bad bytes", function()
  local node, driver

  setup(function()
    driver = drivers.start()
    node = lcache.start { script = SCRIPT, args = { "--max-message", "1MB" } }
  end)
  teardown(lcache.finish)

  -- Whatever a test did, another client is served.
  after_each(function()
    assert.equal("value of k", driver:get(node, "echo", "k").value)
  end)

  local function post(options, path)
    return driver:request(node, path or GET, options)
  end

  describe("in protobuf", function()
    for name, message in pairs {
      ["a field that is cut off"] = "\10\5ab",
      ["a length over the message"] = "\10\255\255\255\127ab",
      ["a varint without an end"] = "\24" .. ("\255"):rep(12),
      ["a wrong wire type"] = "\8\1\16\2",
      ["bytes that are no message"] = ("\255"):rep(64),
      ["group numbers that are not closed"] = "\11\10\1a",
      ["field number 0"] = "\2\1a",
    } do
      it("gets INVALID_ARGUMENT or INTERNAL for " .. name, function()
        local answer = post { body = grpc(message) }
        assert.equal("200", answer.status)
        assert.is_true(answer.grpc_status == "3" or answer.grpc_status == "13", tostring(answer.grpc_status))
      end)
    end

    it("is answered when there are unknown fields", function()
      local answer = post { body = grpc(field(15, "unknown") .. field(1, "echo") .. field(2, "k")) }
      assert.equal("0", answer.grpc_status)
    end)

    it("gets a status for each method sent nonsense", function()
      for _, method in ipairs {
        "lcache.v1.Cache/Set", "lcache.v1.Cache/Delete", "lcache.v1.Cache/BatchGet", "lcache.v1.Admin/Stats",
        "lcache.v1.Admin/Nodes", "lcache.v1.Admin/Owner", "pb.LCache/Get", "pb.LCache/Set", "pb.LCache/Delete",
        "grpc.health.v1.Health/Check", "grpc.health.v1.Health/Watch",
        "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
      } do
        local answer = post({ body = grpc(("\255"):rep(16)) }, "/" .. method)
        local status = answer.grpc_status
        assert.is_true(status == "3" or status == "13", method .. ": " .. tostring(status))
      end
    end)
  end)

  describe("in the gRPC frame", function()
    it("gets RESOURCE_EXHAUSTED for a message over the limit, from its prefix alone", function()
      local answer = post { body = grpc("", 1024 * 1024 + 1), no_end = true }
      assert.equal("8", answer.grpc_status)
      answer = post { body = grpc("", 0xffffffff), no_end = true }
      assert.equal("8", answer.grpc_status)
    end)

    it("gets an error for a compressed message", function()
      local answer = post { body = grpc("abc", nil, 1) }
      assert.is_true(answer.grpc_status == "12" or answer.grpc_status == "13")
      answer = post { headers = { { "grpc-encoding", "gzip" } }, body = grpc("abc", nil, 1) }
      assert.equal("12", answer.grpc_status)
    end)

    it("gets INTERNAL for a wrong compression flag", function()
      assert.equal("13", post({ body = grpc("abc", nil, 7) }).grpc_status)
    end)

    it("gets INTERNAL for a message that ends in its middle", function()
      assert.equal("13", post({ body = grpc("abc", 10) }).grpc_status)
      assert.equal("13", post({ body = "\0\0" }).grpc_status)
      assert.equal("13", post({ body = "" }).grpc_status)
    end)

    it("gets INTERNAL for two messages in a unary call", function()
      local message = grpc(field(1, "slow") .. field(2, "5"))
      assert.equal("13", post({ body = message .. message }).grpc_status)
    end)

    it("is answered for a message in many frames", function()
      local message, pieces = grpc(field(1, "echo") .. field(2, "many")), {}
      for i = 1, #message do pieces[i] = message:sub(i, i) end
      assert.equal("0", post({ pieces = pieces }).grpc_status)
    end)
  end)

  describe("in HTTP", function()
    it("gets 415 for a wrong content type", function()
      assert.equal("415", post({ replace = { ["content-type"] = "text/plain" }, body = grpc("") }).status)
      assert.equal("415", post({ replace = { ["content-type"] = false }, body = grpc("") }).status)
      assert.equal("415", post({ replace = { ["content-type"] = "application/grpc-web" }, body = grpc("") }).status)
    end)

    it("is answered for application/grpc+proto", function()
      local answer = post {
        replace = { ["content-type"] = "application/grpc+proto" }, body = grpc(field(1, "echo") .. field(2, "k")),
      }
      assert.equal("0", answer.grpc_status)
    end)

    it("gets 405 for a GET", function()
      assert.equal("405", post({ replace = { [":method"] = "GET" } }).status)
    end)

    it("gets an error for a malformed grpc-timeout", function()
      for _, text in ipairs { "", "1", "S", "123456789S", "1x", "-1S", "1.5S" } do
        local answer = post { headers = { { "grpc-timeout", text } }, body = grpc(field(1, "echo") .. field(2, "k")) }
        local status = answer.grpc_status
        assert.is_true(status == "3" or status == "13", text .. ": " .. tostring(status))
      end
    end)

    it("gets DEADLINE_EXCEEDED for a timeout of 0", function()
      local answer = post { headers = { { "grpc-timeout", "0S" } }, body = grpc(field(1, "echo") .. field(2, "k")) }
      assert.equal("4", answer.grpc_status)
    end)

    it("is told in words when it speaks HTTP/1.1", function()
      local answer = driver:raw(node, { "GET / HTTP/1.1\r\nHost: x\r\n\r\n" })
      assert.is_true(answer.closed)
      assert.matches("^HTTP/1%.1 505", drivers.unhex(answer.data))
      assert.matches("gRPC", drivers.unhex(answer.data))
    end)

    it("is closed on when it speaks TLS or nonsense", function()
      assert.is_true(driver:raw(node, { unhex "160301020001000001fc0303" }).closed)
      assert.is_true(driver:raw(node, { "\0\0\0\0" }).closed)
    end)
  end)

  describe("in HTTP/2 frames", function()
    for name, bytes in pairs {
      ["a frame over 16 KiB"] = frame(DATA, 0, 1, ("x"):rep(20000)),
      ["DATA on stream 0"] = frame(DATA, 0, 0, "abc"),
      ["DATA on an idle stream"] = frame(DATA, 0, 5, "abc"),
      ["HEADERS on an even stream"] = frame(HEADERS, END_HEADERS + END_STREAM, 2, head()),
      ["HEADERS on stream 0"] = frame(HEADERS, END_HEADERS + END_STREAM, 0, head()),
      ["broken HPACK"] = frame(HEADERS, END_HEADERS + END_STREAM, 1, ("\255"):rep(40)),
      ["a stream that depends on padding it doesn't have"] = frame(DATA, 8, 1, "\255abc"),
      ["CONTINUATION without HEADERS"] = frame(CONTINUATION, END_HEADERS, 1, head()),
      ["HEADERS and then not CONTINUATION"] = frame(HEADERS, 0, 1, head()) .. frame(PING, 0, 0, "12345678"),
      ["SETTINGS of a wrong length"] = frame(SETTINGS, 0, 0, "abc"),
      ["SETTINGS on a stream"] = frame(SETTINGS, 0, 1, ""),
      ["a wrong SETTINGS value"] = frame(SETTINGS, 0, 0, unhex "000500000001"),
      ["PING of a wrong length"] = frame(PING, 0, 0, "abc"),
      ["WINDOW_UPDATE by 0"] = frame(WINDOW, 0, 0, unhex "00000000"),
      ["WINDOW_UPDATE past the most"] = frame(WINDOW, 0, 0, unhex "7fffffff"):rep(2),
      ["RST_STREAM of an idle stream"] = frame(RST, 0, 9, unhex "00000008"),
      ["PUSH_PROMISE from a client"] = frame(5, END_HEADERS, 1, unhex "00000002" .. head()),
    } do
      it("gets GOAWAY or its end for " .. name, function()
        local answer = driver:raw(node, { bytes }, { preface = true, stop_at = "goaway" })
        assert.is_truthy(answer.closed or find(answer.frames, "goaway"))
      end)
    end

    it("is closed on after the GOAWAY", function()
      assert.is_true(driver:raw(node, { frame(DATA, 0, 0, "abc") }, { preface = true }).closed)
    end)

    it("gets its other streams answered before a stream error ends one", function()
      local bad = frame(HEADERS, END_HEADERS, 1, head(nil, "\0\1A\1b")) -- an upper-case field name
      local answer = driver:raw(node, { bad .. get_request(3) }, { preface = true, stop_at = "end_stream" })
      assert.is_truthy(find(answer.frames, "data", 3))
    end)

    it("that are unknown are passed over", function()
      local bytes = frame(0x42, 0, 0, "abc") .. get_request(1)
      local answer = driver:raw(node, { bytes }, { preface = true, stop_at = "end_stream" })
      assert.is_truthy(find(answer.frames, "data", 1))
    end)

    it("that ask for a PING get its answer", function()
      local answer = driver:raw(node, { frame(PING, 0, 0, "12345678") }, { preface = true, stop_at = "ping" })
      local ping = find(answer.frames, "ping")
      assert.equal(1, ping.flags)
    end)

    it("that come one byte at a time are answered", function()
      local bytes, pieces = get_request(1), {}
      for i = 1, #bytes do pieces[i] = bytes:sub(i, i) end
      local answer = driver:raw(node, pieces, { preface = true, stop_at = "end_stream" })
      assert.is_truthy(find(answer.frames, "data", 1))
    end)

    for name, bytes in pairs {
      PING = frame(PING, 0, 0, "12345678"),
      SETTINGS = frame(SETTINGS, 0, 0, ""),
      PRIORITY = frame(PRIORITY, 0, 1, unhex "0000000010"),
      ["empty DATA"] = frame(DATA, 0, 1, ""),
      ["WINDOW_UPDATE"] = frame(WINDOW, 0, 1, unhex "00000001"),
      ["unknown frames"] = frame(0x42, 0, 0, ""),
    } do
      it("gets an end to a flood of " .. name, function()
        local pieces = { frame(HEADERS, END_HEADERS, 1, head()) }
        for i = 2, 41 do pieces[i] = bytes:rep(5000) end
        local answer = driver:raw(node, pieces, { preface = true, seconds = 5 })
        assert.is_true(answer.closed)
      end)
    end

    it("gets an end to a flood of resets", function()
      local pieces, stream = {}, 1
      for i = 1, 40 do
        local piece = {}
        for j = 1, 500 do
          piece[j] = frame(HEADERS, END_HEADERS, stream, head()) .. frame(RST, 0, stream, unhex "00000008")
          stream = stream + 2
        end
        pieces[i] = table.concat(piece)
      end
      assert.is_true(driver:raw(node, pieces, { preface = true, seconds = 5 }).closed)
    end)

    it("gets an end to headers without end", function()
      local pieces = { frame(HEADERS, 0, 1, head()) }
      for i = 2, 200 do pieces[i] = frame(CONTINUATION, 0, 1, ("\0\1a\126" .. ("b"):rep(126)):rep(100)) end
      local answer = driver:raw(node, pieces, { preface = true, seconds = 5 })
      assert.is_true(answer.closed)
    end)

    it("refuses streams over --max-streams, and serves the others", function()
      local small = lcache.start { script = SCRIPT, args = { "--max-streams", "2" } }
      local bytes = ""
      for stream = 1, 5, 2 do
        bytes = bytes .. frame(HEADERS, END_HEADERS, stream, head()) ..
          frame(DATA, END_STREAM, stream, grpc(field(1, "slow") .. field(2, "0.2")))
      end
      local answer = driver:raw(small, { bytes }, { preface = true, seconds = 2 })
      local refused = find(answer.frames, "rst", 5) or find(answer.frames, "goaway")
      assert.is_truthy(refused)
      assert.equal(0, small:stop())
    end)
  end)

  describe("slowly", function()
    it("and stops in the middle, holds up nobody", function()
      local half = driver:begin_raw(node, { get_request(1):sub(1, 40) }, { preface = true, seconds = 3 })
      assert.equal("value of k", driver:get(node, "echo", "k").value)
      driver:finish(half)
    end)

    it("and ends its half, is still answered", function()
      local answer = driver:raw(node, { get_request(1) }, { preface = true, half_close = true, seconds = 3 })
      assert.is_truthy(find(answer.frames, "data", 1) or answer.closed)
    end)

    it("and goes away in the middle of a load, leaves nothing behind", function()
      driver:request(node, GET, { body = grpc(field(1, "slow") .. field(2, "20")), seconds = 0.1 })
      lcache.wait("the load is cancelled", function() return node:group_stats("slow").flights == 0 end)
    end)

    it("and resets its request, leaves nothing behind", function()
      driver:request(node, GET, { body = grpc(field(1, "slow") .. field(2, "20")), cancel_after = 0.1 })
      lcache.wait("the load is cancelled", function() return node:group_stats("slow").flights == 0 end)
    end)

    it("without reading its answers, is not fed without bound", function()
      local requests = {}
      for i = 0, 63 do
        local stream = 2 * i + 1
        requests[i + 1] = frame(HEADERS, END_HEADERS, stream, head()) ..
          frame(DATA, END_STREAM, stream, grpc(field(1, "big") .. field(2, "1000000")))
      end
      local window = frame(SETTINGS, 0, 0, unhex "00047fffffff") .. frame(WINDOW, 0, 0, unhex "7fff0000")
      local before = node:resident()
      local bytes = window .. table.concat(requests)
      local slow = driver:begin_raw(node, { bytes }, { preface = true, hold = 2, seconds = 0.1 })
      lcache.wait("it asked", function() return node:group_stats("big").gets >= 64 end)
      assert.equal("value of k", driver:get(node, "echo", "k").value)
      if lcache.is_release then assert.is_true(node:resident() - before < 48 * 1024 * 1024) end
      driver:finish(slow)
    end)
  end)
end)

describe("a client that only connects", function()
  teardown(lcache.finish)

  it("is closed on after the time for a greeting", function()
    local driver = drivers.start()
    local node = lcache.start { script = SCRIPT }
    local answer = driver:raw(node, {}, { seconds = 15 })
    assert.is_true(answer.closed)
    assert.is_true(answer.ms > 5000)
  end)
end)
