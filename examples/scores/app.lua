-- The quickstart's application: one group, loaded from the HTTP API in source.py.
local lcache = require "lcache"

lcache.group("scores", { getter = require "getters.scores", bytes = "64MB", ttl = "60s" })
