-- busted's output for spec/run: TAP, one line a test as it ends, the plan last. Unlike busted's own, it also reports a
-- spec file that doesn't load, and prints the traceback of what failed.
return function(options)
  local busted = require "busted"
  local pretty = require "pl.pretty"
  local handler = require "busted.outputHandlers.base"()
  local count = 0

  local function line(status, name)
    count = count + 1
    io.write(status, " ", count, " - ", (name:gsub("%s+", " ")), "\n")
  end

  local function comment(text)
    io.write("# ", (text:gsub("\n", "\n# ")), "\n")
  end

  local function failed(result)
    line("not ok", result.name)
    local message = result.message
    comment(type(message) == "string" and message or pretty.write(message))
    local trace = result.trace
    if trace and trace.traceback then
      comment((trace.traceback:gsub("^%s+", "")))
    end
  end

  local function last(list)
    return list[#list]
  end

  local function test_end(_, _, status)
    if status == "success" then
      line("ok", last(handler.successes).name)
    elseif status == "pending" then
      local pending = last(handler.pendings)
      line("ok", pending.name .. " # SKIP " .. (pending.message or ""))
    elseif status == "failure" then
      failed(last(handler.failures))
    else
      failed(last(handler.errors))
    end
    io.flush()
    return nil, true
  end

  local function outside_a_test(element)
    if element.descriptor ~= "it" then
      failed(last(handler.errors))
      io.flush()
    end
    return nil, true
  end

  local function suite_end()
    io.write("1..", count, "\n")
    io.flush()
    return nil, true
  end

  busted.subscribe({ "suite", "end" }, suite_end)
  busted.subscribe({ "test", "end" }, test_end, { predicate = handler.cancelOnPending })
  busted.subscribe({ "error" }, outside_a_test)
  busted.subscribe({ "failure" }, outside_a_test)
  handler.options = options
  return handler
end
