local t = require "lcache.testing"
local http = require "getters.http"

describe("getters.http", function()
  before_each(t.reset)

  local function get_with(answer, options)
    options = options or {}
    options.url = "http://x/v1/{key}"
    t.http{ ["GET http://x/v1/7"] = answer }
    return t.run(http.new(options), "7", { group = "users" })
  end

  it("gives the body of a 2xx answer", function()
    for _, status in ipairs{ 200, 203, 299 } do
      local value, err, ttl = get_with{ status = status, body = "bytes\0" }
      assert.equal("bytes\0", value)
      assert.is_nil(err)
      assert.is_nil(ttl)
    end
  end)

  it("puts the key and the group into the URL, percent-encoded", function()
    local getter = http.new{ url = "http://x/{group}/{key}?again={key}" }
    t.http{ ["GET http://x/top%2010/50%25%3F%26%C3%A9?again=50%25%3F%26%C3%A9"] = { body = "found" } }
    assert.equal("found", (t.run(getter, "50%?&é", { group = "top 10" })))
  end)

  it("leaves braces in a key alone", function()
    t.http{ ["GET http://x/%7Bgroup%7D"] = { body = "found" } }
    assert.equal("found", (t.run(http.new{ url = "http://x/{key}" }, "{group}")))
  end)

  it("passes headers and timeout on", function()
    get_with({}, { headers = { authorization = "Bearer abc" }, timeout = "250ms" })
    local request = t.requests()[1]
    assert.same({ authorization = "Bearer abc" }, request.headers)
    assert.equal(250, request.timeout_ms)
  end)

  it("gives the ttl with the value", function()
    assert.same({ "v", nil, "5m" }, { get_with({ body = "v" }, { ttl = "5m" }) })
    assert.same({ "v", nil, 0.5 }, { get_with({ body = "v" }, { ttl = 0.5 }) })
  end)

  it("finds nothing on 404", function()
    assert.same({}, { get_with{ status = 404 } })
  end)

  it("finds nothing on the statuses that not_found names, and only on these", function()
    assert.same({}, { get_with({ status = 410 }, { not_found = { 410, 204 } }) })
    assert.same({}, { get_with({ status = 204 }, { not_found = { 410, 204 } }) })
    local _, err = get_with({ status = 404 }, { not_found = { 410, 204 } })
    assert.equal("source answered 404", err)
  end)

  it("fails on any other status", function()
    for _, status in ipairs{ 199, 300, 401, 500, 503 } do
      local value, err = get_with{ status = status, body = "no value" }
      assert.is_nil(value)
      assert.equal("source answered " .. status, err)
    end
  end)

  it("fails with the reason when the source cannot be reached", function()
    local value, err = get_with{ error = "x: connection refused" }
    assert.is_nil(value)
    assert.equal("x: connection refused", err)
  end)

  describe("misuse", function()
    local function message_of(options)
      local _, message = pcall(function()
        local getter = http.new(options)
        return getter
      end)
      return message
    end

    it("is blamed on the line that calls new", function()
      assert.matches("http_spec.lua:%d+: getters.http: url must be", message_of{})
    end)

    it("says what was got and what to use", function()
      local cases = {
        { 7, "new's argument must be a table like .*, got 7" },
        { {}, 'url must be a URL like "http://host/{key}", got nil' },
        { { url = "ftp://x/{key}" }, 'url must be a URL like .*, got "ftp://x/{key}"' },
        { { url = "http://x/" }, "url must be a URL with {key} in it" },
        { { url = "http://x/{key}/{id}" }, "no other places than {key} and {group}" },
        { { url = "http://x/{key}", ttl = "soon" }, 'ttl must be seconds or a duration like .*, got "soon"' },
        { { url = "http://x/{key}", ttl = 0 }, "ttl must be .*, got 0" },
        { { url = "http://x/{key}", ttl = "0s" }, 'ttl must be .*, got "0s"' },
        { { url = "http://x/{key}", timeout = "5 s" }, 'timeout must be .*, got "5 s"' },
        { { url = "http://x/{key}", timeout = {} }, "timeout must be .*, got table" },
        { { url = "http://x/{key}", headers = { "accept" } }, "headers must be a table of strings" },
        { { url = "http://x/{key}", headers = { accept = 1 } }, "headers must be a table of strings" },
        { { url = "http://x/{key}", not_found = 404 }, "not_found must be a list of statuses .*, got 404" },
        { { url = "http://x/{key}", not_found = { "404" } }, "not_found must be a list of statuses" },
        { { url = "http://x/{key}", tll = "5m" }, 'a field must be url, headers, .*, got "tll"' },
      }
      for _, case in ipairs(cases) do
        assert.matches(case[2], message_of(case[1]))
      end
    end)
  end)
end)
