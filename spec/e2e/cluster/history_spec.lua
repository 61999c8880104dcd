-- Random Gets, Sets and Deletes while nodes are killed, stopped, started and told to leave: the promises hold.
local clusters = require "spec.e2e.cluster.support.cluster"
local figures = require "spec.e2e.cluster.support.figures"
local lcache = require "spec.e2e.support.lcache"
local loads = require "spec.e2e.cluster.support.loads"
local process = require "spec.e2e.support.process"

local SECONDS = figures.size(180, 25)
local LEASE = 3
local MIX = { get = 80, set = 12, delete = 8 }

local function begin(load, cluster, nodes)
  return load:begin { nodes = nodes or cluster.nodes, group = "g", source = cluster.source, keys = 200, rate = 400,
                      mix = MIX }
end

-- What can happen to one node. Each ends with the node back.
local EVENTS = {
  kill = function(cluster, node)
    clusters.kill(node)
    clusters.during(math.random(0, LEASE + 2))
    cluster:restart(node)
  end,
  stop = function(_, node)
    clusters.pause(node)
    clusters.during(math.random() * (LEASE + 2))
    clusters.resume(node)
  end,
  leave = function(cluster, node)
    assert.equal(0, clusters.leave(node, 30))
    clusters.during(math.random(0, 2))
    cluster:restart(node)
  end,
}
local NAMES = { "kill", "stop", "leave" }

-- What helps to understand a violation, beside the history: when what happened, and the nodes' logs.
local function keep(cluster, history, timed)
  local folder = history.file:match("^(.*)/")
  local lines = {}
  for i, event in ipairs(timed) do lines[i] = ("%9.3f %s\n"):format(event.at - history.zero, event.text) end
  process.write_file(folder .. "/events.txt", table.concat(lines))
  for _, node in ipairs(cluster.nodes) do
    process.write_file(folder .. "/" .. node.name .. ".log", table.concat(node.logs) .. node:log())
  end
end

describe("the promises", function()
  local cluster, load

  before_each(function()
    cluster = clusters.start { count = 4, lease = LEASE }
    load = loads.start()
  end)
  after_each(function() clusters.finish(cluster) end)

  it("hold in a history of kills, stops, joins and leaves", function()
    local seed = tonumber(os.getenv("LCACHE_SEED")) or os.time()
    figures.print("history: LCACHE_SEED of the events", seed)
    math.randomseed(seed)
    local run, happened, timed = begin(load, cluster), {}, {}
    local function note(what, node)
      timed[#timed + 1] = { at = load:mark(run, "all"), text = what .. " " .. node.name }
    end
    local till = lcache.now() + SECONDS
    while lcache.now() < till do
      local name, node = NAMES[math.random(#NAMES)], cluster.nodes[math.random(#cluster.nodes)]
      happened[#happened + 1] = name
      note(name, node)
      EVENTS[name](cluster, node)
      note(name .. " is over:", node)
      clusters.during(math.random() * 2)
    end
    cluster:wait_agree(nil, 30)
    clusters.during(1)
    load:finish(run)
    load:sweep { nodes = cluster.nodes, group = "g", source = cluster.source, key_list = loads.keys("k-", 200),
                 writes = "none" }
    local history = load:check()
    figures.print("history: events", #happened .. " " .. table.concat(happened, " "))
    figures.print("history: Gets, writes, acknowledged writes",
      ("%d, %d, %d"):format(history.gets, history.writes, history.acknowledged))
    figures.print("history: old values after an acknowledgement", history.violations, "want 0")
    figures.print("history: values of failed Sets that turned up late", history.late)
    if history.violations > 0 then keep(cluster, history, timed) end
    assert.equal(0, history.violations, history.report .. "\n" .. history.file)
  end)

  it("are seen broken by the checker when one node's clients are lied to", function()
    local through = { loads.replay(cluster.nodes[1], 100), cluster.nodes[2], cluster.nodes[3], cluster.nodes[4] }
    local run = begin(load, cluster, through)
    local found
    lcache.wait("the checker finds the planted bug", function()
      clusters.during(1)
      found = load:check()
      return found.violations > 0
    end, 30)
    load:finish(run)
    figures.print("history: a planted bug is found", "yes, " .. found.violations .. " old values", "want yes")
  end)
end)
