local t = require "lcache.testing"
local file = require "getters.file"

describe("getters.file", function()
  local root

  local function run(command)
    assert(os.execute(command))
  end

  local function write(name, body)
    local handle = assert(io.open(root .. "/" .. name, "wb"))
    handle:write(body)
    handle:close()
  end

  before_each(function()
    root = os.tmpname()
    os.remove(root)
    run("mkdir -p '" .. root .. "/inside/folder'")
    root = root .. "/inside"
  end)

  after_each(function()
    run("rm -rf '" .. root:gsub("/inside$", "") .. "'")
  end)

  local function get(key, options)
    options = options or {}
    options.root = root
    return t.run(file.new(options), key)
  end

  it("blames a root that is no folder on the line that calls new", function()
    write("a", "a")
    local function message_of(path)
      local _, message = pcall(function()
        local getter = file.new{ root = path }
        return getter
      end)
      return message
    end
    assert.matches('file_spec.lua:%d+: getters.file: root "/no/such" is not a folder$', message_of("/no/such"))
    assert.matches('root "no/such" is not a folder in the folder that lcache was started in$', message_of("no/such"))
    assert.matches('root ".*/a" is not a folder$', message_of(root .. "/a"))
    assert.is_function(file.new{ root = "." })
  end)

  it("gives the bytes of a file", function()
    write("a.bin", "bytes\0\r\n\255")
    assert.same({ "bytes\0\r\n\255" }, { get("a.bin") })
  end)

  it("gives a file in a folder below", function()
    write("folder/b", "b")
    assert.same({ "b" }, { get("folder/b") })
  end)

  it("gives an empty file as an empty value", function()
    write("empty", "")
    assert.same({ "" }, { get("empty") })
  end)

  it("finds nothing where there is no file", function()
    write("a", "a")
    assert.same({}, { get("none") })
    assert.same({}, { get("a/below-a-file") })
    assert.same({}, { get(("x"):rep(300)) })
  end)

  it("finds nothing where there is a folder", function()
    assert.same({}, { get("folder") })
  end)

  it("finds nothing for a key that would leave the root", function()
    write("../secret", "secret")
    write("a", "a")
    for _, key in ipairs{ "../secret", "folder/../../secret", "folder/..", "..", "/etc/passwd", "" } do
      assert.same({}, { get(key) })
    end
    write("back\\slash", "b")
    for _, key in ipairs{ "a\0b", "a\0", "/a", "back\\slash" } do
      assert.same({}, { get(key) })
    end
  end)

  it("gives a file whose name only looks like a way out", function()
    write("..a", "1")
    write("b..", "2")
    write("...", "3")
    assert.same({ "1" }, { get("..a") })
    assert.same({ "2" }, { get("b..") })
    assert.same({ "3" }, { get("...") })
  end)

  it("fails for a file over max_bytes, and not for one of just that size", function()
    write("ten", ("x"):rep(10))
    assert.same({ ("x"):rep(10) }, { get("ten", { max_bytes = 10 }) })
    local value, err = get("ten", { max_bytes = 9 })
    assert.is_nil(value)
    assert.equal("the file is larger than 9 bytes", err)
  end)

  it("fails without naming the path when the file cannot be read", function()
    local io_open = io.open
    io.open = function(path) return nil, path .. ": Permission denied", 13 end -- luacheck: ignore 122
    local value, err = get("closed")
    io.open = io_open -- luacheck: ignore 122
    assert.is_nil(value)
    assert.equal("cannot read the file: Permission denied", err)
  end)

  describe("misuse", function()
    local function message_of(options)
      local _, message = pcall(function()
        local getter = file.new(options)
        return getter
      end)
      return message
    end

    it("is blamed on the line that calls new", function()
      assert.matches("file_spec.lua:%d+: getters.file: root must be", message_of{})
    end)

    it("says what was got and what to use", function()
      assert.matches("new's argument must be a table .*, got nil", message_of(nil))
      assert.matches('root must be a folder such as "/srv/pages", got ""', message_of{ root = "" })
      assert.matches("max_bytes must be a whole number .*, got 0", message_of{ root = "/srv", max_bytes = 0 })
      assert.matches('max_bytes must be a whole number .*, got "1MB"', message_of{ root = "/srv", max_bytes = "1MB" })
      assert.matches('a field must be root or max_bytes, got "rot"', message_of{ root = "/srv", rot = "/srv" })
    end)
  end)
end)
