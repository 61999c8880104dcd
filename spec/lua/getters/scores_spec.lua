local t = require "lcache.testing"

describe("getters.scores", function()
  local getter

  -- The environment is read when the getter is loaded.
  local function load_getter(url)
    local getenv = stub(os, "getenv")
    getenv.on_call_with("SCORES_URL").returns(url)
    package.loaded["getters.scores"] = nil
    local loaded = require "getters.scores"
    getenv:revert()
    return loaded
  end

  before_each(function()
    t.reset()
    getter = load_getter()
  end)

  it("gives the JSON that the API sent", function()
    t.http{ ["GET http://127.0.0.1:9000/scores/7"] = { body = '{"id": 7, "score": 12}' } }
    local value, err = t.run(getter, "7", { group = "scores" })
    assert.is_nil(err)
    assert.equal('{"id": 7, "score": 12}', value)
  end)

  it("asks the API that SCORES_URL names", function()
    getter = load_getter("http://scores.internal")
    t.http{ ["GET http://scores.internal/scores/7"] = { body = "{}" } }
    assert.equal("{}", (t.run(getter, "7")))
  end)

  it("escapes the key", function()
    t.http{ ["GET http://127.0.0.1:9000/scores/a%2Fb%20c"] = { body = "{}" } }
    assert.equal("{}", (t.run(getter, "a/b c")))
  end)

  it("stays below /scores/ whatever the key", function()
    t.http{ ["GET http://127.0.0.1:9000/scores/%2E%2E"] = { body = "{}" } }
    assert.equal("{}", (t.run(getter, "..")))
  end)

  it("finds nothing when the API answers 404", function()
    t.http{ ["GET http://127.0.0.1:9000/scores/7"] = { status = 404 } }
    local value, err = t.run(getter, "7")
    assert.is_nil(value)
    assert.is_nil(err)
  end)

  it("fails with the status when the API answers another one", function()
    for _, status in ipairs{ 500, 302, 403, 199 } do
      t.http{ ["GET http://127.0.0.1:9000/scores/7"] = { status = status, body = "{}" } }
      local value, err = t.run(getter, "7")
      assert.is_nil(value)
      assert.equal("source answered " .. status, err)
    end
  end)

  it("fails with the reason when the API cannot be reached", function()
    t.http{ ["GET http://127.0.0.1:9000/scores/7"] = { error = "connection refused" } }
    local value, err = t.run(getter, "7")
    assert.is_nil(value)
    assert.equal("connection refused", err)
  end)

  it("fails when the API sends broken JSON", function()
    t.http{ ["GET http://127.0.0.1:9000/scores/7"] = { body = '{"id": 7, "sco' } }
    local value, err = t.run(getter, "7")
    assert.is_nil(value)
    assert.matches("^source sent no player: .*JSON", err)
  end)

  it("fails when the API sends JSON that is no object", function()
    t.http{ ["GET http://127.0.0.1:9000/scores/7"] = { body = "12" } }
    local value, err = t.run(getter, "7")
    assert.is_nil(value)
    assert.equal("source sent no player: not an object", err)
  end)
end)
