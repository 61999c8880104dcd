-- The same script runs on every node of a cluster: what a group is must not depend on the node.
local lcache = require "lcache"

lcache.group("scores", { getter = require "getters.scores", bytes = "64MB", ttl = "60s" })
